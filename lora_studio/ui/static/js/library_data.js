// The LoRAs and embeddings of the library as the page knows them: asked for anew when the server says that they changed.
import { call, world } from "./server.js";
import { emit, on } from "./bus.js";
import { attempt } from "./toast.js";

export const shelf = {
  adapters: [], embeddings: [], folders: [], hidden: 0, stamp: 0, download: { hub: false, hosts: [] }, loaded: false,
};

const BUSY = 3000; // ms between two lists while new files are being read

let found = new Map();
let asked = 0;

export const find = (sha256) => found.get(sha256) || null;

let under = null; // the list that is being asked for
let behind = null; // one more behind it

// What has changed since a list was asked for is not in it: then one more is asked for behind it, for all who want it.
export function loadLibrary() {
  if (!under) {
    under = ask().finally(() => { under = null; });
    return under;
  }
  behind = behind || under.catch(() => {}).then(() => { behind = null; return loadLibrary(); });
  return behind;
}

async function ask() {
  asked = Date.now();
  Object.assign(shelf, await call("library", {}, Infinity));
  found = new Map(shelf.adapters.map((entry) => [entry.sha256, entry]));
  shelf.loaded = true;
  emit("library", shelf.adapters);
}

on("base", () => attempt(loadLibrary));
on("ended", (job) => { if (job.state === "done" && job.kind === "train") attempt(loadLibrary); });
on("info", async ({ library }) => {
  if (!library || !shelf.loaded || under || library.stamp <= shelf.stamp) return;
  if (library.todo && Date.now() - asked < BUSY) return;
  try { await loadLibrary(); } catch (error) { if (!error.code) throw error; } // asked again at the next poll
});

const searched = new WeakMap();

// Everything by which a search finds an entry, put together once.
function textOf(entry) {
  if (!searched.has(entry)) {
    const parts = [entry.name, ...entry.trigger_words, entry.notes, entry.stem, entry.title, entry.made_for, ...(entry.places || []), entry.sha256];
    searched.set(entry, parts.join(" ").toLowerCase());
  }
  return searched.get(entry);
}

export function matches(entry, query) {
  const text = textOf(entry);
  return query.toLowerCase().split(/\s+/).filter(Boolean).every((word) => text.includes(word));
}

const SORTS = {
  newest: (a, b) => Number(a.sample) - Number(b.sample) || b.created - a.created,
  name: (a, b) => a.name.localeCompare(b.name),
  stars: (a, b) => b.stars - a.stars || a.name.localeCompare(b.name),
  used: (a, b) => (b.used || 0) - (a.used || 0) || b.created - a.created,
};
export const sorts = Object.keys(SORTS);

export const sorted = (entries, sort) => [...entries].sort(SORTS[sort] || SORTS.newest);

// Why a LoRA cannot be used on the loaded base, in words by key and values; null where it can.
export function hindrance(entry) {
  if (entry.missing) return { key: "library.missing", values: {} };
  const base = (world.hello || {}).base;
  if (entry.misfit === "family") return { key: "library.misfit", values: { made_for: entry.made_for, base: base ? base.title : "" } };
  return null;
}
