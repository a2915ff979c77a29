// What is on the stage: the newest frame of the dream that is shown, its result, its original, and the tools of the view.

import { byId, say } from "./element.js";
import { currentJob, isActive, on, store } from "./store.js";

let stage, live;
let drawn = { job: null, seq: -1 }; // the newest frame on the stage
let result = null; // the address of the result on the stage
let original = null;
const held = new Set(); // what holds the original: a key, the button

export function startViewing(theStage, theLive) {
  [stage, live] = [theStage, theLive];
  on("current", showCurrent);
  on("picture", showOriginal);
  on("job", (job) => { if (job.id === store.current) update(job); });
  connectTools();
  connectKeys();
}

/** Draws a frame where it is of the dream that is shown and newer than what is drawn. */
export async function showFrame(header, blob) {
  const isNewer = () => header.job === store.current && !result && (drawn.job !== header.job || header.seq > drawn.seq);
  if (!isNewer()) return;
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (!bitmap || !isNewer()) return bitmap?.close();
  drawn = { job: header.job, seq: header.seq };
  setSize(bitmap.width, bitmap.height);
  stage.put("dream", bitmap);
  describe();
  return undefined;
}

function showCurrent() {
  const job = currentJob();
  drawn = { job: null, seq: -1 };
  result = null;
  endPair();
  stage.put("dream", null);
  live.watch(store.current);
  showOriginal();
  if (job) update(job);
  if (!job && stage.mode === "split") setMode("dream");
  stage.fit();
  describe();
}

/** The size that 1:1 means: that of the result, which is known once it is there, else what it will be. */
function setSize(width, height) {
  const { picture } = store.draft;
  const longest = store.catalogue ? currentJob()?.settings.max_size : null;
  const whole = original?.image;
  const full = { width: picture?.width ?? whole?.naturalWidth ?? width, height: picture?.height ?? whole?.naturalHeight ?? height };
  const shrunk = Math.min(1, (longest || Infinity) / Math.max(full.width, full.height));
  stage.size = { width: full.width * shrunk, height: full.height * shrunk };
}

async function update(job) {
  const link = job.results?.jpg ?? null;
  if (isActive(job) || !link || link === result) {
    if (isActive(job)) result = null;
    return enableTools();
  }
  const image = await loaded(link).catch(() => null);
  if (!image || store.current !== job.id || isActive(currentJob())) return undefined;
  result = link;
  stage.size = { width: image.naturalWidth, height: image.naturalHeight };
  stage.put("dream", image);
  describe();
  return enableTools();
}

async function showOriginal() {
  const link = store.draft.picture?.picture ?? null;
  byId("stage").hidden = !link;
  byId("empty").hidden = Boolean(link);
  byId("tools").hidden = !link;
  if (!link) original = null;
  if (link && original?.link !== link) {
    original = { link, image: null };
    const image = await loaded(link).catch(() => null);
    if (original?.link !== link) return;
    original.image = image;
  }
  if (!result) setSize(original?.image?.naturalWidth ?? 4, original?.image?.naturalHeight ?? 3);
  stage.put("original", original?.image ?? null);
  describe();
  enableTools();
}

async function loaded(link) {
  const image = new Image();
  image.src = link;
  await image.decode();
  return image;
}

function describe() {
  const job = currentJob(), name = store.draft.picture?.name ?? "";
  const text = job ? `The dream of ${job.name}${job.look ? `, ${job.look}` : ""}, ${job.state}` : `${name}, not dreamed yet`;
  byId("canvas").setAttribute("aria-label", text);
}

// Tools

export function setMode(mode) {
  stage.setMode(mode);
  byId("compare").setAttribute("aria-pressed", String(mode === "split" || mode === "pair"));
  say(byId("tag-left"), mode === "pair" ? "This dream" : "Original");
  say(byId("tag-right"), mode === "pair" ? "The other" : "Dream");
}

function endPair() {
  if (stage.mode === "pair") setMode("dream");
  stage.put("other", null);
}

/** Shows another dream beside the one that is shown. */
export async function showBeside(job) {
  const image = await loaded(job.results?.jpg ?? job.thumbnail).catch(() => null);
  if (!image) return;
  stage.put("other", image);
  setMode("pair");
  stage.fit();
}

function enableTools() {
  const hasDream = Boolean(stage.pictures.dream);
  byId("compare").disabled = byId("hold").disabled = !hasDream && !store.current;
}

function toggleCompare() {
  if (stage.mode === "pair") endPair();
  else setMode(stage.mode === "split" ? "dream" : "split");
}

function hold(source, isHeld) {
  if (isHeld) held.add(source);
  else held.delete(source);
  byId("hold").setAttribute("aria-pressed", String(held.size > 0));
  stage.setHeld(held.size > 0);
}

function connectTools() {
  byId("compare").onclick = toggleCompare;
  byId("fit").onclick = () => stage.fit();
  byId("real").onclick = () => stage.real();
  byId("stage").addEventListener("viewchange", () => {
    byId("fit").setAttribute("aria-pressed", String(stage.isFit));
    byId("real").setAttribute("aria-pressed", String(!stage.isFit));
  });
  const button = byId("hold");
  button.addEventListener("pointerdown", (event) => { button.setPointerCapture(event.pointerId); hold("button", true); });
  for (const name of ["pointerup", "pointercancel", "blur"]) button.addEventListener(name, () => hold("button", false));
  button.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") hold("button", true); });
  button.addEventListener("keyup", () => hold("button", false));
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

function connectKeys() {
  const actions = {
    f: () => stage.fit(), 1: () => stage.real(), c: toggleCompare, "+": () => stage.zoom(1.25), "=": () => stage.zoom(1.25),
    "-": () => stage.zoom(0.8), ArrowLeft: () => stage.pan(-1, 0), ArrowRight: () => stage.pan(1, 0),
    ArrowUp: () => stage.pan(0, -1), ArrowDown: () => stage.pan(0, 1), o: () => hold("key", true),
  };
  const frame = byId("stage");
  frame.addEventListener("keydown", (event) => {
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey || stage.mode === "mask") return;
    event.preventDefault();
    action();
  });
  frame.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "o") hold("key", false); });
  frame.addEventListener("blur", () => hold("key", false));
}
