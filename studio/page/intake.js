// How pictures come in: dropped, pasted, chosen, from the camera, or a sample; and what is shown of the chosen one.

import { openCamera, cameraRefusal } from "./camera.js";
import { request } from "./connection.js";
import { button, byId, make, say } from "./element.js";
import { startMask } from "./mask.js";
import { hush, lineOf, tell } from "./notices.js";
import { bytes } from "./number.js";
import { currentJob, emit, isActive, on, show, store } from "./store.js";

let role = "picture"; // of the file that is being chosen
const newest = {}; // role -> the newest request for a picture: of several given at once, the last one counts
let wasRunning = false; // as the panel shows it

export function startIntake(stage) {
  byId("choose").onclick = () => choose("picture");
  byId("file").onchange = () => {
    const [file] = byId("file").files;
    byId("file").value = "";
    if (file) take(file, role);
  };
  byId("new").onclick = () => setPicture(null);
  prepareCamera(byId("camera"), byId("camera-note"));
  renderSamples();
  listenToDrops();
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  on("picture current", () => renderSource(stage));
  on("job", (job) => { if (job.id === store.current && isActive(job) !== wasRunning) renderSource(stage); });
  renderSource(stage);
}

function choose(itsRole) {
  role = itsRole;
  byId("file").click();
}

/** Takes a file as the picture, or as the guide. */
export async function take(file, itsRole = "picture") {
  const { limits } = store.catalogue;
  if (file.size > limits.bytes) return complain(`${file.name} is larger than ${bytes(limits.bytes)}: choose a smaller file.`);
  if (!file.size) return complain(`${file.name} is empty.`);
  const form = new FormData();
  form.append("file", file, file.name || "pasted.png");
  form.append("role", itsRole);
  await receive(itsRole, () => request("POST", "/api/pictures", form), `Reading ${file.name || "the picture"}…`);
  return undefined;
}

async function receive(itsRole, ask, text) {
  complain(text, true);
  hush();
  const asked = newest[itsRole] = ask();
  try {
    const picture = await asked;
    if (asked !== newest[itsRole]) return;
    complain("");
    if (picture.notices?.length) tell(`${picture.name}: ${picture.notices.join(" ")}`);
    if (itsRole === "guide") setGuide(picture);
    else setPicture(picture);
  } catch (error) {
    if (asked === newest[itsRole]) complain(lineOf(error));
  }
}

/** Says what went wrong with a picture, or with `isReading` what is done, next to where it was given. */
function complain(text, isReading = false) {
  for (const element of [byId("intake-message"), byId("source-message")]) {
    if (!element) continue;
    element.classList.toggle("is-calm", isReading);
    say(element, text);
  }
}

function setPicture(picture) {
  const focused = document.activeElement;
  Object.assign(store.draft, { picture, mask: null, branchOf: null, fromResult: false });
  if (!picture) store.draft.guide = null;
  remember();
  show(null);
  emit("picture");
  if (focused?.closest("[hidden]")) byId(picture ? "primary" : "choose").focus({ preventScroll: true }); // what is hidden loses the keys
}

function setGuide(guide) {
  store.draft.guide = guide?.id ?? null;
  store.draft.guidePicture = guide?.picture ?? null;
  remember();
  emit("picture");
}

/** Keeps the picture over a reload of the page, until it is dreamed. */
function remember() {
  const { picture, guide } = store.draft;
  sessionStorage.setItem("draft", JSON.stringify({ picture, guide }));
}

export function recall() {
  const kept = JSON.parse(sessionStorage.getItem("draft") ?? "{}");
  if (kept.picture) Object.assign(store.draft, kept);
}

function renderSamples() {
  const items = store.catalogue.samples.map((sample) => {
    const picture = make("img", { src: sample.picture, alt: "", loading: "lazy", width: 120, height: 90 });
    const use = () => receive("picture", () => request("POST", `/api/samples/${encodeURIComponent(sample.name)}`), `Reading ${sample.title}…`);
    return make("li", {}, make("button", { type: "button", class: "sample", onclick: use }, picture, make("span", {}, sample.title)));
  });
  byId("samples").replaceChildren(...items);
  byId("samples-title").hidden = !items.length;
}

function prepareCamera(element, note) {
  const refusal = cameraRefusal();
  element.disabled = Boolean(refusal);
  if (refusal) element.setAttribute("aria-describedby", note.id);
  note.hidden = !refusal;
  say(note, refusal);
  element.onclick = () => openCamera((file) => take(file));
}

function listenToDrops() {
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0;
  const set = (count) => { depth = Math.max(0, count); byId("drop").hidden = !depth; };
  addEventListener("dragenter", (event) => { if (hasFiles(event)) set(depth + 1); });
  addEventListener("dragleave", (event) => { if (hasFiles(event)) set(depth - 1); });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    set(0);
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
}

// The picture in the panel

function renderSource(stage) {
  const { draft } = store, { picture } = draft;
  const runs = isActive(currentJob()), isOff = runs || !picture;
  wasRunning = runs;
  byId("new").hidden = !picture;
  const size = picture?.width ? `${picture.width} × ${picture.height}` : "";
  const about = make("div", { class: "source-about" }, make("strong", { class: "cut" }, picture?.name ?? "None yet"),
    make("span", { class: "quiet cut" }, !picture ? "Drop, paste or choose one" : draft.fromResult ? "the result of a dream" : size || "\u00a0"),
    button(picture ? "Replace" : "Choose", () => choose("picture")));
  const thumb = picture ? make("img", { src: picture.picture, alt: "", class: "source-thumb" }) : make("span", { class: "source-thumb" });
  const row = make("div", { class: "row" },
    button(draft.mask ? "Change the mask" : "Mask…", () => startMask(stage), { id: "mask-open", disabled: isOff, title: "Dream only a part of the picture" }));
  if (draft.mask) row.append(button("Whole picture", () => { draft.mask = null; emit("picture"); }, { disabled: runs, class: "button ghost" }));
  if (draft.guide) row.append(make("img", { class: "guide-thumb", src: draft.guidePicture ?? `/api/pictures/${draft.guide}.jpg`, alt: "Guide picture" }));
  row.append(button(draft.guide ? "Another guide" : "Guide…", () => choose("guide"), { id: "guide-open", disabled: isOff, title: "A second picture, whose shapes the dream takes on" }));
  if (draft.guide) row.append(button("No guide", () => setGuide(null), { disabled: runs, class: "button ghost" }));
  const note = runs ? "Mask and guide are for a new dream." : "A mask keeps parts, a guide lends shapes.";
  byId("source-body").replaceChildren(make("div", { class: "source" }, thumb, about), row, make("p", { class: "note" }, note),
    make("p", { id: "source-message", class: "message", role: "alert" }));
}
