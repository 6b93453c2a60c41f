// A grid as it is shown: a table with the values at its edges; and as one picture to be saved.
import { button, h } from "./dom.js";
import { fileName, frame, pictureUrl } from "./pictures.js";
import { complain } from "./toast.js";
import { number, t } from "./text.js";

const EDGE = 28; // pixels of a label's row in the saved picture
const SIDE = 150; // and of the labels at its left
const MOST = 16_000; // pixels that a side of it may have; browsers draw no larger ones

// What an axis varies, in words.
export function axisName({ what, adapter }, request) {
  const used = (request.adapters || []).find(({ sha256 }) => sha256 === adapter);
  return adapter ? t(`grid.of.${what}`, { name: used ? used.name : adapter.slice(0, 10) }) : t(`field.${what}`);
}

const value = (axis, index) => (axis.what === "seed" ? String(axis.values[index]) : number(axis.values[index], 6));
const named = (axis, index, request) => `${axisName(axis, request)} ${value(axis, index)}`;

export function sheet(cell, images) {
  const { x, y } = cell.grid;
  const rows = y ? y.values.length : 1;
  const head = h("tr", {}, y ? h("td", {}) : null, x.values.map((_, column) => h("th", { scope: "col" }, value(x, column))));
  const body = Array.from({ length: rows }, (_, row) => h("tr", {},
    y ? h("th", { scope: "row" }, value(y, row)) : null,
    x.values.map((__, column) => {
      const image = images[row * x.values.length + column];
      const alt = [named(x, column, cell.request), y ? named(y, row, cell.request) : null].filter(Boolean).join(", ");
      return h("td", {}, image ? frame(image, alt, cell.request, alt) : h("div.frame.blank", { role: "img", "aria-label": alt }));
    })));
  const names = [h("span", {}, `→ ${axisName(x, cell.request)}`), y ? h("span", {}, `↓ ${axisName(y, cell.request)}`) : null];
  return h("section.gridsheet", {}, h("p.hint.axes", {}, names),
    h("div.scroll", { tabIndex: 0, role: "region", "aria-label": t("grid.label") }, h("table", {}, h("thead", {}, head), h("tbody", {}, body))));
}

export function saveButton(cell, images) {
  return button("quiet.small", { sign: "grid", text: t("grid.save"), onclick: async (event) => {
    const { currentTarget } = event;
    currentTarget.disabled = true;
    try { await saveSheet(cell, images); } catch { complain({ code: "grid_save", message: t("grid.save_failed"), values: {} }); }
    currentTarget.disabled = false;
  } });
}

async function saveSheet(cell, images) {
  const { x, y } = cell.grid;
  const pictures = await Promise.all(images.map(({ sha256 }) => load(pictureUrl(sha256))));
  const columns = x.values.length;
  const rows = Math.ceil(pictures.length / columns);
  const left = y ? SIDE : 0;
  const width = Math.max(...pictures.map((picture) => picture.naturalWidth));
  const height = Math.max(...pictures.map((picture) => picture.naturalHeight));
  const fit = Math.min(1, (MOST - left) / (columns * width), (MOST - 2 * EDGE) / (rows * height));
  const [wide, high] = [Math.floor(width * fit), Math.floor(height * fit)];
  const canvas = h("canvas", { width: left + columns * wide, height: 2 * EDGE + rows * high });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#000";
  pen.textBaseline = "middle";
  pen.font = "14px sans-serif";
  const title = [axisName(x, cell.request), y ? axisName(y, cell.request) : null].filter(Boolean).join(" × ");
  pen.fillText(title, 8, EDGE / 2, canvas.width - 16);
  pen.textAlign = "center";
  for (let column = 0; column < columns; column += 1) pen.fillText(value(x, column), left + (column + 0.5) * wide, 1.5 * EDGE, wide - 4);
  for (let row = 0; y && row < rows; row += 1) pen.fillText(value(y, row), left / 2, 2 * EDGE + (row + 0.5) * high, left - 8);
  pictures.forEach((picture, index) => {
    pen.drawImage(picture, left + (index % columns) * wide, 2 * EDGE + Math.floor(index / columns) * high, wide, high);
  });
  const blob = await new Promise((done, fail) => { canvas.toBlob((made) => (made ? done(made) : fail(new Error("too large"))), "image/png"); });
  const link = h("a", { href: URL.createObjectURL(blob), download: `${fileName(cell.request.prompt, "grid")}.png` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function load(url) {
  return new Promise((done, fail) => {
    const picture = new Image();
    picture.onload = () => done(picture);
    picture.onerror = fail;
    picture.src = url;
  });
}
