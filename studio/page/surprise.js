// "Surprise me": a look, patterns and strengths by chance, the same for the same number.

import { byId, make, say } from "./element.js";
import { readNumber } from "./number.js";
import { changeSettings, chooseLook, currentJob, emit, findBundle, findSetting, isActive, on, store } from "./store.js";

const NUMBERS = 100000;

export function startSurprise() {
  const field = make("input", { id: "surprise-number", class: "field", inputmode: "numeric", autocomplete: "off" });
  const message = make("p", { class: "message", role: "alert" });
  field.onchange = () => {
    const number = readNumber(field.value, { min: 0, max: NUMBERS - 1, whole: true });
    field.setAttribute("aria-invalid", String(Boolean(number.error)));
    say(message, number.error ?? "");
    if (!number.error) surprise(number.value);
  };
  byId("surprise-row").append(make("label", { htmlFor: "surprise-number" }, "Surprise number"), field, message);
  byId("surprise").onclick = () => surprise(Math.floor(Math.random() * NUMBERS));
  const update = () => { byId("surprise").disabled = isActive(currentJob()); };
  on("current", update);
  on("job", update);
}

/** Chance that a number decides (mulberry32). */
function chance(number) {
  let state = number;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function surprise(number) {
  const next = chance(number);
  const pick = (list) => list[Math.floor(next() * list.length)];
  byId("surprise-row").hidden = false;
  byId("surprise-number").value = number;
  const look = pick(store.catalogue.looks);
  const bundle = findBundle(look.bundle);
  const named = (bundle?.layers ?? []).flatMap((layer) => Object.keys(layer.atlas?.names ?? {}).map((channel) => [layer.name, Number(channel)]));
  const changes = {};
  if (named.length && next() < 0.7) Object.assign(changes, patternsByChance(next, pick, named));
  const size = look.settings.step_size;
  if (size !== undefined) {
    const factor = 0.8 + 0.5 * next();
    const scaled = (value) => Number((value * factor).toPrecision(3));
    changes.step_size = Array.isArray(size) ? size.map(scaled) : scaled(size);
  }
  if (findSetting("seed")) changes.seed = number;
  if (next() < 0.3 && findSetting("colours")) changes.colours = look.settings.colours === "own" ? "own:0.6" : "own";
  chooseLook(look.name);
  changeSettings(changes);
  emit("current");
}

/** One to three named patterns, of one or two layers. */
function patternsByChance(next, pick, named) {
  const chosen = new Map();
  const count = 1 + Math.floor(next() * 3);
  for (let place = 0; place < count; place++) {
    const [layer, channel] = pick(named);
    if (chosen.size < 2 || chosen.has(layer)) chosen.set(layer, [...new Set([...(chosen.get(layer) ?? []), channel])]);
  }
  return {
    layer_weights: Object.fromEntries([...chosen.keys()].map((layer) => [layer, 1])),
    channels: [...chosen].map(([layer, channels]) => `${layer}:${channels.join(",")}`),
    classes: null,
  };
}
