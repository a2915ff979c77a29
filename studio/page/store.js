// What the page knows: the catalogue, the dreams, the one that is shown, and the draft of the next one.

export const ENDED = new Set(["finished", "stopped", "diverged", "failed"]);
export const GROWTH = ["layer_weights", "channels", "classes"]; // what is dreamed; these three belong together

export const store = {
  catalogue: null,
  jobs: new Map(), // id -> job, newest first
  current: null, // the id of the dream that is shown
  draft: { picture: null, look: null, bundle: null, changes: {}, mask: null, guide: null, branchOf: null, fromResult: false },
  errors: {}, // setting -> line, from the server
  wrong: {}, // setting -> what is wrong with the text in its field, which is not sent
};

const listeners = new Map();

export function on(names, listener) {
  for (const name of names.split(" ")) listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}

export function emit(name, detail) {
  for (const listener of listeners.get(name) ?? []) listener(detail);
}

// The store hears of a dream first, so that all other listeners find it there.
on("job", (job) => store.jobs.set(job.id, { ...store.jobs.get(job.id), ...job }));
on("removed", (id) => {
  store.jobs.delete(id);
  const { draft } = store;
  if (draft.branchOf !== id) return;
  draft.branchOf = null;
  if (draft.fromResult) Object.assign(draft, { picture: null, fromResult: false });
  else draft.picture = { ...draft.picture, picture: `/api/pictures/${draft.picture.id}.jpg` };
  emit("picture");
});

/** Takes the answer of a request about a dream, unless live news of it came meanwhile: they are newer, or will be soon. */
export async function hear(id, ask) {
  const before = store.jobs.get(id);
  const job = await ask();
  if (store.jobs.get(id) === before) emit("job", job);
  return job;
}

export const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
export const currentJob = () => store.jobs.get(store.current) ?? null;
export const isActive = (job) => Boolean(job) && !ENDED.has(job.state);
export const findLook = (name) => store.catalogue.looks.find((look) => look.name === name);
export const findBundle = (name) => store.catalogue.bundles.find((bundle) => bundle.name === name);
export const findSetting = (name) => store.catalogue.settings.find((setting) => setting.name === name);

/** A value as the page keeps it: a limit that is off may come as 0, and is null here. */
function plainValue(name, value) {
  const row = findSetting(name);
  return value === 0 && row?.optional && row.min > 0 ? null : value;
}

/** The value of a setting in the look that the draft starts from. */
export function lookValue(name) {
  const value = findLook(store.draft.look)?.settings[name];
  return plainValue(name, value === undefined ? findSetting(name)?.default ?? null : value);
}

/** The value of a setting in the draft. */
export function settingValue(name) {
  const { changes } = store.draft;
  return name in changes ? changes[name] : lookValue(name);
}

/** Changes settings of the draft; those that equal the look's are left out. */
export function changeSettings(values, isMine = true) {
  for (const [name, value] of Object.entries(values)) {
    if (same(value, lookValue(name))) delete store.draft.changes[name];
    else store.draft.changes[name] = value;
    delete store.errors[name];
  }
  emit("draft", { names: Object.keys(values), isMine });
}

/** Chooses a look, whose settings replace all of the draft's but a size that was chosen. */
export function chooseLook(name) {
  const { max_size: size } = store.draft.changes;
  Object.assign(store.draft, { look: name, bundle: findLook(name).bundle, changes: {} });
  if (size !== undefined && !same(size, lookValue("max_size"))) store.draft.changes.max_size = size;
  store.errors = {};
  emit("draft", { names: null, isMine: true });
}

/** Makes the draft what a dream was made with, its picture included unless `keepsPicture`. */
export function adopt(job, { keepsPicture = false, isMine = false } = {}) {
  const { draft } = store;
  const look = findLook(job.look) ?? findLook(store.catalogue.default_look);
  const changes = {};
  const known = [...GROWTH, ...store.catalogue.settings.map((setting) => setting.name)];
  for (const [name, given] of Object.entries({ ...job.settings, ...job.pending })) {
    const usual = look.settings[name] === undefined ? findSetting(name)?.default : look.settings[name];
    const value = plainValue(name, given);
    if (known.includes(name) && !same(value, plainValue(name, usual))) changes[name] = value;
  }
  const hasChanged = look.name !== draft.look || draft.bundle !== job.bundle || !same(changes, draft.changes);
  Object.assign(draft, { look: look.name, bundle: job.bundle, changes });
  if (!keepsPicture && (draft.branchOf !== job.id || draft.fromResult)) {
    Object.assign(draft, { picture: pictureOf(job), mask: job.mask, guide: job.guide, branchOf: job.id, fromResult: false });
    emit("picture");
  }
  if (hasChanged) emit("draft", { names: null, isMine });
}

/** The picture of a dream; what is known of it already is kept. */
function pictureOf(job) {
  const { picture } = store.draft;
  const known = picture?.id === job.picture && !store.draft.fromResult ? picture : { name: job.name, width: null, height: null };
  return { ...known, id: job.picture, picture: job.original };
}

/** Shows a dream, or with null the draft. */
export function show(id) {
  store.current = id;
  history.replaceState(null, "", id ? `#${id}` : location.pathname + location.search);
  const job = currentJob();
  if (job) adopt(job);
  emit("current");
}
