// The sets of pictures: the list, and the one that is open.
import { hold } from "./autosave.js";
import { emit } from "./bus.js";
import { draft, keep } from "./draft.js";
import { Problem, call, upload } from "./server.js";
import { complain } from "./toast.js";

export const sets = { list: [], current: null, loaded: false };

export async function loadSets() {
  sets.list = (await call("sets", {}, Infinity)).sets;
  sets.loaded = true;
  emit("sets");
}

export async function loadSet(id) {
  try {
    show((await call("view_set", { set: id }, Infinity)).set);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    show(null);
  }
}

// A set is gone: nothing asks for its pictures any more.
export function forget(id) {
  sets.list = sets.list.filter((entry) => entry.id !== id);
  if (sets.current && sets.current.id === id) show(null);
}

// Makes a set the open one, with its newest content.
export function show(found) {
  sets.current = found;
  draft.train.set = found ? found.id : null;
  keep();
  emit("set");
}

export async function create(name) {
  const made = (await call("new_set", { name })).set;
  show(made);
  return made;
}

// Pictures first, so that captions find the pictures they belong to; of two captions of one name .txt counts.
const rank = ({ name }) => [/\.txt$/i, /\.caption$/i].findIndex((ending) => ending.test(name));

// Sends files ([{ file, name }]) one by one.
export async function send(files, progress) {
  const id = sets.current.id;
  const sorted = [...files].sort((a, b) => rank(a) - rank(b));
  for (const [index, { file, name }] of sorted.entries()) {
    progress(index, sorted.length);
    try {
      const { set } = await hold(upload("picture", file, { set: id, name }));
      if (sets.current && sets.current.id === id) show(set);
    } catch (error) { complain(error); }
  }
  progress(sorted.length, sorted.length);
}
