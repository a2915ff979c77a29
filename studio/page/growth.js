// What is dreamed: layers with weights, their chosen channels with signs, and classes. Read from settings and written to them.

import { changeSettings, findBundle, lookValue, settingValue, store } from "./store.js";

/** Returns {layers: {name: weight}, channels: {layer: [[channel, sign]]}, classes: [[name, sign]]} of the draft. */
export function readGrowth() {
  const channels = {};
  for (const text of settingValue("channels") ?? []) {
    const at = text.lastIndexOf(":");
    channels[text.slice(0, at)] = text.slice(at + 1).split(",").map((part) => signed(part.trim()));
  }
  const classes = (settingValue("classes") ?? "").split(",").map((part) => part.trim()).filter(Boolean).map(signed);
  const named = settingValue("layer_weights");
  const layers = named ? { ...named } : Object.fromEntries(allLayers(channels, classes).map((name) => [name, 1]));
  return { layers, channels, classes: classes.map(([name, sign]) => [String(name), sign]) };
}

function allLayers(channels, classes) {
  if (Object.keys(channels).length) return Object.keys(channels);
  if (classes.length) return ["logits"];
  return (findBundle(store.draft.bundle)?.layers ?? []).map((layer) => layer.name);
}

function signed(text) {
  const name = text.replace(/^[+-]/, "");
  return [/^\d+$/.test(name) ? Number(name) : name, text.startsWith("-") ? -1 : 1];
}

/** Writes what is dreamed to the draft; with nothing left, it is again what the look dreams. */
function writeGrowth({ layers, channels, classes }) {
  const isEmpty = !Object.keys(layers).length && !classes.length;
  if (isEmpty) return changeSettings({ layer_weights: lookValue("layer_weights"), channels: lookValue("channels"), classes: lookValue("classes") });
  const texts = Object.entries(channels).filter(([, chosen]) => chosen.length)
    .map(([layer, chosen]) => `${layer}:${chosen.map(([channel, sign]) => (sign < 0 ? `-${channel}` : channel)).join(",")}`);
  const values = {
    layer_weights: classes.length ? null : layers,
    channels: classes.length ? [] : texts,
    classes: classes.length ? classes.map(([name, sign]) => (sign < 0 ? `-${name}` : name)).join(",") : null,
  };
  if ((texts.length || classes.length) && settingValue("pick")) values.pick = null;
  return changeSettings(values);
}

/** Adds a channel, or takes it away. The first chosen channel replaces the whole layers that the look dreams. */
export function toggleChannel(bundle, layer, channel) {
  const isOther = bundle !== store.draft.bundle;
  if (isOther) store.draft.bundle = bundle;
  const growth = isOther ? { layers: {}, channels: {}, classes: [] } : readGrowth();
  const isFirst = !Object.keys(growth.channels).length;
  if (isFirst) growth.layers = {};
  growth.classes = [];
  const chosen = growth.channels[layer] ?? [];
  const rest = chosen.filter(([number]) => number !== channel);
  growth.channels[layer] = rest.length < chosen.length ? rest : [...chosen, [channel, 1]];
  if (!growth.channels[layer].length) {
    delete growth.channels[layer];
    delete growth.layers[layer];
  } else growth.layers[layer] ??= 1;
  writeGrowth(growth);
}

/** Adds a whole layer; layers with chosen channels stay. */
export function addLayer(bundle, layer) {
  const isOther = bundle !== store.draft.bundle;
  if (isOther) store.draft.bundle = bundle;
  const growth = isOther ? { layers: {}, channels: {}, classes: [] } : readGrowth();
  growth.classes = [];
  delete growth.channels[layer];
  growth.layers[layer] = growth.layers[layer] ?? 1;
  writeGrowth(growth);
}

export function removeLayer(layer) {
  const growth = readGrowth();
  delete growth.layers[layer];
  delete growth.channels[layer];
  writeGrowth(growth);
}

export function weighLayer(layer, weight) {
  const growth = readGrowth();
  growth.layers[layer] = weight;
  writeGrowth(growth);
}

export function flipChannel(layer, channel) {
  const growth = readGrowth();
  growth.channels[layer] = growth.channels[layer].map(([number, sign]) => [number, number === channel ? -sign : sign]);
  writeGrowth(growth);
}

/** Sets a class's sign: 1 grows it, -1 fades it, 0 takes it away. */
export function setClass(bundle, name, sign) {
  if (bundle !== store.draft.bundle) store.draft.bundle = bundle;
  const growth = readGrowth();
  const rest = growth.classes.filter(([other]) => other !== name);
  writeGrowth({ layers: {}, channels: {}, classes: sign ? [...rest, [name, sign]] : rest });
}
