// The camera: a dialog with its live picture, and a photograph as a file.

import { button, dialog, make, say } from "./element.js";

/** Why the camera cannot be used here, empty where it can. */
export function cameraRefusal() {
  if (!isSecureContext) return "The camera works only on this computer's own address (localhost) or over https.";
  if (!navigator.mediaDevices?.getUserMedia) return "This browser has no access to a camera.";
  return "";
}

export async function openCamera(onPhoto) {
  const video = make("video", { class: "camera", autoplay: true, playsinline: true, "aria-label": "The camera's picture" });
  video.muted = true;
  const message = make("p", { class: "message", role: "alert" });
  const shoot = button("Take the picture", take, { class: "button primary", disabled: true });
  const box = dialog("Camera", video, message, make("div", { class: "row centre" }, shoot));
  let stream = null;
  box.addEventListener("close", () => stream?.getTracks().forEach((track) => track.stop()));
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 }, height: { ideal: 1080 } } });
    if (!box.open) return stream.getTracks().forEach((track) => track.stop());
    video.srcObject = stream;
    await video.play();
    shoot.disabled = false;
    shoot.focus();
  } catch (error) {
    say(message, error.name === "NotAllowedError" ? "The browser does not let the page use the camera: allow it beside the address." : "No camera was found.");
  }
  return undefined;

  function take() {
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      box.close();
      onPhoto(new File([blob], "camera.jpg", { type: "image/jpeg" }));
    }, "image/jpeg", 0.95);
  }
}
