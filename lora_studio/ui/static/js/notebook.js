// The notebook: each result is a cell with its recipe, its pictures and what can be done with them.
import { Autosave } from "./autosave.js";
import { button, h, icon, reconcile, set } from "./dom.js";
import { emit, on } from "./bus.js";
import { world } from "./server.js";
import { axisName } from "./grid_sheet.js";
import { said } from "./stack_places.js";
import { again, book, describe, edit, find, imagesOf, jobOf, note, remove, settled, stop } from "./cells.js";
import { compare, frame, saveEach } from "./pictures.js";
import * as progress from "./progress.js";
import { complain } from "./toast.js";
import { many, number, sentence, t } from "./text.js";

const SHOWN = 9; // pictures of a cell; the easel shows all
const SHOWN_OF_GRID = 3; // they say little without the values at their edges

export function notebook(panel) {
  const title = h("h2", {});
  const count = h("p.hint", {});
  const honest = h("div.honest", {});
  const list = h("div.cells", {});
  const empty = h("p.hint.nothing", {});
  panel.append(h("section.notebook", {}, h("header", {}, title, count), list, empty, honest));

  const drawWords = () => {
    set(title, { text: t("notebook.title") });
    honest.replaceChildren(...aboutBase());
    for (const element of list.children) element.drawn = "";
    draw();
  };
  const draw = () => {
    const total = book.cells.length;
    set(count, { text: total ? many("notebook.count", total) : "" });
    set(empty, { text: t("notebook.empty"), hidden: total > 0 || !book.loaded });
    reconcile(list, book.cells, { key: (cell) => cell.id, make: makeCell, update: updateCell });
    [...list.children].forEach((element, index) => set(element.querySelector(".number"), { text: String(total - index) }));
  };
  on("cells", draw);
  on("job", (job) => {
    const cell = book.cells.find((one) => one.job === job.id);
    const element = cell && [...list.children].find((one) => one.dataset.key === cell.id);
    if (element) updateCell(element, cell);
  });
  for (const name of ["language", "hello"]) on(name, drawWords);
  drawWords();
}

// The sentence that this base is small, what it can learn from, and what to use for real work.
function aboutBase() {
  const base = (world.hello || {}).base;
  if (!base || !base.small) return [];
  return [icon("layers"), h("div", {}, h("h3", {}, t("small.title")), h("p", {}, t("small.what")), h("p", {}, t("small.real")))];
}

function makeCell() {
  const element = h("article.cell", { tabIndex: -1 },
    h("span.number", { "aria-hidden": "true" }), h("div.sight", {}),
    h("div.recipe", {}, h("p.prompt", {}), h("p.negative", {}), h("div.marks", {}), h("div.remarks", {}), h("div.noteplace", {})),
    h("div.verbs", {}));
  element.drawn = "";
  return element;
}

function updateCell(element, cell) {
  const images = imagesOf(cell);
  const key = JSON.stringify([cell.state, images.map((image) => image.sha256), cell.missing, cell.base_changed, cell.error, cell.request.prompt, cell.kind, Boolean(cell.grid)]);
  const [, sight, recipe, verbs] = element.children;
  if (element.drawn !== key) {
    element.drawn = key;
    element.dataset.state = cell.state;
    if (cell.sample) element.dataset.sample = "";
    set(element, { "aria-label": t("cell.label", { what: cell.request.prompt }) });
    drawSight(sight, cell, images);
    drawRecipe(recipe, cell);
    drawVerbs(verbs, cell, images);
  }
  drawNote(recipe.querySelector(".noteplace"), cell);
  const bar = sight.querySelector(".progress");
  const job = jobOf(cell);
  if (bar) progress.draw({ track: bar.firstElementChild, fill: bar.querySelector(".fill"), words: bar.lastElementChild }, job);
  const glimpse = sight.querySelector(".glimpse");
  if (glimpse && job && job.glimpse) set(glimpse, { src: job.glimpse, hidden: false });
}

function drawSight(sight, cell, images) {
  const alt = describe(cell);
  const half = Math.floor(images.length / 2);
  const running = !settled(cell);
  const shown = cell.kind === "grid" ? SHOWN_OF_GRID : SHOWN;
  const pictures = cell.kind === "compare" && images.length >= 2
    ? images.slice(0, half).map((image, index) => compare(images[half + index], image, alt))
    : images.slice(0, shown).map((image) => frame(image, alt, cell.request));
  if (cell.kind !== "compare" && images.length > shown) pictures.push(more(cell, images.length - shown));
  if (!pictures.length) pictures.push(h("div.frame.blank", {}, running ? h("img.glimpse", { alt: t("stage.glimpse"), hidden: true }) : icon(cell.state === "failed" ? "warn" : "picture")));
  if (running) pictures.push(progress.bar(t("stage.progress")).element);
  sight.classList.toggle("many", images.length > 1 && cell.kind !== "compare");
  sight.replaceChildren(...pictures);
}

// A tile that shows all pictures of a cell on the easel.
function more(cell, n) {
  const show = () => {
    emit("look", cell.id);
    document.querySelector(".stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
  return h("button.more-pictures", { type: "button", "aria-label": many("cell.more", n), title: many("cell.more", n), onclick: show }, `+${number(n)}`);
}

function drawRecipe(recipe, cell) {
  const { request } = cell;
  const [prompt, negative, marks, remarks] = recipe.children;
  set(prompt, { text: request.prompt });
  set(negative, { text: request.negative_prompt ? t("cell.without", { words: request.negative_prompt }) : "", hidden: !request.negative_prompt });
  const sampler = ((world.hello || {}).samplers || {})[request.sampler] || request.sampler;
  const facts = [
    ...(cell.grid ? [gridFact(cell)] : []),
    `${t("field.seed")} ${request.seed}`, `${request.width} × ${request.height}`, t("cell.steps", { n: request.num_inference_steps }),
    `${t("cell.guidance")} ${request.guidance_scale}`, sampler,
  ];
  marks.replaceChildren(
    ...(request.adapters || []).map((used) => loraMark(used, request.num_inference_steps)),
    ...facts.map((fact) => h("span.mark", {}, fact)));
  remarks.replaceChildren(...remarksOf(cell).map(([kind, text]) => h(`p.remark.${kind}`, {}, icon(kind === "bad" ? "warn" : "layers"), h("span", {}, text))));
}

// "Grid 6 × 3: Weight of Cat ears, Seed".
function gridFact({ grid: { x, y }, request }) {
  const size = [x, y].filter(Boolean).map(({ values: { length } }) => number(length)).join(" × ");
  return t("grid.fact", { size, axes: [x, y].filter(Boolean).map((axis) => axisName(axis, request)).join(", ") });
}

// "Cat ears 0.80", and where it acts if that is not everywhere.
function loraMark({ name, weight, text_encoder_weight: te, ...at }, steps) {
  const where = said({ te: te ?? undefined, at }, Number(steps));
  return h("span.mark.lora", {}, h("span", {}, name), h("b", {}, number(Number(weight), 2)), where ? h("small", {}, where) : null);
}

function remarksOf(cell) {
  const found = [];
  if (cell.sample) found.push(["info", t("cell.sample")]);
  if (cell.state === "failed") found.push(["bad", sentence(cell.error || {})]);
  if (cell.state === "stopped") found.push(["info", t("cell.stopped")]);
  if (cell.state === "lost") found.push(["info", t("cell.lost")]);
  for (const name of cell.missing || []) found.push(["info", t("cell.adapter_gone", { name })]);
  if (cell.base_changed) found.push(["info", t("cell.base_changed")]);
  const job = world.jobs[cell.job];
  for (const warning of (job && job.warnings) || []) found.push(["info", sentence(warning)]);
  return found;
}

function drawVerbs(verbs, cell, images) {
  if (!settled(cell)) {
    verbs.replaceChildren(button("quiet.small", { sign: "stop", text: t("generate.stop"), onclick: () => stop(cell) }));
    return;
  }
  const saveAll = () => saveEach(cell, images);
  // Seeds that a grid names are its own: another one would change nothing.
  const ownSeeds = cell.grid && [cell.grid.x, cell.grid.y].some((axis) => axis && axis.what === "seed");
  verbs.replaceChildren(
    button("quiet.small", { sign: "again", text: t("cell.again"), onclick: () => again(cell, false) }),
    ownSeeds ? "" : button("quiet.small", { sign: "shuffle", text: t("cell.new_seed"), onclick: () => again(cell, true) }),
    button("quiet.small", { sign: "edit", text: t("cell.edit"), onclick: () => edit(cell) }),
    button("quiet.small", { sign: "note", text: t("cell.note"), onclick: (event) => openNote(event.currentTarget.closest(".cell"), cell) }),
    images.length ? button("quiet.small", { sign: "download", text: t("download"), onclick: saveAll }) : "",
    button("quiet.small.far", { sign: "trash", text: t("delete"), onclick: () => remove(cell) }));
}

// ------------------------------------------------------------ notes, saved while they are typed
function openNote(element, cell) {
  const place = element.querySelector(".noteplace");
  if (!place.firstElementChild) place.append(...noteField(place, find(cell.id) || cell));
  place.firstElementChild.focus();
}

// The cell is known by its id alone: its object is another one after each answer of the server.
function noteField(place, { id, note: text }) {
  const field = h("textarea.field.note", { rows: 2, value: text, "aria-label": t("cell.note_label") });
  const state = h("p.hint.notestate", { role: "status" });
  field.saving = new Autosave(text, {
    wait: 500,
    read: () => field.value,
    send: (typed) => note(id, typed),
    told: (how, error) => {
      set(state, { text: t(`save.${how}`) });
      if (error) complain(error);
    },
  });
  field.addEventListener("input", () => field.saving.typed());
  field.addEventListener("blur", async () => {
    await field.saving.now();
    if (!field.value.trim() && !field.saving.dirty && field !== document.activeElement) place.replaceChildren();
  });
  return [field, state];
}

function drawNote(place, cell) {
  const field = place.firstElementChild;
  if (!field) { if (cell.note) place.append(...noteField(place, cell)); return; }
  if (field === document.activeElement || field.saving.dirty || find(cell.id) !== cell) return;
  if (field.value === cell.note) return;
  field.value = cell.note;
  field.saving.seen(cell.note);
}
