// Saving a dream: its picture in four formats, how it grew as a film, its settings and record, and the command line.

import { button, byId, dialog, make, say } from "./element.js";
import { currentJob } from "./store.js";

const PICTURES = [["png", "PNG", "without loss"], ["jpg", "JPEG", "small"], ["webp", "WebP", "smaller"], ["tiff", "TIFF", "for print"]];
const OTHERS = [["film", "Film", "how it grew"], ["settings", "Settings", "for the command line"], ["record", "Record", "all that made it"]];

export function startSaving() {
  byId("save").onclick = () => openSaving(currentJob());
}

function openSaving(job) {
  const links = (kinds) => kinds.filter(([kind]) => job.results[kind]).map(([kind, title, text]) =>
    make("a", { class: "button save", href: job.results[kind], download: fileName(job.results[kind]) }, make("strong", {}, title), make("span", { class: "quiet" }, text)));
  dialog("Save the dream", make("div", { class: "saves" }, ...links(PICTURES)), make("div", { class: "saves" }, ...links(OTHERS)), ...command(job));
}

const fileName = (link) => decodeURIComponent(link.split("/").at(-1).split("?")[0]);

function command(job) {
  if (!job.command) return [];
  const title = job.state === "stopped" ? `The whole dream on the command line (this one was stopped at step ${job.step})` : "The same on the command line";
  const field = make("textarea", { class: "command", readonly: true, rows: 3, "aria-label": title });
  field.value = job.command;
  const copy = button("Copy", async () => {
    const isCopied = await navigator.clipboard?.writeText(job.command).then(() => true, () => false) || copySelected(field);
    say(copy, isCopied ? "Copied" : "Press Ctrl+C");
  });
  return [make("h3", {}, title), field, make("div", { class: "row" }, copy)];
}

/** Copies the old way, where the page comes over plain http and has no clipboard. */
function copySelected(field) {
  field.select();
  return document.execCommand("copy");
}
