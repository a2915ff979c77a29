// The stage: one canvas that shows a dream, its original, both with a dividing line, or two dreams side by side.

import { byId } from "./element.js";

const MOST_ENLARGED = 4; // pixels of the screen for one of the picture, where it is fitted
const PAN = 40;

export class Stage {
  #canvas = byId("canvas");
  #frame = byId("stage");
  #split = byId("split");
  #pictures = { dream: null, original: null, other: null };
  #isDue = false;
  #pointers = new Map();
  #view = { isFit: true, scale: 1, x: 0.5, y: 0.5 }; // scale: screen pixels for one of the picture; x, y: what is central
  size = { width: 4, height: 3 }; // of the dream's result
  mode = "dream"; // dream, split, pair, mask
  isHeld = false; // the original is shown while something is held
  split = 0.5;
  painter = null; // draws over the picture and takes its pointer: the mask

  constructor() {
    new ResizeObserver(() => this.#resize()).observe(this.#frame);
    this.#frame.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    for (const name of ["pointerdown", "pointermove", "pointerup", "pointercancel"]) {
      this.#canvas.addEventListener(name, (event) => this.#pointer(event));
    }
    this.#canvas.addEventListener("dblclick", (event) => {
      if (this.mode !== "mask") this.#toggleReal(event);
    });
    this.#listenToSplit();
  }

  get isFit() { return this.#view.isFit; }
  get pictures() { return this.#pictures; }

  /** Shows a picture (an ImageBitmap or image) as `dream`, `original` or `other`; null takes it away. */
  put(place, picture) {
    const before = this.#pictures[place];
    this.#pictures[place] = picture;
    if (before !== picture) before?.close?.();
    this.draw();
  }

  setMode(mode) {
    this.mode = mode;
    this.#frame.classList.toggle("is-masking", mode === "mask");
    this.draw();
  }

  setHeld(isHeld) {
    this.isHeld = isHeld;
    this.draw();
  }

  setSplit(part) {
    this.split = Math.min(1, Math.max(0, part));
    this.draw();
  }

  fit() {
    this.#view = { isFit: true, scale: 1, x: 0.5, y: 0.5 };
    this.#changed();
  }

  real() {
    this.#zoomTo(1, 0.5, 0.5);
  }

  zoom(factor) {
    const { scale, x, y } = this.#placed();
    this.#zoomTo(scale * factor, x, y);
  }

  pan(right, down) {
    const { scale, x, y } = this.#placed();
    this.#moveTo(scale, x + (right * PAN) / (scale * this.size.width), y + (down * PAN) / (scale * this.size.height));
  }

  /** The place of a pointer in the picture, as parts of its width and height. */
  place(event) {
    const box = this.#canvas.getBoundingClientRect();
    const ratio = this.#canvas.width / box.width;
    const area = this.#area(0);
    return {
      x: ((event.clientX - box.left) * ratio - area.x) / area.width,
      y: ((event.clientY - box.top) * ratio - area.y) / area.height,
    };
  }

  draw() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#paint();
    });
  }

  // Drawing

  #resize() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.#frame;
    this.#canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.#canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    this.#paint();
  }

  /** The panes of the canvas: one, or two side by side (one above the other on an upright screen). */
  #panes() {
    const { width, height } = this.#canvas;
    if (this.mode !== "pair") return [{ x: 0, y: 0, width, height }];
    const gap = 8;
    if (width >= height) {
      const half = (width - gap) / 2;
      return [{ x: 0, y: 0, width: half, height }, { x: half + gap, y: 0, width: half, height }];
    }
    const half = (height - gap) / 2;
    return [{ x: 0, y: 0, width, height: half }, { x: 0, y: half + gap, width, height: half }];
  }

  #fitScale(pane) {
    const margin = Math.min(pane.width, pane.height) * 0.025;
    const scale = Math.min((pane.width - 2 * margin) / this.size.width, (pane.height - 2 * margin) / this.size.height);
    return Math.max(0.001, Math.min(MOST_ENLARGED * (devicePixelRatio || 1), scale));
  }

  #placed() {
    return this.#view.isFit ? { scale: this.#fitScale(this.#panes()[0]), x: 0.5, y: 0.5 } : this.#view;
  }

  /** Where the whole picture lies on the canvas, in its pixels. */
  #area(number) {
    const pane = this.#panes()[number];
    const { scale, x, y } = this.#placed();
    const width = this.size.width * scale, height = this.size.height * scale;
    return { x: pane.x + pane.width / 2 - x * width, y: pane.y + pane.height / 2 - y * height, width, height, pane, scale };
  }

  /** The part of an area that a picture of another shape fills. */
  #within(area, picture) {
    const scale = Math.min(area.width / picture.width, area.height / picture.height);
    const width = picture.width * scale, height = picture.height * scale;
    return { ...area, x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
  }

  #paint() {
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const { dream, original, other } = this.#pictures;
    if (this.mode === "pair") {
      this.#paintPicture(context, this.isHeld ? original : dream, this.#area(0));
      if (other) this.#paintPicture(context, other, this.#within(this.#area(1), other));
    } else if (this.mode === "split" && dream && original) {
      this.#paintSplit(context, original, dream);
    } else {
      const showsOriginal = this.isHeld || this.mode === "mask" || !dream;
      this.#paintPicture(context, showsOriginal ? original : dream, this.#area(0));
    }
    if (this.mode === "mask") this.painter?.paint(context, this.#area(0));
    this.#placeSplit();
  }

  #paintPicture(context, picture, area, from = 0, to = 1) {
    if (!picture) return;
    const { pane } = area;
    context.save();
    context.beginPath();
    context.rect(pane.x, pane.y, pane.width, pane.height);
    context.clip();
    context.beginPath();
    context.rect(area.x + from * area.width, area.y, (to - from) * area.width, area.height);
    context.clip();
    context.imageSmoothingEnabled = area.scale < 6;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, area.x, area.y, area.width, area.height);
    context.restore();
  }

  #paintSplit(context, original, dream) {
    const area = this.#area(0);
    this.#paintPicture(context, original, area, 0, this.split);
    this.#paintPicture(context, dream, area, this.split, 1);
  }

  #placeSplit() {
    const { dream, original } = this.#pictures;
    const isShown = this.mode === "split" && Boolean(dream && original);
    this.#split.hidden = !isShown;
    if (isShown) {
      const area = this.#area(0);
      const ratio = this.#canvas.width / this.#frame.clientWidth || 1;
      this.#split.style.left = `${(area.x + this.split * area.width) / ratio}px`;
      this.#split.style.top = `${Math.max(0, area.y / ratio)}px`;
      this.#split.style.height = `${Math.min(this.#frame.clientHeight, area.height / ratio)}px`;
      this.#split.setAttribute("aria-valuenow", Math.round(this.split * 100));
      this.#split.setAttribute("aria-valuetext", `${Math.round(this.split * 100)} % original`);
    }
    byId("tag-left").hidden = byId("tag-right").hidden = !(isShown || this.mode === "pair");
  }

  // The view

  #zoomTo(scale, x, y) {
    this.#moveTo(Math.min(32, Math.max(0.05, scale)), x, y);
  }

  #moveTo(scale, x, y) {
    const within = (part) => Math.min(1, Math.max(0, part));
    this.#view = { isFit: false, scale, x: within(x), y: within(y) };
    this.#changed();
  }

  #changed() {
    this.#frame.classList.toggle("is-zoomed", !this.#view.isFit);
    this.#frame.dispatchEvent(new Event("viewchange"));
    this.draw();
  }

  #toggleReal(event) {
    if (!this.isFit) return this.fit();
    const { x, y } = this.place(event);
    return this.#zoomTo(1, x, y);
  }

  #zoomAt(event, factor) {
    const at = this.place(event);
    const { scale, x, y } = this.#placed();
    const next = Math.min(32, Math.max(0.05, scale * factor));
    const keep = scale / next;
    this.#moveTo(next, at.x + (x - at.x) * keep, at.y + (y - at.y) * keep);
  }

  #wheel(event) {
    const scrolls = !matchMedia("(min-width: 960px)").matches; // then the wheel is the page's
    if (scrolls && !event.ctrlKey) return;
    event.preventDefault();
    this.#zoomAt(event, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
  }

  #pointer(event) {
    if (this.mode === "mask" && this.painter && event.button < 1) return this.painter.pointer(event, this.place(event));
    if (event.type === "pointerdown") {
      this.#canvas.setPointerCapture(event.pointerId);
      this.#pointers.set(event.pointerId, event);
    } else if (event.type === "pointermove" && this.#pointers.has(event.pointerId)) this.#drag(event);
    else if (event.type !== "pointermove") this.#pointers.delete(event.pointerId);
    return undefined;
  }

  #drag(event) {
    const before = this.#pointers.get(event.pointerId);
    const other = [...this.#pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    this.#pointers.set(event.pointerId, event);
    if (other) {
      const distance = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
      this.#zoomAt(event, distance(event) / Math.max(1, distance(before)));
    } else if (!this.isFit) {
      const ratio = this.#canvas.width / this.#frame.clientWidth;
      const { scale, x, y } = this.#view;
      const moved = (now, then, length) => ((now - then) * ratio) / (scale * length);
      this.#moveTo(scale, x - moved(event.clientX, before.clientX, this.size.width), y - moved(event.clientY, before.clientY, this.size.height));
    }
  }

  #listenToSplit() {
    const follow = (event) => this.setSplit(this.place(event).x);
    this.#split.addEventListener("pointerdown", (event) => {
      this.#split.setPointerCapture(event.pointerId);
      this.#split.onpointermove = follow;
      event.preventDefault();
      this.#split.focus();
    });
    for (const name of ["pointerup", "pointercancel"]) {
      this.#split.addEventListener(name, () => { this.#split.onpointermove = null; });
    }
    this.#split.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.02;
      const targets = { ArrowLeft: this.split - step, ArrowRight: this.split + step, ArrowDown: this.split - step,
        ArrowUp: this.split + step, PageDown: this.split - 0.1, PageUp: this.split + 0.1, Home: 0, End: 1 };
      if (!(event.key in targets)) return;
      event.preventDefault();
      event.stopPropagation();
      this.setSplit(targets[event.key]);
    });
  }
}
