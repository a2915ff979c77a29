// The looks as tiles, and the search over looks and patterns.

import { byId, make, say } from "./element.js";
import { channelTile, searchChannels, toggleChannel } from "./patterns.js";
import { chooseLook, currentJob, findLook, isActive, on, same, store } from "./store.js";

const FEW = 6;
const HITS = 24;
let isAll = false;

export function startLooks() {
  byId("search").oninput = render;
  byId("all-looks").onclick = () => { isAll = !isAll; render(); };
  on("draft current", update);
  on("job", (job) => { if (job.id === store.current) update(); });
  render();
}

const words = () => byId("search").value.trim().toLowerCase();

/** The looks to show: what matches the search, else the first few and the chosen one, or all. */
function chosenLooks() {
  const { looks } = store.catalogue, text = words();
  if (text) return looks.filter((look) => `${look.name} ${look.title} ${look.text}`.toLowerCase().includes(text));
  if (isAll) return looks;
  const first = looks.slice(0, FEW);
  const chosen = findLook(store.draft.look);
  return chosen && !first.includes(chosen) ? [...first.slice(0, FEW - 1), chosen] : first;
}

function render() {
  byId("looks").replaceChildren(...chosenLooks().map(tile));
  const toggle = byId("all-looks");
  toggle.hidden = Boolean(words()) || store.catalogue.looks.length <= FEW;
  toggle.setAttribute("aria-expanded", String(isAll));
  say(toggle, isAll ? "Fewer looks" : `All ${store.catalogue.looks.length} looks`);
  renderHits();
  update();
}

function tile(look) {
  const input = make("input", { type: "radio", name: "look", value: look.name, onchange: () => chooseLook(look.name) });
  const picture = look.tile
    ? make("img", { src: look.tile, alt: "", loading: "lazy", width: 128, height: 96 })
    : make("span", { class: "plain-tile", "aria-hidden": "true" }, look.title.slice(0, 2));
  return make("label", { class: "look", title: look.text }, input, picture, make("span", { class: "look-name cut" }, look.title));
}

function update() {
  const { draft } = store;
  const isMissing = !words() && ![...byId("looks").querySelectorAll("input")].some((input) => input.value === draft.look);
  if (isMissing) return render();
  const runs = isActive(currentJob());
  const pressed = pressedLook();
  for (const input of byId("looks").querySelectorAll("input")) {
    input.checked = input.value === pressed;
    input.disabled = runs && findLook(input.value).bundle !== draft.bundle;
  }
  const look = findLook(pressed);
  const edited = Object.keys(draft.changes).length && pressed === draft.look ? " Changed." : "";
  const locked = runs && [...byId("looks").querySelectorAll("input")].some((input) => input.disabled);
  say(byId("look-text"), locked ? "Faded looks are for a new dream." : `${look.text}${edited}`);
  return undefined;
}

/** The look that is dreamed now: during a run it may be another than the one that it began with. */
function pressedLook() {
  const { draft } = store;
  const grown = (look, name) => (name in draft.changes ? draft.changes[name] : findLook(draft.look).settings[name]);
  const isLike = (look) => look.bundle === draft.bundle
    && ["layer_weights", "channels", "colours", "step_size"].every((name) => same(grown(look, name), look.settings[name]));
  return isActive(currentJob()) ? (store.catalogue.looks.find(isLike)?.name ?? draft.look) : draft.look;
}

function renderHits() {
  const text = words(), hits = byId("hits");
  const found = text ? searchChannels(text).slice(0, HITS) : [];
  hits.hidden = !text;
  if (!text) return hits.replaceChildren();
  const title = make("h3", {}, found.length ? "Patterns" : byId("looks").children.length ? "No patterns of this name" : "Nothing has this name");
  const tiles = found.map((hit) => channelTile(hit, () => toggleChannel(hit)));
  return hits.replaceChildren(title, make("div", { class: "tiles" }, ...tiles));
}
