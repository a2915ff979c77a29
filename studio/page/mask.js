// The mask: what dreams and what stays, painted over the picture with a brush, or given as a rectangle.

import { request } from "./connection.js";
import { button, byId, make, say } from "./element.js";
import { lineOf } from "./notices.js";
import { readNumber } from "./number.js";
import { emit, on, store } from "./store.js";
import { setMode } from "./viewing.js";

const LONGEST = 1024; // of the mask, in pixels
let mask = null; // {canvas, context, id on the server}: white dreams, black stays
let painted = null; // the address of the picture that the mask is for
let stage, brush = { size: 0.12, adds: true }, last = null;

/** Opens the tools of the mask over the stage. Nothing is dreamed but what is painted. */
export function startMask(theStage) {
  if (!theStage.pictures.original) return;
  stage = theStage;
  const { naturalWidth: width, naturalHeight: height } = stage.pictures.original;
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  if (mask?.id !== store.draft.mask || !mask?.id) {
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    mask = { canvas, context: canvas.getContext("2d", { willReadFrequently: true }), id: null };
    fill("#000");
    if (store.draft.mask) drawEarlier(mask, `/api/pictures/${store.draft.mask}.png`);
  }
  painted = store.draft.picture.picture;
  stage.painter = { paint, pointer };
  stage.fit();
  setMode("mask");
  renderBar();
  byId("mask-bar").querySelector("button").focus();
}

on("current picture", () => { if (isOpen() && painted !== store.draft.picture?.picture) leave(); });

const isOpen = () => Boolean(stage?.painter);

/** Draws the mask of an earlier dream, to be changed. */
async function drawEarlier({ canvas, context }, link) {
  const image = make("img", { src: link, alt: "" });
  await image.decode().catch(() => null);
  if (image.naturalWidth) context.drawImage(image, 0, 0, canvas.width, canvas.height);
  stage.draw();
}

function fill(colour) {
  mask.context.fillStyle = colour;
  mask.context.fillRect(0, 0, mask.canvas.width, mask.canvas.height);
  stage.draw();
}

function invert() {
  mask.context.globalCompositeOperation = "difference";
  fill("#fff");
  mask.context.globalCompositeOperation = "source-over";
}

/** Darkens what stays, so that what dreams shines. */
function paint(context, area) {
  const veil = make("canvas");
  [veil.width, veil.height] = [mask.canvas.width, mask.canvas.height];
  const veiling = veil.getContext("2d");
  const pixels = mask.context.getImageData(0, 0, veil.width, veil.height);
  for (let place = 0; place < pixels.data.length; place += 4) {
    pixels.data[place + 3] = (255 - pixels.data[place]) * 0.72;
    pixels.data[place] = pixels.data[place + 1] = pixels.data[place + 2] = 12;
  }
  veiling.putImageData(pixels, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(veil, area.x, area.y, area.width, area.height);
  if (last) ring(context, area);
}

function ring(context, area) {
  context.beginPath();
  context.arc(area.x + last.x * area.width, area.y + last.y * area.height, (brush.size * Math.min(area.width, area.height)) / 2, 0, 7);
  context.lineWidth = 2 * devicePixelRatio;
  context.strokeStyle = brush.adds ? "#fff" : "#111";
  context.stroke();
}

function pointer(event, place) {
  if (event.type === "pointerdown") {
    event.target.setPointerCapture(event.pointerId);
    stroke(place, place);
  } else if (event.type === "pointermove" && event.buttons) stroke(last ?? place, place);
  last = place;
  stage.draw();
}

function stroke(from, to) {
  const { canvas, context } = mask;
  context.strokeStyle = brush.adds ? "#fff" : "#000";
  context.lineWidth = brush.size * Math.min(canvas.width, canvas.height);
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(from.x * canvas.width, from.y * canvas.height);
  context.lineTo(to.x * canvas.width + 0.01, to.y * canvas.height);
  context.stroke();
}

// The bar

function renderBar() {
  const message = make("p", { class: "message", role: "alert" });
  const adds = button("Paint", () => choose(true), { "aria-pressed": "true" });
  const erases = button("Erase", () => choose(false), { "aria-pressed": "false" });
  function choose(isAdding) {
    brush.adds = isAdding;
    adds.setAttribute("aria-pressed", String(isAdding));
    erases.setAttribute("aria-pressed", String(!isAdding));
  }
  choose(brush.adds);
  const size = make("input", { type: "range", min: 2, max: 60, value: brush.size * 100, "aria-label": "Brush size",
    oninput: () => { brush.size = size.value / 100; } });
  const tools = make("div", { class: "row" }, adds, erases, make("label", { class: "brush" }, make("span", {}, "Size"), size),
    button("Invert", invert), button("Clear", () => fill("#000")),
    button("Done", () => takeMask().catch((error) => say(message, lineOf(error))), { class: "button primary" }), button("Cancel", close, { class: "button ghost" }));
  byId("mask-bar").replaceChildren(make("p", { class: "mask-hint" }, "Paint what shall dream. The dark part stays as it is."), tools, rectangle(message), message);
  byId("mask-bar").hidden = false;
}

/** The rectangle, for hands without a pointer: four numbers in percent of the picture. */
function rectangle(message) {
  const fields = [["Left", 25], ["Top", 25], ["Width", 50], ["Height", 50]].map(([title, value]) =>
    make("label", { class: "percent" }, make("span", {}, `${title} %`), make("input", { inputmode: "decimal", value, size: 4 })));
  const draw = () => {
    const numbers = fields.map((field) => readNumber(field.lastChild.value, { min: 0, max: 100 }));
    const wrong = numbers.findIndex((number) => number.error);
    fields.forEach((field, place) => field.lastChild.setAttribute("aria-invalid", String(place === wrong)));
    if (wrong >= 0) return say(message, `${fields[wrong].firstChild.textContent}: ${numbers[wrong].error}`);
    const [x, y, width, height] = numbers.map((number) => number.value / 100);
    mask.context.fillStyle = brush.adds ? "#fff" : "#000";
    mask.context.fillRect(x * mask.canvas.width, y * mask.canvas.height, width * mask.canvas.width, height * mask.canvas.height);
    say(message, "");
    return stage.draw();
  };
  return make("details", { class: "rectangle" }, make("summary", {}, "With numbers"),
    make("div", { class: "row" }, ...fields, button("Fill the rectangle", draw)));
}

/** Takes the mask that is being painted, if one is, for the next dream. Raises what `request` raises. */
export async function takeMask() {
  if (!isOpen()) return;
  const id = isUniform() ? null : await uploaded();
  if (!isOpen()) return; // another picture came meanwhile
  store.draft.mask = mask.id = id;
  close();
}

async function uploaded() {
  const blob = await new Promise((resolve) => mask.canvas.toBlob(resolve, "image/png"));
  const form = new FormData();
  form.append("file", blob, "mask.png");
  form.append("role", "mask");
  return (await request("POST", "/api/pictures", form)).id;
}

/** Whether all dreams or all stays, which is no mask. */
function isUniform() {
  const { data } = mask.context.getImageData(0, 0, mask.canvas.width, mask.canvas.height);
  for (let place = 4; place < data.length; place += 4) if (data[place] !== data[0]) return false;
  return true;
}

function leave() {
  byId("mask-bar").hidden = true;
  stage.painter = last = null;
  setMode("dream");
}

function close() {
  leave();
  emit("picture");
  byId("mask-open")?.focus();
}
