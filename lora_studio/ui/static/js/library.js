// The library: every LoRA as a card, and below them the embeddings.
import { button, h, icon, reconcile, set } from "./dom.js";
import { emit, on } from "./bus.js";
import { isModel, isPickle, takeEmbeddings } from "./embedding_files.js";
import { embeddings } from "./embeddings.js";
import { loadLibrary, matches, shelf } from "./library_data.js";
import { askText, confirm } from "./dialog.js";
import { call, world } from "./server.js";
import { add, cover, take } from "./stack.js";
import { goTo } from "./keys.js";
import { isPicture } from "./pictures.js";
import { attempt, tell } from "./toast.js";
import { bytes, many, t, when } from "./text.js";
import { benchButton } from "./workbench.js";

export function library(panel) {
  const title = h("h2", {});
  const search = h("input.field", { type: "search" });
  const file = h("input", { type: "file", accept: ".safetensors", multiple: true, hidden: true });
  const adder = button("quiet", { sign: "upload", text: "", onclick: () => file.click() });
  const cards = h("div.cards", {});
  const empty = h("p.hint.nothing", {});
  panel.append(h("section.library", {},
    h("header", {}, title, h("label.search", {}, icon("search"), search), adder, file), cards, empty));
  file.addEventListener("change", () => { take([...file.files], false); file.value = ""; });
  const others = embeddings(() => search.value);
  panel.append(others.section);
  panel.addEventListener("drop", (event) => {
    // A picture is an embedding's file only where embeddings are; elsewhere it is left to whoever reads pictures.
    const inside = others.section.contains(event.target);
    const files = [...event.dataTransfer.files].filter((dropped) => inside || !isPicture(dropped));
    if (!files.length) return;
    event.preventDefault();
    sort(files, (dropped) => isPickle(dropped) || isPicture(dropped));
  });
  panel.addEventListener("dragover", (event) => event.preventDefault());
  // Elsewhere on the page files of models are taken too, where nothing nearer wanted them.
  document.addEventListener("drop", (event) => {
    const files = [...(event.dataTransfer ? event.dataTransfer.files : [])].filter(isModel);
    if (event.defaultPrevented || !files.length) return;
    event.preventDefault();
    sort(files, isPickle);
  });

  const draw = () => {
    set(title, { text: t("library.title") });
    set(search, { placeholder: t("library.search"), "aria-label": t("library.search") });
    set(adder.lastElementChild, { text: t("library.add") });
    set(file, { "aria-label": t("stack.file") });
    const found = shelf.adapters.filter((entry) => matches(entry, search.value));
    set(empty, { hidden: found.length > 0 || !shelf.loaded, text: t(shelf.adapters.length ? "stack.none_found" : "library.empty") });
    reconcile(cards, found, { key: (entry) => entry.sha256, make: () => h("article.card", {}), update: drawCard });
  };
  search.addEventListener("input", () => { draw(); others.draw(); });
  on("library", draw);
  on("hello", () => { for (const card of cards.children) card.drawn = ""; draw(); });
  on("language", () => { for (const card of cards.children) card.drawn = ""; draw(); });
  draw();
}

// Hands files to whoever reads their kind; a .safetensors goes to the LoRAs' door, which knows embeddings too.
function sort(files, isEmbedding) {
  takeEmbeddings(files.filter(isEmbedding));
  take(files.filter((file) => !isEmbedding(file)), false);
}

function drawCard(card, entry) {
  const key = JSON.stringify(entry);
  if (card.drawn === key) return;
  card.drawn = key;
  set(card, { "aria-label": entry.name });
  const facts = [
    entry.rank ? t("library.rank", { n: entry.rank }) : null, bytes(entry.size), entry.sample ? t("library.sample") : when(entry.created),
  ].filter(Boolean).join(" · ");
  card.replaceChildren(
    h("div.picture", {}, cover(entry)),
    h("div.facts", {},
      h("h3", {}, entry.name),
      entry.trigger_words.length ? h("p.words", {}, entry.trigger_words.join(", ")) : h("p.words.hint", {}, t("library.no_words")),
      h("p.hint", {}, facts),
      entry.base_sha256 ? h("p.hint", {}, t("library.base", { base: baseName(entry) })) : null,
      entry.fits ? null : h("p.remark.info", {}, icon("layers"), h("span", {}, t("stack.other_base")))),
    h("div.verbs", {},
      button("primary.small", { text: t("library.use"), onclick: () => { add(entry); goTo("generate"); } }),
      h("a.ghost.square.button", { href: `/studio/adapter/${entry.sha256}.safetensors`, download: "", "aria-label": t("library.download", { name: entry.name }), title: t("library.download", { name: entry.name }) }, icon("download")),
      benchButton(entry),
      button("ghost.square", { sign: "edit", label: t("library.rename", { name: entry.name }), onclick: () => rename(entry) }),
      button("ghost.square", { sign: "trash", label: t("library.delete", { name: entry.name }), onclick: () => remove(entry) })));
}

// The name of the base that it was made for where that one is loaded, else the beginning of its hash.
function baseName(entry) {
  const base = (world.hello || {}).base;
  return base && base.sha256 === entry.base_sha256 ? base.title : entry.base_sha256.slice(0, 10);
}

export async function rename(entry) {
  const name = await askText(t("rename"), t("library.new_name"), entry.name, t("rename"));
  if (name === null) return null;
  const answer = await attempt(() => call("rename_adapter", { sha256: entry.sha256, name }));
  if (answer) await loadLibrary();
  return answer ? answer.adapter : null;
}

async function remove(entry) {
  const uses = await attempt(() => call("adapter_uses", { sha256: entry.sha256 }));
  if (!uses) return;
  const text = uses.cells ? many("library.used", uses.cells) : t("library.unused");
  if (!(await confirm(t("library.delete", { name: entry.name }), text, t("delete_for_good")))) return;
  await attempt(async () => {
    await call("delete_adapter", { sha256: entry.sha256 });
    tell(t("library.deleted", { name: entry.name }));
    await loadLibrary();
    emit("stack");
  });
}
