// The LoRAs and embeddings of the library as the page knows them.
import { call } from "./server.js";
import { emit, on } from "./bus.js";

export const shelf = { adapters: [], embeddings: [], loaded: false };

export const find = (sha256) => shelf.adapters.find((entry) => entry.sha256 === sha256) || null;

export async function loadLibrary() {
  const { adapters, embeddings } = await call("library", {}, Infinity);
  Object.assign(shelf, { adapters, embeddings });
  shelf.loaded = true;
  emit("library", shelf.adapters);
}

on("base", loadLibrary);
on("ended", (job) => {
  if (job.state === "done" && (job.kind === "train" || job.kind === "import_adapter")) loadLibrary();
});

// Words by which a search finds an entry.
export function matches(entry, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const text = [entry.name, ...entry.trigger_words, entry.notes].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}
