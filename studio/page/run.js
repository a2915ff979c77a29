// The run: start, pause, step, stop and go on; changes during it; its state in words; what a dream will take.

import { request, Refused } from "./connection.js";
import { byId, say } from "./element.js";
import { takeMask } from "./mask.js";
import { lineOf, UNREACHABLE } from "./notices.js";
import { bytes, duration, shown } from "./number.js";
import { adopt, currentJob, emit, findSetting, GROWTH, hear, isActive, on, settingValue, show, store } from "./store.js";

const PATCH_WAIT = 200; // ms between two changes of a run: at most five a second
const SETTLE = 400; // ms after a change in which older news of the run do not move the controls
const ESTIMATE_WAIT = 350;
const WORDS = {
  queued: "Waits for its turn", starting: "Getting ready", running: "Dreaming", paused: "Paused", stopping: "Stopping",
  finished: "Finished", stopped: "Stopped", diverged: "Stopped: the picture went out of bounds", failed: "Failed",
};

export function startRun() {
  byId("primary").onclick = (event) => { if (event.detail < 2) pressPrimary(); }; // a double click is one
  byId("second").onclick = () => act(currentJob()?.state === "stopped" ? "resume" : "step");
  byId("stop").onclick = () => act("stop");
  on("current picture link", render);
  on("link", (state) => { if (state === "live" && byId("run-message").textContent === UNREACHABLE) say(byId("run-message"), ""); });
  on("job", (job) => {
    if (job.id !== store.current) return;
    if (isActive(job) && changes.isSettled) adopt(job);
    if (wasActive && !isActive(job)) forgetErrors();
    render();
  });
  on("draft", ({ names, isMine }) => {
    if (isMine) follow(names);
    estimate();
  });
  on("current picture", estimate);
}

// Start and the other actions

let starting = null; // the request of a start that is under way or whose answer got lost

async function pressPrimary() {
  const job = currentJob();
  if (underWay || job?.state === "stopping") return undefined;
  if (isActive(job)) return act(job.state === "paused" ? "resume" : "pause");
  return start();
}

async function start() {
  if (!store.draft.picture || underWay || showWrong()) return;
  await busily(async () => {
    await takeMask();
    const body = asked(store.draft);
    const key = JSON.stringify(body);
    if (starting?.key !== key) starting = { key, id: randomId() };
    const job = await request("POST", "/api/jobs", { request: starting.id, ...body });
    starting = null;
    if (!store.jobs.has(job.id)) emit("job", job);
    show(job.id);
  });
}

/** The dream of a draft, as the server is asked for it or for what it will take. */
const asked = (draft) => ({
  picture: draft.fromResult ? undefined : draft.picture.id, look: draft.look, bundle: draft.bundle,
  settings: draft.changes, mask: draft.mask, guide: draft.guide,
  branch_of: draft.branchOf, from_result: draft.fromResult || undefined,
});

/** Whether a field holds what cannot be sent; the first such field gets the focus. */
function showWrong() {
  const [name] = Object.keys(store.wrong);
  const field = name && byId(`setting-${name}`);
  if (field) {
    const fold = field.closest("details");
    if (fold) fold.open = true;
    field.focus();
  }
  return Boolean(field);
}

/** An id for a request; crypto.randomUUID is missing where the page comes over plain http. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

let underWay = null; // the promise of the action whose answer is awaited
let wasActive = false; // whether the dream that is shown ran when it was last shown

async function act(action) {
  const job = currentJob();
  while (underWay) await underWay; // a Stop that is pressed meanwhile is not lost
  if (job) await busily(() => hear(job.id, () => request("POST", `/api/jobs/${job.id}/${action}`)));
}

function busily(work) {
  underWay = settled(work);
  return underWay;
}

async function settled(work) {
  try {
    await work();
    say(byId("run-message"), "");
  } catch (error) {
    report(error);
  } finally {
    underWay = null;
    render();
  }
}

/** Shows an error next to the setting that it is about, else below the progress. */
function report(error) {
  if (error instanceof Refused && error.field) {
    store.errors[error.field] = error.message;
    emit("errors");
    say(byId("run-message"), findSetting(error.field) && error.status === 422 ? "A setting needs another value: see below its name." : error.message);
  } else say(byId("run-message"), lineOf(error));
}

/** Errors of a run's changes mean nothing when it has ended. */
function forgetErrors() {
  store.errors = {};
  say(byId("run-message"), "");
  emit("errors");
}

// Changes during a run: one request at a time, then the newest values

const changes = {
  waiting: {}, job: null, isSending: false, sentAt: 0, timer: 0,

  get isSettled() { return !this.isSending && !Object.keys(this.waiting).length && performance.now() - this.sentAt > SETTLE; },

  add(job, values) {
    if (this.job !== job.id) this.waiting = {};
    this.job = job.id;
    Object.assign(this.waiting, values);
    this.schedule();
  },

  schedule() {
    if (this.isSending || this.timer || !Object.keys(this.waiting).length) return;
    this.timer = setTimeout(() => { this.timer = 0; this.send(); }, Math.max(0, PATCH_WAIT - (performance.now() - this.sentAt)));
  },

  async send() {
    const settings = this.waiting;
    this.waiting = {};
    this.isSending = true;
    try {
      await hear(this.job, () => request("PATCH", `/api/jobs/${this.job}`, { settings }));
      this.isSending = false;
      this.sentAt = performance.now();
      say(byId("run-message"), "");
    } catch (error) {
      this.isSending = false;
      this.sentAt = performance.now();
      report(error);
    }
    this.schedule();
  },
};

/** Sends what was changed in the draft to the dream that is shown, if it runs; `names` null means all. */
function follow(names) {
  const job = currentJob();
  if (!isActive(job)) return;
  const all = names ?? [...GROWTH, ...store.catalogue.settings.map((setting) => setting.name)];
  const able = all.filter((name) => (findSetting(name)?.changes ?? "step") !== "start");
  const values = Object.fromEntries(able.map((name) => [name, settingValue(name)]));
  const now = { ...job.settings, ...job.pending };
  const differing = names ? values : Object.fromEntries(Object.entries(values).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(now[name] ?? null)));
  if (Object.keys(differing).length) changes.add(job, differing);
}

/** Whether a setting cannot be changed now, since a dream runs and it takes effect at the start alone. */
export const isLocked = (name) => isActive(currentJob()) && findSetting(name)?.changes === "start";

// The state in words and buttons

function render() {
  const job = currentJob();
  const state = job?.state ?? null;
  const runs = isActive(job);
  wasActive = runs;
  const primary = byId("primary");
  say(primary, !runs ? "Dream" : state === "paused" ? "Go on" : "Pause");
  primary.classList.toggle("is-quiet", runs && state !== "paused");
  primary.disabled = !runs && !store.draft.picture;
  const second = byId("second");
  say(second, state === "stopped" ? "Go on" : "Step");
  const focused = document.activeElement;
  second.disabled = !(state === "paused" || state === "stopped");
  byId("stop").disabled = !runs || state === "stopping";
  if (focused?.disabled && (focused === second || focused === byId("stop"))) primary.focus(); // a disabled button loses the keys
  byId("save").disabled = !Object.keys(job?.results ?? {}).length;
  const line = job ? WORDS[state] + (job.error ? `: ${job.error}` : "") : store.draft.picture ? "Ready" : "";
  say(byId("state"), line);
  byId("state").dataset.state = state ?? "";
  say(byId("figures"), job ? figures(job) : "");
  say(byId("notices"), (job?.notices ?? []).join(" "));
  document.title = runs && state === "running" ? `${Math.round((100 * job.step) / Math.max(1, job.steps))} % · onnxdream studio` : "onnxdream studio";
}

function figures(job) {
  const parts = [`octave ${job.octave} of ${job.octaves}`, `step ${job.step} of ${job.steps}`];
  if (job.width) parts.push(`${job.width} × ${job.height}`);
  if (isActive(job) && job.seconds_left !== null && job.seconds_left !== undefined) parts.push(`${duration(job.seconds_left)} left`);
  if (!isActive(job) && job.seconds) parts.push(`took ${duration(job.seconds)}`);
  if (job.loss !== null && job.loss !== undefined) parts.push(`loss ${shown(job.loss)}`);
  if (job.provider) parts.push(`on ${job.provider}`);
  return parts.join(" · ");
}

// What a dream will take

let estimateTimer = 0, estimateNumber = 0;

function estimate() {
  clearTimeout(estimateTimer);
  estimateTimer = setTimeout(askEstimate, ESTIMATE_WAIT);
}

async function askEstimate() {
  const { draft } = store, number = ++estimateNumber;
  if (!draft.picture || isActive(currentJob())) return say(byId("estimate"), "");
  try {
    const answer = await request("POST", "/api/estimate", asked(draft));
    if (number !== estimateNumber) return undefined;
    const [width, height] = answer.octaves.at(-1) ?? [];
    const time = answer.seconds === null ? "time not known yet" : `about ${duration(answer.seconds)}`;
    say(byId("estimate"), [width && `${width} × ${height}`, time, bytes(answer.memory)].filter(Boolean).join(" · "));
  } catch (error) {
    if (number !== estimateNumber) return undefined;
    say(byId("estimate"), "");
    if (error instanceof Refused && error.field) report(error);
  }
  return undefined;
}
