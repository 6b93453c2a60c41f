// The cells of the notebook as the page knows them, and what can be done with one.
import { emit, on } from "./bus.js";
import { keep } from "./draft.js";
import { call, ended, hurry, watch, world } from "./server.js";
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

// An answer tells how things stood when it was asked for. What happened here since then is newer: kept by the number of
// the last question before it.
let questions = 0;
const noted = new Map(); // by cell: its note was saved
const gone = new Map(); // by cell: it was deleted
const unwanted = new Set(); // cells that are to be stopped as soon as the server knows of them

export async function refresh() {
  const question = questions += 1;
  const { cells } = await call("cells", {}, Infinity);
  if (question !== questions) return; // somebody has asked again meanwhile
  const told = new Set(cells.map(({ id }) => id));
  const newer = book.cells.filter((cell) => !told.has(cell.id) && (cell.asked || cell.since >= question));
  for (const cell of cells) if (noted.get(cell.id) >= question && find(cell.id)) cell.note = find(cell.id).note;
  book.cells = [...newer, ...cells.filter(({ id }) => !(gone.get(id) >= question))];
  book.loaded = true;
  for (const cell of cells) if (!settled(cell) && cell.job) watch(cell.job);
  emit("cells");
}

// A cell stands there from the moment of the click; the server's own takes its place.
on("asking", ({ cell, job, form, compare, grid }) => {
  const request = { ...form, num_images: Number(form.num_images), width: Number(form.width), height: Number(form.height) };
  place({
    id: cell, job, kind: grid ? "grid" : compare ? "compare" : "picture", grid: null, state: "queued", request, images: [], note: "", created: Date.now() / 1000,
    missing: [], base_changed: false, error: null, sample: false, asked: true,
  });
});
on("refused", ({ cell }) => {
  unwanted.delete(cell);
  book.cells = book.cells.filter(({ id }) => id !== cell);
  emit("cells");
});
on("cell", (cell) => { place(cell); if (unwanted.delete(cell.id)) stop(cell); });
on("ended", (job) => { if (job.kind === "generate") attempt(refresh); });
on("gone", () => attempt(refresh));
for (const name of ["base", "library", "ready"]) on(name, () => { if (book.loaded || name === "ready") attempt(refresh); });
on("online", (now) => { if (now && book.loaded) attempt(refresh); });
on("stop", stopOldest);

function place(cell) {
  cell.since = questions;
  const index = book.cells.findIndex(({ id }) => id === cell.id);
  if (index < 0) book.cells.unshift(cell);
  else book.cells[index] = cell;
  if (!settled(cell) && !cell.asked) watch(cell.job);
  emit("cells");
}

export function jobOf(cell) {
  if (settled(cell)) return null;
  return unwanted.has(cell.id) ? { state: "stopping" } : world.jobs[cell.job] || null;
}

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

// Saves a note.
export async function note(id, text) {
  await call("note", { cell: id, note: text }, Infinity);
  noted.set(id, questions);
  const cell = find(id);
  if (cell) cell.note = text;
}

export async function remove(cell) {
  const index = book.cells.findIndex(({ id }) => id === cell.id);
  gone.set(cell.id, Infinity);
  book.cells = book.cells.filter(({ id }) => id !== cell.id);
  emit("cells");
  try {
    await call("delete_cell", { cell: cell.id });
    gone.set(cell.id, questions);
    offerUndo(t("cell.deleted"), () => attempt(async () => {
      await call("restore_cell", { cell: cell.id });
      gone.delete(cell.id);
      await refresh();
    }));
  } catch (error) {
    gone.delete(cell.id);
    if (!find(cell.id)) book.cells.splice(index, 0, cell); // at its place among those that came meanwhile
    emit("cells");
    complain(error);
  }
}

// Stops a cell's job; one that the server has not heard of yet as soon as it has.
export async function stop({ id, job }) {
  const cell = find(id);
  if (cell && cell.asked) { unwanted.add(id); emit("cells"); return; }
  await attempt(async () => { await call("stop", { job }); hurry(); });
}

// The jobs that make pictures of this person, with their cells where these are here; the oldest first.
export function underway() {
  const cells = book.cells.filter((cell) => !settled(cell) && !unwanted.has(cell.id)).reverse();
  const known = new Set(book.cells.map(({ job }) => job));
  const others = Object.values(world.jobs).filter((job) => job.kind === "generate" && !ended(job) && !known.has(job.id));
  return [...others.map(({ id }) => ({ id, job: id })), ...cells];
}

function stopOldest() {
  const waiting = underway();
  const running = waiting.find(({ job }) => (world.jobs[job] || {}).state === "running") || waiting[0];
  if (running) stop(running);
}

// "cat ears, smile · Cat ears 0.80 · seed 42" in words, for alternative texts.
export function describe(cell) {
  const adapters = (cell.request.adapters || []).map(({ name, weight }) => `${name} ${weight}`).join(", ");
  return adapters ? `${cell.request.prompt} (${adapters})` : cell.request.prompt;
}
