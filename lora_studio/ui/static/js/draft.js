// What a person has set and typed, kept in the browser at each change: per window first, else the newest of all windows.
import { debounce } from "./dom.js";
import { emit } from "./bus.js";

const KEY = "studio.draft.1";

const EMPTY = {
  tab: "generate", prompt: "", negative: "", stack: [], styles: [], form: {}, seedLocked: false,
  explain: { prompt: false, negative: false }, recalled: null,
  library: { sort: "newest", family: "" },
  train: { step: "pictures", set: null, run: null, form: {}, recipe: "balanced" },
};

function read(storage) {
  try {
    const text = storage().getItem(KEY);
    return text ? JSON.parse(text) : null;
  } catch { return null; }
}

function stored() {
  const found = read(() => sessionStorage) || read(() => localStorage) || {};
  return { ...structuredClone(EMPTY), ...found, train: { ...structuredClone(EMPTY.train), ...(found.train || {}) } };
}

export const draft = stored();

function write() {
  const text = JSON.stringify(draft);
  for (const storage of [() => sessionStorage, () => localStorage]) {
    try { storage().setItem(KEY, text); } catch { /* private windows keep nothing */ }
  }
}

const save = debounce(150, write);

export function keep(changes = {}, what = null) {
  Object.assign(draft, changes);
  save();
  emit("draft", what);
}

window.addEventListener("pagehide", write);
document.addEventListener("visibilitychange", () => { if (document.hidden) write(); });
