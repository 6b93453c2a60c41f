// The library: every LoRA as a card, searched, filtered and sorted; below them the embeddings.
import { button, h, icon, reconcile, set } from "./dom.js";
import { on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { takeEmbeddings } from "./embedding_files.js";
import { embeddings } from "./embeddings.js";
import { drawCard } from "./library_card.js";
import { loadLibrary, matches, shelf, sorted, sorts } from "./library_data.js";
import { fetcher } from "./library_fetch.js";
import { folders } from "./library_folders.js";
import { askText } from "./dialog.js";
import { call } from "./server.js";
import { isModel, isSide, KINDS, SIDES, take } from "./lora_files.js";
import { isPicture } from "./pictures.js";
import { attempt } from "./toast.js";
import { number, t } from "./text.js";
import { openBench } from "./workbench.js";

const STEP = 48; // cards that are drawn at once; more when the end comes into view

export function library(panel) {
  const title = h("h2", {});
  const count = h("span.hint", { role: "status" });
  const search = h("input.field", { type: "search" });
  const family = h("select.field", {});
  const order = h("select.field", {});
  const file = h("input", { type: "file", accept: `${KINDS},${SIDES}`, multiple: true, hidden: true });
  const adder = button("quiet", { sign: "upload", text: "", onclick: () => file.click() });
  const bench = button("quiet", { sign: "wave", text: "", onclick: () => openBench() });
  const cards = h("div.cards.loras", {});
  const empty = h("p.hint.nothing", {});
  const end = h("div.end", { "aria-hidden": "true" });
  const places = folders();
  const fetching = fetcher();
  panel.append(h("section.library", {},
    h("header", {}, title, count, h("label.search", {}, icon("search"), search), family, order, bench, adder, file),
    places.element, cards, empty, end, fetching.element));
  file.addEventListener("change", () => { take([...file.files], false); file.value = ""; });
  const others = embeddings(() => search.value);
  panel.append(others.section);
  acceptDrops(panel, others.section);

  let limit = STEP;
  const chosen = () => shelf.adapters.filter((entry) => matches(entry, search.value) && isOf(entry, draft.library.family));
  const draw = () => {
    const found = sorted(chosen(), draft.library.sort);
    set(count, { text: found.length < shelf.adapters.length ? t("library.shown", { n: number(found.length), all: number(shelf.adapters.length) }) : "" });
    set(empty, { hidden: found.length > 0 || !shelf.loaded, text: t(!shelf.adapters.length ? "library.empty" : search.value.trim() ? "stack.none_found" : "library.none_of_family") });
    reconcile(cards, found.slice(0, limit), { key: (entry) => entry.sha256, make: () => h("article.card", {}), update: drawCard });
    end.hidden = found.length <= limit;
  };
  const drawWords = () => {
    set(title, { text: t("library.title") });
    set(search, { placeholder: t("library.search"), "aria-label": t("library.search") });
    set(adder.lastElementChild, { text: t("library.add") });
    set(bench.lastElementChild, { text: t("bench.make") });
    set(bench, { title: t("bench.make_hint") });
    set(file, { "aria-label": t("stack.file") });
    drawChoices(family, order);
  };
  const afresh = () => { for (const card of cards.children) card.drawn = ""; drawWords(); draw(); };
  const again = () => { limit = STEP; draw(); };
  const nearing = new IntersectionObserver((seen) => {
    if (!seen.some((one) => one.isIntersecting)) return;
    limit += STEP;
    draw();
    nearing.unobserve(end); // observed anew it tells once more where it still is in view
    nearing.observe(end);
  }, { rootMargin: "800px" });
  nearing.observe(end);
  search.addEventListener("input", () => { again(); others.draw(); });
  family.addEventListener("change", () => { keep({ library: { ...draft.library, family: family.value } }); again(); });
  order.addEventListener("change", () => { keep({ library: { ...draft.library, sort: order.value } }); again(); });
  on("library", () => { drawChoices(family, order); draw(); });
  for (const name of ["hello", "language"]) on(name, afresh);
  afresh();
}

// A picture is an embedding's file only where embeddings are, and a LoRA's where it lay beside one; else it is left to
// whoever reads pictures.
function acceptDrops(panel, section) {
  panel.addEventListener("drop", (event) => {
    const inside = section.contains(event.target);
    const dropped = [...event.dataTransfer.files];
    const files = dropped.filter((one) => inside || !isPicture(one) || isSide(one, dropped));
    if (!files.length) return;
    event.preventDefault();
    sort(files, (one) => inside || (isPicture(one) && !isSide(one, dropped)));
  });
  panel.addEventListener("dragover", (event) => event.preventDefault());
  // Elsewhere on the page files of models are taken too, where nothing nearer wanted them.
  document.addEventListener("drop", (event) => {
    const dropped = [...(event.dataTransfer ? event.dataTransfer.files : [])];
    const files = dropped.filter((one) => isModel(one) || isSide(one, dropped));
    if (event.defaultPrevented || !files.length) return;
    event.preventDefault();
    take(files, false);
  });
}

// Hands files to whoever reads their kind: what is no embedding for sure goes to the LoRAs' door, which knows both.
function sort(files, isEmbedding) {
  takeEmbeddings(files.filter(isEmbedding));
  take(files.filter((file) => !isEmbedding(file)), false);
}

const isOf = (entry, family) => !family || (family === "fits" ? entry.misfit !== "family" : (entry.family || "unknown") === family);

function drawChoices(family, order) {
  const known = new Map(shelf.adapters.map((entry) => [entry.family || "unknown", entry.made_for || t("library.family.unknown")]));
  if (draft.library.family && draft.library.family !== "fits" && !known.has(draft.library.family) && shelf.loaded) draft.library.family = "";
  const families = [["", t("library.family.all")], ["fits", t("library.family.fits")], ...[...known].sort((a, b) => a[1].localeCompare(b[1]))];
  options(family, families, draft.library.family);
  options(order, sorts.map((name) => [name, t(`library.sort.${name}`)]), draft.library.sort);
  set(family, { "aria-label": t("library.family") });
  set(order, { "aria-label": t("library.sort") });
}

function options(select, choices, value) {
  const key = JSON.stringify(choices);
  if (select.drawn !== key) {
    select.drawn = key;
    select.replaceChildren(...choices.map(([name, text]) => h("option", { value: name }, text)));
  }
  select.value = value;
}

export async function rename(entry) {
  const name = await askText(t("rename"), t("library.new_name"), entry.name, t("rename"));
  if (name === null) return null;
  const answer = await attempt(() => call("rename_adapter", { sha256: entry.sha256, name }));
  if (answer) await loadLibrary();
  return answer ? answer.adapter : null;
}
