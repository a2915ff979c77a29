// The settings: sliders with number fields for what matters, the rest folded away, in groups and with a search.

import { button, byId, make, say } from "./element.js";
import { readNumber, shown } from "./number.js";
import { isLocked } from "./run.js";
import { changeSettings, currentJob, GROWTH, isActive, lookValue, on, settingValue, store } from "./store.js";

// What a slider spans, where that is less than what the setting may be; the third is its step, or log.
const SPANS = {
  steps: [1, 60, 1], step_size: [0.002, 0.1, "log"], octaves: [1, 10, 1], octave_scale: [1.1, 2, 0.05], octaves_above: [0, 3, 1],
  max_size: [128, 2048, 32], blur: [0, 4, 0.1], jitter: [0, 64, 1], blend: [0, 1, 0.01], stay: [0, 1, 0.01], laplacian: [0, 8, 1],
  tv: [0, 1, 0.01], l2: [0, 1, 0.01], momentum: [0, 0.99, 0.01], feather: [0, 64, 1], tile_overlap: [0, 256, 8],
};
// What the main ones do, in a few words; the whole help is behind the question mark.
const WORDS = {
  max_size: "Longer side in pixels", octaves: "From coarse shapes to fine detail", steps: "How long each octave grows",
  step_size: "How strong each stroke is", colours: "Where the colours come from", blend: "Share of the dream in the result",
  stay: "Holds the dream to the picture", blur: "Softer strokes", seed: "Another number, another dream",
  octave_scale: "Size from one octave to the next", jitter: "Hides edges and repetitions",
};
const ORDER = ["max_size", "octaves", "octave_scale", "steps", "step_size", "blur", "colours", "blend", "stay", "jitter"]; // of the main ones
const EMPTY = { max_size: "original" };
const GROUPS = [
  ["How it grows", /^(gradient_norm|optimizer|momentum|clip|jitter|blur|laplacian|seed|until|max_loss|plateau|step|pick|position|guide)/],
  ["How it keeps to the picture", /^(tv|l2|stay|blend|feather|colours|normalization|full_size)/],
  ["Sizes", /^(octave|detail|interpolation|max_size|tile|tiling|global)/],
  ["Other", /./],
];
const controls = new Map(); // name -> {element, update}

export function startSettings() {
  const rows = store.catalogue.settings.filter((row) => !GROWTH.includes(row.name));
  const place = (row) => (ORDER.indexOf(row.name) + ORDER.length + 1) % (ORDER.length + 1);
  byId("main-settings").append(...rows.filter((row) => row.place === "main").sort((one, other) => place(one) - place(other)).map(control));
  const more = rows.filter((row) => row.place !== "main");
  for (const [title, pattern] of GROUPS) {
    const own = more.filter((row) => GROUPS.find(([, other]) => other.test(row.name))[1] === pattern);
    if (own.length) byId("more-settings").append(make("section", { class: "group" }, make("h3", {}, title), ...own.map(control)));
  }
  byId("more-search").oninput = searchMore;
  on("draft", ({ names }) => {
    if (!names) forgetWrong();
    updateAll();
  });
  on("current errors", updateAll);
  on("job", (job) => { if (job.id === store.current) updateLocks(); });
  updateAll();
}

const valueKind = (row) => {
  const isPair = (value) => Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);
  const takesPairs = row.pair || isPair(row.default) || store.catalogue.looks.some((look) => isPair(look.settings[row.name]));
  return row.kind === "number" && takesPairs ? "schedule" : row.kind;
};

/** A setting: its name, its field, a slider, what it does in a few words or what is wrong, the whole help, and a reset. */
function control(row) {
  const kind = valueKind(row);
  const id = `setting-${row.name}`;
  const note = make("p", { class: "note", id: `${id}-note` });
  const help = make("p", { class: "help", id: `${id}-help`, hidden: true }, row.text);
  const ask = button("?", () => {
    help.hidden = !help.hidden;
    ask.setAttribute("aria-expanded", String(!help.hidden));
  }, { class: "button ghost icon ask", "aria-expanded": "false", "aria-controls": help.id, "aria-label": `What ${row.title} does` });
  const reset = button("↺", () => change(row, lookValue(row.name)), { class: "button ghost icon reset", "aria-label": `Reset ${row.title} to the look's value`, title: "Back to the look's value" });
  const parts = (makers[kind] ?? makers.text)(row, id, (text) => tellWrong(row, text));
  const element = make("div", { class: `control kind-${kind}`, "data-name": row.name },
    make("div", { class: "control-head" }, make("label", { class: "title", htmlFor: id }, row.title), ask), reset, ...parts.elements, note, help);
  const update = () => { if (!store.wrong[row.name]) parts.set(settingValue(row.name)); };
  controls.set(row.name, { row, element, update, note, reset, fields: parts.fields });
  for (const field of parts.fields) field.setAttribute("aria-describedby", note.id);
  return element;
}

function change(row, value) {
  delete store.wrong[row.name];
  changeSettings({ [row.name]: value });
}

function tellWrong(row, text) {
  store.wrong[row.name] = text;
  updateNote(row.name);
}

const tried = (text, row, optional = row.optional) => readNumber(text, { min: row.min, max: row.max, whole: row.kind === "integer", optional });

function sliderOf(row, id, label) {
  const isNarrow = row.min !== null && row.max !== null && row.max - row.min <= 1000;
  const span = SPANS[row.name] ?? (isNarrow ? [row.min, row.max, row.kind === "integer" ? 1 : (row.max - row.min) / 100] : null);
  if (!span) return null;
  const [low, high, step] = span;
  const isLog = step === "log";
  const slider = make("input", { type: "range", id: `${id}-slider`, min: isLog ? 0 : low, max: isLog ? 100 : high, step: isLog ? 0.5 : step, "aria-label": label });
  const value = () => (isLog ? Number((low * (high / low) ** (slider.value / 100)).toPrecision(2)) : Number(Number(slider.value).toFixed(4)));
  const set = (number) => {
    slider.value = isLog ? (100 * Math.log(Math.max(low, number) / low)) / Math.log(high / low) : number;
    slider.setAttribute("aria-valuetext", shown(number));
  };
  return { slider, value, set };
}

function fieldOf(row, id, label = null) {
  const placeholder = row.optional ? EMPTY[row.name] ?? "off" : null;
  return make("input", { id, class: "field", inputmode: "decimal", autocomplete: "off", placeholder, "aria-label": label });
}

/** The makers of what a kind of value is changed with: {elements, fields, set(value)}. */
const makers = {
  number(row, id, tell) {
    const field = fieldOf(row, id);
    const range = sliderOf(row, id, `${row.title}, slider`);
    const read = () => {
      const number = tried(field.value, row);
      if (number.error) return tell(number.error);
      return change(row, number.value);
    };
    field.oninput = read;
    field.onblur = () => { if (!store.wrong[row.name]) field.value = shown(settingValue(row.name)); };
    if (range) range.slider.oninput = () => { field.value = shown(range.value()); range.set(range.value()); change(row, range.value()); };
    return {
      elements: [field, range?.slider], fields: range ? [field, range.slider] : [field],
      set(value) {
        if (document.activeElement !== field || tried(field.value, row).value !== value) field.value = shown(value);
        range?.set(value ?? Number(range.slider.max));
      },
    };
  },

  /** A number, or one for an octave's first step and one for its last; the slider moves both. */
  schedule(row, id, tell) {
    const fields = [fieldOf(row, id, `${row.title} at the start of an octave`), fieldOf(row, `${id}-end`, `${row.title} at the end of an octave`)];
    const range = sliderOf(row, id, `${row.title}, slider`);
    const ends = () => [settingValue(row.name)].flat();
    const joined = (first, last) => (first === last ? first : [first, last]);
    const read = () => {
      const numbers = fields.map((field) => tried(field.value, row, false));
      const error = numbers.find((number) => number.error)?.error;
      return error ? tell(error) : change(row, joined(numbers[0].value, numbers[1].value));
    };
    for (const field of fields) field.oninput = read;
    if (range) {
      range.slider.oninput = () => {
        const [first, last = first] = ends(), next = range.value();
        const end = first ? Number(((last / first) * next).toPrecision(3)) : next;
        change(row, joined(next, end));
      };
    }
    return {
      elements: [make("span", { class: "pair" }, fields[0], make("span", { class: "quiet", "aria-hidden": "true" }, "→"), fields[1]), range?.slider],
      fields: range ? [...fields, range.slider] : fields,
      set(value) {
        const [first, last = first] = [value].flat();
        [first, last].forEach((end, place) => {
          if (document.activeElement !== fields[place] || tried(fields[place].value, row).value !== end) fields[place].value = shown(end);
        });
        range?.set(first);
      },
    };
  },

  choice(row, id) {
    const words = row.optional ? ["", ...row.choices] : row.choices;
    const field = make("select", { id, class: "select", onchange: () => change(row, field.value || null) },
      ...words.map((word) => make("option", { value: word }, word || "off")));
    const set = (value) => {
      const word = value ?? "";
      if (![...field.options].some((option) => option.value === word)) field.append(make("option", { value: word }, word));
      field.value = word;
    };
    return { elements: [field], fields: [field], set };
  },

  flag(row, id) {
    const field = make("input", { id, type: "checkbox", class: "check", onchange: () => change(row, field.checked) });
    return { elements: [field], fields: [field], set: (value) => { field.checked = Boolean(value); } };
  },

  text(row, id) {
    const suggestions = row.choices ? make("datalist", { id: `${id}-list` }, ...row.choices.map((word) => make("option", { value: word }))) : null;
    const field = make("input", { id, class: "field long", autocomplete: "off", spellcheck: "false", placeholder: row.optional ? "off" : null,
      list: suggestions?.id, onchange: () => change(row, field.value.trim() || (row.optional ? null : row.default)) });
    return { elements: [field, suggestions], fields: [field], set: (value) => { if (document.activeElement !== field) field.value = Array.isArray(value) ? value.join("x") : value ?? ""; } };
  },

  list(row, id) {
    const isNumber = (part) => /^\d+$/.test(part);
    const field = make("input", { id, class: "field long", autocomplete: "off", spellcheck: "false", placeholder: "none" });
    field.onchange = () => {
      const parts = field.value.split(";").flatMap((part) => (row.name === "snapshots" ? part.split(",") : [part])).map((part) => part.trim()).filter(Boolean);
      change(row, row.name === "snapshots" ? parts.map((part) => (isNumber(part) ? Number(part) : part)) : parts);
    };
    return { elements: [field], fields: [field], set: (value) => { if (document.activeElement !== field) field.value = (value ?? []).join("; "); } };
  },
};
makers.integer = makers.number;

function updateAll() {
  for (const [name, { update }] of controls) {
    update();
    updateNote(name);
  }
  updateLocks();
  const changed = [...controls.values()].filter(({ row }) => row.place !== "main" && row.name in store.draft.changes).length;
  say(byId("more-summary"), changed ? `${changed} changed` : "");
}

function updateNote(name) {
  const { note, reset, row, fields, element } = controls.get(name);
  const error = store.wrong[name] ?? store.errors[name];
  const later = isActive(currentJob()) && row.changes === "octave" ? "Takes effect at the next octave" : null;
  say(note, error ?? (isLocked(name) ? "For a new dream" : later ?? WORDS[name] ?? (row.place === "main" ? "" : row.text)));
  element.classList.toggle("is-wrong", Boolean(error));
  note.setAttribute("role", error ? "alert" : "note");
  for (const field of fields) if (field.type !== "range") field.setAttribute("aria-invalid", String(Boolean(error)));
  reset.classList.toggle("is-needed", name in store.draft.changes || Boolean(store.wrong[name]));
  reset.disabled = !reset.classList.contains("is-needed") || isLocked(name);
}

/** Where all settings are new, wrong texts go, but for the one that is being written. */
function forgetWrong() {
  for (const name of Object.keys(store.wrong)) {
    if (!controls.get(name).fields.includes(document.activeElement)) delete store.wrong[name];
  }
}

let wasRunning = null; // as the notes say it

function updateLocks() {
  const runs = isActive(currentJob());
  if (runs === wasRunning) return;
  wasRunning = runs;
  for (const [name, { element, fields }] of controls) {
    const locked = isLocked(name);
    element.classList.toggle("is-locked", locked);
    for (const field of fields) field.disabled = locked;
    updateNote(name);
  }
}

function searchMore() {
  const text = byId("more-search").value.trim().toLowerCase();
  for (const group of byId("more-settings").children) {
    let shownCount = 0;
    for (const element of group.querySelectorAll(".control")) {
      const { row } = controls.get(element.dataset.name);
      element.hidden = !`${row.name} ${row.title} ${row.text}`.toLowerCase().includes(text);
      shownCount += !element.hidden;
    }
    group.hidden = !shownCount;
  }
}
