// The curve of the loss, which is the bar of progress too: its width is the whole dream, with a mark for each octave.

import { byId } from "./element.js";
import { currentJob, on, store } from "./store.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000, HEIGHT = 100;
const losses = new Map(); // id of a dream -> [[step, loss], ...]

const draw = (tag, attributes) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};

const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": "No dream yet" });
const done = draw("rect", { class: "done", x: 0, y: 0, width: 0, height: HEIGHT });
const marks = draw("g", { class: "marks" });
const area = draw("path", { class: "area", d: "" });
const line = draw("path", { class: "line", d: "" });
let marked = "";

export function startCurve() {
  svg.append(done, marks, area, line);
  byId("curve").append(svg);
  on("current", render);
  on("job", (job) => {
    keep(job);
    if (job.id === store.current) render();
  });
  on("removed", (id) => losses.delete(id));
}

/** Keeps all losses of a dream where they came along, else adds the new ones. */
function keep(job) {
  const known = losses.get(job.id) ?? [];
  if (job.losses) losses.set(job.id, joined(job.losses, known));
  else if (job.id === store.current && job.new_losses?.length) losses.set(job.id, thinned(joined(known, job.new_losses)));
}

/** Points, and those of others that come later. */
function joined(points, others) {
  const last = points.at(-1)?.[0] ?? -1;
  return [...points, ...others.filter(([step]) => step > last)];
}

const thinned = (points) => (points.length <= 800 ? points : points.filter((_, place) => place % 2 === 0 || place === points.length - 1));

function render() {
  const job = currentJob();
  const points = (job && losses.get(job.id)) || [];
  const steps = Math.max(1, job?.steps ?? 1);
  done.setAttribute("width", job ? (Math.min(job.step, steps) / steps) * WIDTH : 0);
  renderMarks(job, steps);
  const values = points.map(([, loss]) => loss).filter(Number.isFinite);
  const low = Math.min(...values), high = Math.max(...values);
  const x = (step) => ((step / steps) * WIDTH).toFixed(1);
  const y = (loss) => (high > low ? 88 - ((loss - low) / (high - low)) * 76 : 50).toFixed(1);
  const path = points.filter(([, loss]) => Number.isFinite(loss)).map(([step, loss], place) => `${place ? "L" : "M"}${x(step)} ${y(loss)}`).join("");
  line.setAttribute("d", path);
  area.setAttribute("d", path ? `${path}L${x(points.at(-1)[0])} ${HEIGHT}L${x(points[0][0])} ${HEIGHT}Z` : "");
  svg.setAttribute("aria-label", summary(job, values));
}

function renderMarks(job, steps) {
  const starts = job?.octave_starts ?? [];
  const key = `${starts.join()}/${steps}`;
  if (key === marked) return;
  marked = key;
  const places = starts.filter((step) => step > 0).map((step) => (step / steps) * WIDTH);
  marks.replaceChildren(...places.map((x) => draw("line", { x1: x, x2: x, y1: 0, y2: HEIGHT })));
}

function summary(job, values) {
  if (!job || !values.length) return "No dream yet";
  const change = `from ${values[0].toPrecision(3)} to ${values.at(-1).toPrecision(3)}`;
  return `Loss, the strength of the patterns: ${change} in ${job.step} of ${job.steps} steps, octave ${job.octave} of ${job.octaves}`;
}
