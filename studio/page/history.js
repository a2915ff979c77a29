// The dreams so far: a strip of thumbnails, and what can be done with each of them.

import { request } from "./connection.js";
import { button, byId, dialog, make, say } from "./element.js";
import { lineOf, tell } from "./notices.js";
import { ago, shown } from "./number.js";
import { adopt, currentJob, emit, findLook, findSetting, isActive, on, same, show, store } from "./store.js";
import { showBeside } from "./viewing.js";

const WORDS = { queued: "waits", starting: "starts", running: "dreaming", paused: "paused", stopping: "stops", finished: "", stopped: "stopped", diverged: "stopped", failed: "failed" };
const items = new Map(); // id -> {element, update}

export function startHistory() {
  on("jobs", renderAll);
  on("job", (job) => { if (items.has(job.id)) items.get(job.id).update(job); else renderAll(); });
  on("removed", (id) => {
    items.get(id)?.element.remove();
    items.delete(id);
    renderAll();
  });
  on("current", () => { for (const { mark } of items.values()) mark(); });
}

function renderAll() {
  const jobs = [...store.jobs.values()].sort((one, other) => other.created - one.created);
  for (const id of items.keys()) if (!store.jobs.has(id)) items.delete(id);
  const wanted = jobs.map((job) => (items.get(job.id) ?? item(job)).element);
  const strip = byId("history");
  if (!same([...strip.children].map((child) => child.dataset.id), wanted.map((element) => element.dataset.id))) strip.replaceChildren(...wanted);
  byId("history-empty").hidden = jobs.length > 0;
}

function item(first) {
  const picture = make("img", { alt: "", loading: "lazy", width: 96, height: 72 });
  const badge = make("span", { class: "badge" });
  const open = make("button", { type: "button", class: "dream", onclick: () => show(first.id) }, picture, badge);
  const more = make("button", { type: "button", class: "dream-more", onclick: () => openMenu(store.jobs.get(first.id)) }, "⋯");
  const element = make("li", { "data-id": first.id }, open, more);
  let thumbnail = "";
  const mark = () => {
    if (first.id === store.current) open.setAttribute("aria-current", "true");
    else open.removeAttribute("aria-current");
  };
  const update = (job) => {
    const link = `${job.thumbnail}?${job.state}-${isActive(job) ? Math.floor(job.step / 10) : job.seq}`;
    if (link !== thumbnail) picture.src = thumbnail = link;
    say(badge, job.state === "running" ? `${Math.round((100 * job.step) / Math.max(1, job.steps))} %` : WORDS[job.state]);
    open.setAttribute("aria-label", `${job.name}, ${job.look ?? "own settings"}, ${job.state}, ${ago(job.created)}`);
    more.setAttribute("aria-label", `What to do with ${job.name}, ${job.look ?? "own settings"}`);
    mark();
  };
  picture.addEventListener("error", () => { picture.classList.add("is-missing"); });
  picture.addEventListener("load", () => { picture.classList.remove("is-missing"); });
  update(first);
  items.set(first.id, { element, update, mark });
  return items.get(first.id);
}

function openMenu(job) {
  const then = (action) => () => { box.close(); action(); };
  const hasResult = Object.keys(job.results ?? {}).length > 0;
  const isOther = store.current !== null && job.id !== store.current;
  const actions = [
    button("Show", then(() => show(job.id))),
    button("Use its settings", then(() => restore(job)), { title: "For the picture that is chosen now" }),
    button("Same picture again", then(() => branch(job, false)), { title: "Change something, then dream" }),
    button("Dream on from its result", then(() => branch(job, true)), { disabled: !hasResult }),
    button("Beside the one shown", then(() => showBeside(job)), { disabled: !isOther }),
    button("Delete…", () => askDelete(box, job), { class: "button danger" }),
  ];
  const head = make("div", { class: "source" }, make("img", { src: job.thumbnail, alt: "", class: "source-thumb" }),
    make("div", { class: "source-about" }, make("strong", {}, findLook(job.look)?.title ?? "Own settings"), make("span", { class: "quiet" }, `${job.state}, ${ago(job.created)}`)));
  const box = dialog(job.name, head, make("dl", { class: "facts" }, ...facts(job)), make("div", { class: "actions" }, ...actions));
}

/** The settings that differ from the look's. */
function facts(job) {
  const look = findLook(job.look);
  const names = Object.keys(job.settings).filter((name) => look && !same(job.settings[name], look.settings[name] ?? findSetting(name)?.default));
  const rows = names.map((name) => [findSetting(name)?.title ?? name, written(job.settings[name])]);
  const changes = (job.changes ?? []).flatMap(({ step, settings }) => Object.entries(settings).map(([name, value]) =>
    [`From step ${step}`, `${findSetting(name)?.title ?? name} ${written(value)}`]));
  const all = [["Steps", `${job.step} of ${job.steps}`], ["Size", `${job.width} × ${job.height}`], ...rows, ...changes];
  return all.flatMap(([title, value]) => [make("dt", {}, title), make("dd", {}, value)]);
}

function written(value) {
  if (value === null) return "off";
  if (Array.isArray(value)) return value.map((part) => (typeof part === "number" ? shown(part) : part)).join(", ") || "none";
  if (typeof value === "object") return Object.entries(value).map(([name, part]) => `${name} ${shown(part)}`).join(", ");
  return typeof value === "number" ? shown(value) : String(value);
}

function restore(job) {
  if (isActive(currentJob())) return tell("A dream is running: its settings stay. Stop it, or open a new picture first.");
  adopt(job, { keepsPicture: true, isMine: true });
  return tell("The settings are those of that dream.");
}

function branch(job, fromResult) {
  show(null);
  adopt(job);
  const draft = { branchOf: job.id, fromResult };
  if (fromResult) Object.assign(draft, { picture: { id: job.picture, name: `${job.name}-dream`, picture: job.results.jpg, width: job.width, height: job.height }, mask: null });
  Object.assign(store.draft, draft);
  emit("picture");
  emit("current");
}

function askDelete(box, job) {
  const question = make("p", {}, isActive(job) ? "It is still dreaming. Stop and delete it for good?" : "Delete this dream and its files for good?");
  const yes = button("Delete", remove, { class: "button danger" });
  box.querySelector(".actions").replaceChildren(question, make("div", { class: "row" }, yes, button("Keep it", () => box.close())));
  yes.focus();

  async function remove() {
    const element = items.get(job.id)?.element;
    const next = (element?.nextElementSibling ?? element?.previousElementSibling)?.querySelector("button") ?? byId("panel");
    try {
      await request("DELETE", `/api/jobs/${job.id}`);
    } catch (error) {
      if (error.status !== 404) return tell(lineOf(error));
    }
    box.close();
    emit("removed", job.id);
    return next.focus({ preventScroll: true }); // what is gone loses the keys
  }
}
