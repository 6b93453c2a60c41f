// The LoRA stack: a mixer. Each row has a toggle, a slider, a number, solo and remove; under its name opens where it acts.
import { button, h, icon, reconcile, set } from "./dom.js";
import { emit, on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { openGrid } from "./grid.js";
import { find, hindrance, matches, shelf, sorted } from "./library_data.js";
import { open } from "./dialog.js";
import { isSide, KINDS, take } from "./lora_files.js";
import { isPicture, thumbUrl } from "./pictures.js";
import { placesOf, placesPanel, said } from "./stack_places.js";
import { world } from "./server.js";
import { number, sentence, t } from "./text.js";

const MIN = 0;
const MAX = 1.5;
const STRONG = 1.5;
const MOST_PICKS = 60;

// The LoRAs that act: those in solo if there are any, else those that are switched on. Weights as typed.
export function active() {
  const solo = draft.stack.some((row) => row.solo);
  return draft.stack.filter((row) => (solo ? row.solo : row.on))
    .map((row) => ({ sha256: row.sha256, name: row.name, weight: String(row.weight), ...sentWith(row) }));
}

// What a row says beside its weight. Where a tag in the text speaks of it, the server takes steps and blocks from there.
function sentWith({ te, tag, at }) {
  const { start, stop, blocks } = placesOf({ at });
  const own = tag ? {} : { start, stop, blocks };
  return { ...own, ...(te === undefined ? {} : { te, text_encoder_weight: te }) };
}

// Steps and blocks of a recipe, as a row holds them.
const placed = ({ start = 0, stop = 1, blocks = [] }) => (start > 0 || stop < 1 || blocks.length ? { at: { start, stop, blocks } } : {});

export function add(entry, weight = entry.recommended_weight, te = null, places = {}) {
  const there = draft.stack.find((row) => row.sha256 === entry.sha256);
  const weights = { weight, ...(te === null ? {} : { te }), ...placed(places) };
  if (there) Object.assign(there, { on: true, te: undefined, at: undefined, ...weights, ...(there.tag && weights.at ? { moved: { steps: true, blocks: true } } : {}) });
  else draft.stack.push({ sha256: entry.sha256, name: entry.name, ...weights, on: true, solo: false });
  changed();
}

export function replaceStack(rows) {
  draft.stack = rows.map(({ sha256, name, weight, text_encoder_weight: te, ...rest }) => ({
    sha256, name, weight, on: true, solo: false, ...(te === null || te === undefined ? {} : { te }), ...placed(rest),
  }));
  changed("replaced");
}

// Opens or closes a row's panel: nothing that acts is changed by that.
function unfold(sha256) {
  const row = rowOf(sha256);
  row.open = !row.open;
  keep({}, "stack");
  emit("stack", "open");
}

// Another part of the steps, other blocks, another weight on the words; `moved` is what a tag in the text has to follow.
function move(sha256, { te, ...places }) {
  const row = rowOf(sha256);
  row.at = { ...row.at, ...places };
  if (te !== undefined && row.tag) row.at.te = te;
  else if (te !== undefined) row.te = te ?? undefined;
  const { start, stop, blocks } = places;
  if (row.tag) row.moved = { ...row.moved, steps: start !== undefined || stop !== undefined || Boolean((row.moved || {}).steps), blocks: blocks !== undefined || te !== undefined || Boolean((row.moved || {}).blocks) };
  changed();
}

function changed(how = "hand") {
  keep({}, "stack");
  emit("stack", how);
}

export function stack(panel) {
  const rows = h("div.rows", { role: "list" });
  const title = h("h2", {});
  const empty = h("p.hint", {});
  const input = h("input", { type: "file", accept: KINDS, multiple: true, hidden: true });
  input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
  const adder = button("quiet.add", { sign: "plus", text: "" });
  adder.addEventListener("click", () => picker(() => input.click()));
  const gridder = button("quiet.gridopen", { sign: "grid", text: "", onclick: openGrid });
  const box = h("section.stack", {}, h("header", {}, title, h("span.verbs", {}, gridder, adder)), rows, empty, input);
  panel.append(box);
  acceptDrops(box);

  const draw = () => {
    set(title, { text: t("stack.title") });
    set(adder.lastElementChild, { text: t("stack.add") });
    set(gridder, { title: t("grid.open_hint") });
    set(gridder.lastElementChild, { text: t("grid.open") });
    set(input, { "aria-label": t("stack.file") });
    set(empty, { text: t("stack.empty"), hidden: draft.stack.length > 0 });
    reconcile(rows, draft.stack, { key: (row) => row.sha256, make: (row) => makeRow(row.sha256), update: updateRow });
  };
  for (const name of ["stack", "library", "language", "info", "base", "ready"]) on(name, draw);
  on("draft", (what) => { if (what === "form") draw(); });
  on("wrong", (problem) => {
    for (const row of rows.children) {
      const wrong = problem && problem.values.field === `weight:${row.dataset.key}`;
      set(row.querySelector(".wrong"), { hidden: !wrong, text: wrong ? sentence(problem) : "" });
      if (wrong) row.querySelector("input.weight").focus();
    }
  });
  draw();
}

export const rowOf = (sha256) => draft.stack.find((row) => row.sha256 === sha256);

function makeRow(sha256) {
  const change = (changes) => { Object.assign(rowOf(sha256), changes); changed(); };
  const toggle = button("ghost.square.toggle", { sign: "power", label: " ", onclick: () => change({ on: !rowOf(sha256).on }) });
  const slider = h("input", { type: "range", step: 0.05, class: "weight-slider" });
  slider.addEventListener("input", () => change({ weight: Number(slider.value) }));
  slider.addEventListener("dblclick", () => change({ weight: (find(sha256) || { recommended_weight: 1 }).recommended_weight }));
  const field = h("input.field.weight", { type: "text", inputMode: "decimal", autocomplete: "off" });
  field.addEventListener("input", () => change({ weight: field.value }));
  field.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: 0.05, ArrowDown: -0.05 };
    const value = Number(field.value);
    if (!(event.key in steps) || Number.isNaN(value)) return;
    event.preventDefault();
    change({ weight: Math.round((value + steps[event.key]) * 100) / 100 });
  });
  const solo = button("ghost.square.solo", { sign: "solo", label: " ", onclick: () => change({ solo: !rowOf(sha256).solo }) });
  const gone = button("ghost.square", { sign: "close", label: " ", onclick: () => { draft.stack = draft.stack.filter((row) => row.sha256 !== sha256); changed(); } });
  const name = h("button.name", { type: "button", onclick: () => unfold(sha256) }, icon("right"), h("span", {}));
  const places = placesPanel(() => rowOf(sha256), (changes) => move(sha256, changes));
  const row = h("div.row", { role: "listitem" },
    toggle, name, h("span.slide", {}, slider), field, solo, gone, h("p.hint.warn", { hidden: true }), h("p.wrong", { role: "alert", hidden: true }), places.element);
  row.places = places;
  return row;
}

function updateRow(element, row) {
  const entry = find(row.sha256);
  const name = entry ? entry.name : row.name;
  const [toggle, label, slide, field, solo, gone, warn] = element.children;
  const slider = slide.firstElementChild;
  const anySolo = draft.stack.some((other) => other.solo);
  const acts = anySolo ? row.solo : row.on;
  element.classList.toggle("off", !acts);
  set(toggle, { "aria-pressed": String(row.on), "aria-label": t(row.on ? "stack.off" : "stack.on", { name }), title: t(row.on ? "stack.off" : "stack.on", { name }) });
  set(label, { "aria-expanded": String(Boolean(row.open)), "aria-label": t("places.open", { name }), title: t("places.open", { name }) });
  set(label.lastElementChild, { text: name });
  const value = Number(row.weight);
  const finite = String(row.weight).trim() !== "" && Number.isFinite(value);
  if (finite) {
    set(slider, { min: Math.min(MIN, Math.floor(value * 2) / 2), max: Math.max(MAX, Math.ceil(value * 2) / 2) });
    if (Number(slider.value) !== value) slider.value = value;
  }
  set(slider, { "aria-label": t("stack.weight", { name }), "aria-valuetext": t("stack.valuetext", { name, weight: finite ? number(value, 2) : row.weight }) });
  slider.style.setProperty("--fill", `${finite ? 100 * (value - Number(slider.min)) / (Number(slider.max) - Number(slider.min)) : 0}%`);
  if (document.activeElement !== field || Number(field.value) !== value) {
    const text = typeof row.weight === "number" ? row.weight.toFixed(2) : row.weight;
    if (field.value !== text && !(document.activeElement === field && field.value === String(row.weight))) field.value = text;
  }
  set(field, { "aria-label": t("stack.weight_number", { name }) });
  set(solo, { "aria-pressed": String(row.solo), "aria-label": t("stack.solo", { name }), title: t("stack.solo", { name }) });
  set(gone, { "aria-label": t("stack.remove", { name }), title: t("stack.remove", { name }) });
  const reason = entry ? hindrance(entry) : null;
  const words = shelf.loaded && !entry ? t("stack.gone") : reason ? t(reason.key, reason.values) : entry && !entry.fits ? t("stack.other_base") : Math.abs(value) > STRONG ? t("stack.strong") : "";
  const where = said(row);
  set(warn, { hidden: !(words || where), text: [words, where].filter(Boolean).join(" · ") });
  warn.classList.toggle("plain", !words);
  set(element.places.element, { hidden: !row.open });
  if (row.open) element.places.draw(row, name);
}

// ------------------------------------------------------------ adding from the library
function picker(fromFile) {
  const search = h("input.field", { type: "search", placeholder: t("stack.search"), "aria-label": t("stack.search") });
  const list = h("div.picks", { role: "list" });
  const content = [
    h("label.search", {}, icon("search"), search), list,
    h("footer", {}, h("p.hint", {}, t("stack.drop_hint")), button("quiet", { sign: "upload", text: t("stack.from_file"), onclick: () => { dialog.close(); fromFile(); } })),
  ];
  const pickOf = (entry) => {
    const reason = hindrance(entry);
    return h("div", { role: "listitem" }, h(`button.pick${reason ? ".unfit" : ""}`, {
      type: "button", disabled: Boolean(reason), onclick: () => { add(entry); dialog.close(); },
    }, cover(entry), h("span.name", {}, entry.name), h("small", {}, entry.trigger_words.join(", ")),
    reason ? h("small.warn", {}, t(reason.key, reason.values)) : entry.fits ? null : h("small.warn", {}, t("stack.other_base"))));
  };
  const draw = () => {
    // Those that cannot be used here come last, and only so many are drawn as anybody scrolls through.
    const found = sorted(shelf.adapters.filter((entry) => matches(entry, search.value)), draft.library.sort);
    const usable = [...found.filter((entry) => !hindrance(entry)), ...found.filter(hindrance)];
    list.replaceChildren(...usable.slice(0, MOST_PICKS).map(pickOf));
    if (usable.length > MOST_PICKS) list.append(h("p.hint", {}, t("stack.more", { n: number(usable.length - MOST_PICKS) })));
    if (!found.length) list.append(h("p.hint", {}, t(shelf.adapters.length ? "stack.none_found" : "library.empty")));
  };
  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => { if (event.key === "Enter" && !event.isComposing) { const first = list.querySelector("button:enabled"); if (first) first.click(); } });
  const off = on("library", draw);
  const dialog = open(t("stack.add_title"), content, { onclose: off });
  draw();
  search.focus();
}

export function cover(entry, size = 128) {
  return entry.cover
    ? h("img.cover", { src: thumbUrl(entry.cover, size), alt: "", loading: "lazy", decoding: "async" })
    : h("span.cover.blank", { "aria-hidden": "true" }, icon("layers"));
}

// ------------------------------------------------------------ adding a file
function acceptDrops(box) {
  const holds = (event) => [...(event.dataTransfer ? event.dataTransfer.types : [])].includes("Files");
  let depth = 0;
  box.addEventListener("dragenter", (event) => { if (holds(event)) { event.preventDefault(); depth += 1; box.classList.add("over"); } });
  box.addEventListener("dragover", (event) => { if (holds(event)) event.preventDefault(); });
  box.addEventListener("dragleave", () => { depth = Math.max(0, depth - 1); box.classList.toggle("over", depth > 0); });
  box.addEventListener("drop", (event) => {
    if (!holds(event)) return;
    depth = 0;
    box.classList.remove("over");
    const dropped = [...event.dataTransfer.files];
    const files = dropped.filter((file) => !isPicture(file) || isSide(file, dropped)); // the page takes pictures
    if (!files.length) return;
    event.preventDefault();
    take(files);
  });
}

export const baseName = () => ((world.info || {}).base || {}).title || "";
