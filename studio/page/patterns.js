// The patterns: the layers of a network and their channels as tiles, what is chosen of them, and classes.

import { button, byId, make, say } from "./element.js";
import * as growth from "./growth.js";
import { readNumber, shown } from "./number.js";
import { currentJob, findBundle, isActive, on, store } from "./store.js";

const FIRST = 48; // tiles that are shown before "more"
const TILE = 72; // its side on the page, in pixels
let layerName = null, isAll = false, bundleName = null;

export function startPatterns() {
  on("draft", () => { bundleName = null; render(); });
  on("current", render);
  byId("patterns").addEventListener("toggle", render);
  render();
}

// Channels

/** The channels of all networks whose name, or layer and number, has the text; those of the draft's network first. */
export function searchChannels(text) {
  const own = store.draft.bundle;
  const bundles = [...store.catalogue.bundles].sort((one, other) => (other.name === own) - (one.name === own));
  const hits = bundles.flatMap((bundle) => bundle.layers.flatMap((layer) => channelsOf(bundle, layer)));
  return hits.filter((hit) => (hit.label && hit.label.toLowerCase().includes(text)) || `${hit.layer}:${hit.channel}` === text);
}

function channelsOf(bundle, layer) {
  const drawn = layer.atlas?.tiles ?? [];
  const rest = [...Array(layer.channels).keys()].filter((channel) => !drawn.includes(channel));
  const describe = (channel, place) => ({
    bundle: bundle.name, layer: layer.name, channel, place, atlas: layer.atlas, label: layer.atlas?.names?.[channel] ?? "" });
  return [...drawn.map((channel, place) => describe(channel, place)), ...rest.map((channel) => describe(channel, null))];
}

export const toggleChannel = (hit) => growth.toggleChannel(hit.bundle, hit.layer, hit.channel);

const signOf = (hit) => (hit.bundle === store.draft.bundle
  && growth.readGrowth().channels[hit.layer]?.find(([channel]) => channel === hit.channel)?.[1]) || 0;

/** A channel as a button with its picture from the atlas. */
export function channelTile(hit, onclick) {
  const isLocked = isActive(currentJob()) && hit.bundle !== store.draft.bundle;
  const name = hit.label || String(hit.channel);
  const label = `${hit.label ? `${hit.label}, ` : ""}pattern ${hit.channel} of ${hit.layer}`;
  return make("button", { type: "button", class: "channel", "aria-pressed": String(signOf(hit) !== 0), "aria-label": label,
    title: `${hit.layer}:${hit.channel}`, disabled: isLocked, "data-key": `${hit.bundle}/${hit.layer}:${hit.channel}`,
    onclick: (event) => { onclick(); focusAgain(event.currentTarget); } }, swatch(hit, TILE), make("span", { class: "cut" }, name));
}

/** A chosen tile is made anew; the focus goes to the new one. */
function focusAgain(element) {
  const parent = element.closest("#hits, #patterns-body");
  if (element.isConnected) element.setAttribute("aria-pressed", String(element.getAttribute("aria-pressed") !== "true"));
  else if (parent || document.activeElement === document.body) {
    document.querySelector(`[data-key="${CSS.escape(element.dataset.key)}"]`)?.focus({ preventScroll: true });
  }
}

function swatch({ atlas, place }, side) {
  const element = make("span", { class: "swatch", "aria-hidden": "true" });
  if (!atlas || place === null) return element;
  const columns = atlas.columns;
  element.style.backgroundImage = `url("${atlas.picture}")`;
  element.style.backgroundSize = `${columns * side}px auto`;
  element.style.backgroundPosition = `${-(place % columns) * side}px ${-Math.floor(place / columns) * side}px`;
  return element;
}

// The section

function render() {
  const { draft } = store;
  const bundle = findBundle(bundleName ?? draft.bundle);
  const state = growth.readGrowth();
  say(byId("patterns-summary"), summary(state));
  if (!byId("patterns").open || !bundle) return;
  const layer = bundle.layers.find((one) => one.name === layerName)
    ?? bundle.layers.find((one) => state.layers[one.name] && one.atlas) ?? bundle.layers.find((one) => one.atlas) ?? bundle.layers[0];
  layerName = layer?.name ?? null;
  const focused = document.activeElement?.id;
  const scrolled = byId("patterns-body").querySelector(".tiles")?.scrollTop ?? 0;
  byId("patterns-body").replaceChildren(chosenRows(state), chooser(bundle, layer), ...(layer ? [grid(bundle, layer)] : []), classesOf(bundle, state));
  const tiles = byId("patterns-body").querySelector(".tiles");
  if (tiles) tiles.scrollTop = scrolled;
  if (focused) byId(focused)?.focus({ preventScroll: true });
}

function summary({ layers, channels, classes }) {
  if (classes.length) return classes.map(([name]) => name).join(", ");
  const count = Object.values(channels).flat().length;
  if (count) return `${count} chosen`;
  return Object.keys(layers).join(", ");
}

function chosenRows({ layers, channels, classes }) {
  if (classes.length) return make("div");
  const rows = Object.entries(layers).map(([layer, weight]) => layerRow(layer, weight, channels[layer] ?? []));
  return make("div", { class: "chosen" }, make("h3", {}, "What grows"), ...rows);
}

function layerRow(layer, weight, chosen) {
  const message = make("p", { class: "message", id: `weight-message-${layer}`, role: "alert" });
  const field = make("input", { id: `weight-field-${layer}`, class: "field", inputmode: "decimal", value: shown(weight),
    "aria-label": `Weight of ${layer}`, "aria-describedby": message.id });
  const slider = make("input", { id: `weight-${layer}`, type: "range", min: -2, max: 2, step: 0.1, value: weight, "aria-label": `Weight of ${layer}, below 0 fades it` });
  slider.oninput = () => { field.value = shown(Number(slider.value)); };
  slider.onchange = () => growth.weighLayer(layer, Number(slider.value));
  field.onchange = () => {
    const number = readNumber(field.value, { min: -1e6, max: 1e6 });
    field.setAttribute("aria-invalid", String(Boolean(number.error)));
    say(message, number.error ?? "");
    if (!number.error) growth.weighLayer(layer, number.value);
  };
  const remove = button("×", () => growth.removeLayer(layer), { class: "button ghost icon", "aria-label": `Take ${layer} away` });
  const chips = chosen.map(([channel, sign]) => chip(layer, channel, sign));
  return make("div", { class: "layer-row" }, make("span", { class: "cut" }, chips.length ? layer : `${layer}, all patterns`), slider, field, remove,
    message, make("div", { class: "chips" }, ...chips));
}

function chip(layer, channel, sign) {
  const bundle = findBundle(store.draft.bundle);
  const hit = channelsOf(bundle, bundle.layers.find((one) => one.name === layer) ?? { name: layer, channels: 0 }).find((one) => one.channel === channel)
    ?? { layer, channel, label: "", atlas: null, place: null };
  const name = hit.label || `no. ${channel}`;
  return make("span", { class: "chip" }, swatch(hit, 40), make("span", { class: "cut" }, name),
    button(sign > 0 ? "grows" : "fades", () => growth.flipChannel(layer, channel), { class: "button ghost", id: `flip-${layer}-${channel}`, "aria-label": `${name} ${sign > 0 ? "grows: let it fade" : "fades: let it grow"}` }),
    button("×", () => growth.toggleChannel(store.draft.bundle, layer, channel), { class: "button ghost icon", "aria-label": `Take ${name} away` }));
}

function chooser(bundle, layer) {
  const runs = isActive(currentJob());
  const option = (value, text, isChosen) => make("option", { value, selected: isChosen }, text);
  const layers = make("select", { id: "layer", class: "select", onchange: () => { layerName = layers.value; isAll = false; render(); } },
    ...bundle.layers.map((one) => option(one.name, one.name, one === layer)));
  const bundles = make("select", { id: "bundle", class: "select", disabled: runs,
    onchange: () => { bundleName = bundles.value; layerName = null; isAll = false; render(); } },
    ...store.catalogue.bundles.map((one) => option(one.name, one.title, one === bundle)));
  const whole = button("Add the whole layer", () => growth.addLayer(bundle.name, layerName), { id: "whole", disabled: !layer || (runs && bundle.name !== store.draft.bundle) });
  return make("div", { class: "chooser" },
    make("label", { class: "quiet", htmlFor: "bundle" }, "Network"), bundles, make("label", { class: "quiet", htmlFor: "layer" }, "Layer"), layers, whole,
    make("p", { class: "note" }, runs ? "Another network is for a new dream." : `Early layers draw lines and textures, late ones whole things.${layer?.min_size > 1 ? ` Needs ${layer.min_size} px or more.` : ""}`));
}

function grid(bundle, layer) {
  const all = channelsOf(bundle, layer);
  const few = isAll ? all : all.slice(0, FIRST);
  const tiles = make("div", { class: "tiles" }, ...few.map((hit) => channelTile(hit, () => toggleChannel(hit))));
  const more = button(`All ${all.length} patterns`, () => { isAll = true; render(); }, { class: "button ghost wide", hidden: few.length === all.length });
  return make("div", {}, tiles, more);
}

function classesOf(bundle, { classes }) {
  const withClasses = bundle.classes?.length ? bundle : null;
  if (!withClasses) return make("div");
  const list = make("datalist", { id: "class-names" }, ...withClasses.classes.map((name) => make("option", { value: name })));
  const message = make("p", { class: "message", role: "alert" });
  const field = make("input", { id: "class", class: "field long", list: "class-names", placeholder: "castle, ladybird…", "aria-label": "Name of a thing to dream" });
  const add = () => {
    const name = withClasses.classes.find((one) => one.toLowerCase() === field.value.trim().toLowerCase());
    if (!name) return say(message, "The network does not know this name: choose one from the list.");
    return growth.setClass(withClasses.name, name, 1);
  };
  const chips = classes.map(([name, sign]) => make("span", { class: "chip" }, make("span", { class: "cut" }, name),
    button(sign > 0 ? "grows" : "fades", () => growth.setClass(bundle.name, name, -sign), { class: "button ghost" }),
    button("×", () => growth.setClass(bundle.name, name, 0), { class: "button ghost icon", "aria-label": `Take ${name} away` })));
  field.onkeydown = (event) => { if (event.key === "Enter") add(); };
  return make("div", { class: "classes" }, make("h3", {}, "Things"), make("div", { class: "row" }, field, list, button("Add", add)), message, make("div", { class: "chips" }, ...chips));
}
