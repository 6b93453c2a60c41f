// The cells of the notebook as the page knows them, and what can be done with one.
import { emit, on } from "./bus.js";
import { keep } from "./draft.js";
import { call, hurry, watch, world } from "./server.js";
import { replaceStack } from "./stack.js";
import { take } from "./settings.js";
import { attempt, complain, offerUndo } from "./toast.js";
import { write } from "./prompt.js";
import { uid } from "./dom.js";
import { t } from "./text.js";

export const book = { cells: [], loaded: false };

const DONE = ["done", "stopped", "failed", "lost"];
export const settled = (cell) => DONE.includes(cell.state);
export const find = (id) => book.cells.find((cell) => cell.id === id) || null;

export async function refresh() {
  const { cells } = await call("cells", {}, Infinity);
  const waiting = book.cells.filter((cell) => cell.asked && !cells.some(({ id }) => id === cell.id));
  book.cells = [...waiting, ...cells];
  book.loaded = true;
  for (const cell of cells) if (!settled(cell) && cell.job) watch(cell.job);
  emit("cells");
}

// A cell stands there from the moment of the click; the server's own takes its place.
on("asking", ({ cell, job, form, compare }) => {
  const request = { ...form, num_images: Number(form.num_images), width: Number(form.width), height: Number(form.height) };
  place({
    id: cell, job, kind: compare ? "compare" : "picture", state: "queued", request, images: [], note: "", created: Date.now() / 1000,
    missing: [], base_changed: false, error: null, sample: false, asked: true,
  });
});
on("refused", ({ cell }) => { book.cells = book.cells.filter(({ id }) => id !== cell); emit("cells"); });
on("cell", place);
on("ended", (job) => { if (job.kind === "generate") attempt(refresh); });
on("gone", () => attempt(refresh));
for (const name of ["base", "library", "ready"]) on(name, () => { if (book.loaded || name === "ready") attempt(refresh); });
on("online", (now) => { if (now && book.loaded) attempt(refresh); });

function place(cell) {
  const index = book.cells.findIndex(({ id }) => id === cell.id);
  if (index < 0) book.cells.unshift(cell);
  else book.cells[index] = cell;
  if (!settled(cell) && !cell.asked) watch(cell.job);
  emit("cells");
}

export const jobOf = (cell) => (settled(cell) ? null : world.jobs[cell.job] || null);

// The pictures of a cell so far, those of its running job included.
export function imagesOf(cell) {
  if (cell.images.length) return cell.images;
  const job = world.jobs[cell.job];
  return job ? job.pictures.map((picture) => ({ width: cell.request.width, height: cell.request.height, ...picture })) : [];
}

export async function again(cell, newSeed) {
  const asked = { source: cell.id, cell: uid(), job: uid() };
  if (newSeed) asked.seed = crypto.getRandomValues(new Uint32Array(1))[0];
  const made = await attempt(() => call("again", asked));
  if (made) { place(made.cell); hurry(); emit("look", made.cell.id); }
}

// Puts a cell's recipe back into the form.
export function edit(cell) {
  const request = cell.request;
  write("prompt", request.prompt);
  write("negative", request.negative_prompt || "");
  replaceStack(request.adapters || []);
  take(request);
  keep({ styles: request.styles || [] }, "styles");
  const field = document.querySelector("#prompt textarea");
  if (field) { field.scrollIntoView({ block: "center", behavior: "smooth" }); field.focus({ preventScroll: true }); }
}

export async function remove(cell) {
  const before = book.cells;
  book.cells = before.filter(({ id }) => id !== cell.id);
  emit("cells");
  try {
    await call("delete_cell", { cell: cell.id });
    offerUndo(t("cell.deleted"), () => attempt(async () => { await call("restore_cell", { cell: cell.id }); await refresh(); }));
  } catch (error) { book.cells = before; emit("cells"); complain(error); }
}

export const stop = (cell) => attempt(async () => { await call("stop", { job: cell.job }); hurry(); });

// "cat ears, smile · Cat ears 0.80 · seed 42" in words, for alternative texts.
export function describe(cell) {
  const adapters = (cell.request.adapters || []).map(({ name, weight }) => `${name} ${weight}`).join(", ");
  return adapters ? `${cell.request.prompt} (${adapters})` : cell.request.prompt;
}

