// The start of the page: the catalogue, then everything that shows it, then the live connection.

import { Live, request } from "./connection.js";
import { startCurve } from "./curve.js";
import { byId, say } from "./element.js";
import { startHistory } from "./history.js";
import { recall, startIntake } from "./intake.js";
import { startLooks } from "./looks.js";
import { tell } from "./notices.js";
import { startPatterns } from "./patterns.js";
import { startRun } from "./run.js";
import { startSaving } from "./saving.js";
import { startSettings } from "./settings.js";
import { Stage } from "./stage.js";
import { chooseLook, currentJob, emit, isActive, on, show, store } from "./store.js";
import { startSurprise } from "./surprise.js";
import { showFrame, startViewing } from "./viewing.js";

let wasAway = false, isFirst = true;

async function start() {
  store.catalogue = await catalogue();
  chooseLook(store.catalogue.default_look);
  const stage = new Stage();
  const live = new Live({ jobs: receiveJobs, job: (job) => emit("job", job), removed: (id) => emit("removed", id), frame: showFrame, link: showLink });
  startViewing(stage, live);
  startRun();
  startCurve();
  startLooks();
  startSettings();
  startPatterns();
  startSurprise();
  startHistory();
  startSaving();
  recall();
  startIntake(stage);
  on("removed", (id) => { if (store.current === id) show(null); });
  say(byId("foot"), `onnxdream ${store.catalogue.version}, on ${store.catalogue.provider}`);
  emit("picture");
  emit("current");
  byId("skip").onclick = (event) => {
    event.preventDefault(); // the address holds the dream that is shown
    byId("panel").focus();
  };
  live.connect();
}

/** Asks for the catalogue until the server is there. */
async function catalogue() {
  for (let wait = 500; ; wait = Math.min(10000, wait * 1.7)) {
    try {
      return await request("GET", "/api/catalogue");
    } catch (error) {
      showLink(error.status === 401 ? "refused" : "away", wait / 1000);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

function receiveJobs(jobs) {
  const ids = new Set(jobs.map((job) => job.id));
  for (const id of [...store.jobs.keys()]) if (!ids.has(id)) emit("removed", id);
  for (const job of jobs) emit("job", job);
  emit("jobs");
  if (isFirst) {
    isFirst = false;
    openFirst(jobs);
    addEventListener("hashchange", openNamed);
  } else if (store.current) refresh(store.current);
}

/** After a reload: the dream in the address, else one that is running where no picture waits to be dreamed. */
function openFirst(jobs) {
  const running = store.draft.picture ? null : jobs.find(isActive);
  if (!openNamed() && running) show(running.id);
}

/** Shows the dream in the address, which may be of another studio; returns whether it is there. */
function openNamed() {
  const id = location.hash.slice(1);
  const isThere = store.jobs.has(id);
  if (isThere) show(id);
  else if (id) {
    tell("This studio has no such dream: it was deleted, or is in another folder.");
    show(store.current);
  }
  return isThere;
}

/** Fetches a dream with all its losses, which the live news leave out. */
async function refresh(id) {
  const before = store.jobs.get(id);
  const job = await request("GET", `/api/jobs/${id}`).catch(() => null);
  const now = store.jobs.get(id); // gone where it was deleted meanwhile, and newer where live news came
  if (job && now) emit("job", now === before ? job : { ...now, losses: job.losses });
}

function showLink(state, seconds) {
  const wait = Math.max(1, Math.round(seconds));
  const lines = { live: wasAway ? "Back again" : "", polling: "Without a live connection: news each second",
    refused: "The studio was started anew: open the address that it shows.",
    away: `The studio is away. Trying again${wait > 2 ? ` in ${wait} s` : ""}…` };
  wasAway = state === "away";
  byId("link").dataset.state = state;
  say(byId("link"), lines[state]);
  document.body.classList.toggle("is-away", state === "away");
  emit("link", state);
}

on("current", () => {
  const job = currentJob();
  if (job && !job.losses) refresh(job.id);
});

start();
