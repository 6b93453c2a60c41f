// The easel: the newest picture, or the one that is being made; before the first one, how to begin.
import { button, h, icon, set } from "./dom.js";
import { on } from "./bus.js";
import { world } from "./server.js";
import { book, describe, find, imagesOf, jobOf, settled } from "./cells.js";
import { saveButton, sheet } from "./grid_sheet.js";
import { compare, frame, saveEach } from "./pictures.js";
import * as progress from "./progress.js";
import { act, write } from "./prompt.js";
import { many, sentence, t } from "./text.js";

let looked = null;

// The cell on the easel: the one that was asked for last here, else the newest that is worth looking at.
function current() {
  const wanted = looked && find(looked);
  return wanted || book.cells.find((cell) => !settled(cell)) || book.cells.find((cell) => !cell.sample && imagesOf(cell).length) || null;
}

export function stage(panel) {
  const board = h("section.stage", { "aria-label": t("stage.label") });
  panel.append(board);
  let drawn = "";
  const draw = () => {
    set(board, { "aria-label": t("stage.label") });
    const cell = current();
    const images = cell ? imagesOf(cell) : [];
    const key = JSON.stringify([cell && [cell.id, cell.state, cell.error, Boolean(cell.grid), images.map((image) => image.sha256)], !cell && book.loaded, document.documentElement.lang]);
    if (key !== drawn) {
      drawn = key;
      board.replaceChildren(...(cell ? easel(cell, images) : welcome()));
    }
    live(board, cell);
  };
  on("asking", ({ cell }) => { looked = cell; });
  on("look", (id) => { looked = id; draw(); });
  for (const name of ["cells", "job", "language", "hello"]) on(name, draw);
  draw();
}

function easel(cell, images) {
  const alt = describe(cell);
  const running = !settled(cell);
  const parts = [];
  if (cell.grid && (images.length || running)) parts.push(sheet(cell, images));
  else if (cell.kind === "compare" && images.length >= 2) parts.push(...comparison(cell, images, alt));
  else if (images.length) {
    parts.push(h(`div.canvas${images.length > 1 ? ".many" : ""}`, {}, images.map((image) => frame(image, alt, cell.request))));
  } else if (running) parts.push(h("div.canvas", {}, h("div.frame.blank", {}, h("img.glimpse", { alt: t("stage.glimpse"), hidden: true }))));
  if (running) parts.push(progress.bar(t("stage.progress")).element);
  if (cell.state === "failed") parts.push(h("div.canvas", {}, h("div.frame.blank", {}, h("div.failed", {}, icon("warn"), h("p", { role: "alert" }, sentence(cell.error || {}))))));
  if (cell.state === "stopped") parts.push(h("p.hint", {}, t("cell.stopped")));
  if (settled(cell) && images.length) parts.push(caption(cell, images));
  if (!parts.length) parts.push(h("div.canvas", {}, h("div.frame.blank", {}, h("p.hint", {}, t("cell.nothing")))));
  return parts;
}

// A comparison's pictures come with the LoRAs first, then without; one slider per seed.
function comparison(cell, images, alt) {
  const half = Math.floor(images.length / 2);
  return [h("div.canvas", {}, images.slice(0, half).map((image, index) => compare(images[half + index], image, alt)))];
}

function caption(cell, images) {
  const [first] = images;
  const seconds = cell.seconds ? ` · ${t("stage.took", { s: new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 }).format(cell.seconds) })}` : "";
  return h("div.caption", {},
    h("p.hint", {}, `${images.every(({ seed }) => seed === first.seed) ? `${t("field.seed")} ${first.seed}` : many("stage.pictures", images.length)}${seconds}`),
    cell.grid ? saveButton(cell, images) : null,
    button("quiet.small", { sign: "download", text: t("download"), onclick: () => saveEach(cell, images) }));
}

// What changes many times a second: the glimpse and the bar.
function live(board, cell) {
  if (!cell || settled(cell)) return;
  const job = jobOf(cell);
  const element = board.querySelector(".progress");
  if (element) progress.draw({ track: element.firstElementChild, fill: element.querySelector(".fill"), words: element.lastElementChild }, job);
  const glimpse = board.querySelector(".glimpse");
  if (glimpse && job && job.glimpse) { set(glimpse, { src: job.glimpse, hidden: false }); }
}

// ------------------------------------------------------------ before the first picture
function welcome() {
  if (!book.loaded) return [h("div.canvas", {}, h("div.frame.blank", {}))];
  const base = (world.hello || {}).base;
  const prompts = base && base.defaults.preview_prompts.length ? base.defaults.preview_prompts.slice(0, 3) : [t("welcome.sample")];
  return [h("div.welcome", {},
    h("h2", {}, t("welcome.title")),
    h("ol.steps", {}, ["write", "slide", "press"].map((step) => h("li", {}, h("b", {}, t(`welcome.${step}`)), h("span", {}, t(`welcome.${step}_how`))))),
    h("p.hint", {}, t("welcome.try")),
    h("div.prompts", {}, prompts.map((prompt) => h("button.sample", {
      type: "button", onclick: () => { write("prompt", prompt); act("generate"); },
    }, prompt))))];
}
