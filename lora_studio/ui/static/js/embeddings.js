// The embeddings of the library: what each is called in a prompt, how long it is, what it was made for.
import { button, h, icon, reconcile, set } from "./dom.js";
import { on } from "./bus.js";
import { askText } from "./dialog.js";
import { draft } from "./draft.js";
import { KINDS, takeEmbeddings } from "./embedding_files.js";
import { goTo } from "./keys.js";
import { loadLibrary, shelf } from "./library_data.js";
import { write } from "./prompt.js";
import { call, world } from "./server.js";
import { attempt, offerUndo } from "./toast.js";
import { bytes, many, t, when } from "./text.js";

const FAMILIES = { 768: "SD 1.x", 1024: "SD 2.x", "768+1280": "SDXL" };

// `searched` gives what stands in the search field of the room; the room draws again when it changes.
export function embeddings(searched) {
  const title = h("h2", {});
  const file = h("input", { type: "file", accept: KINDS, multiple: true, hidden: true });
  const adder = button("quiet.add-embedding", { sign: "upload", text: "", onclick: () => file.click() });
  const about = h("p.hint.about", {});
  const cards = h("div.cards.words-cards", {});
  const empty = h("p.hint.nothing", {});
  const section = h("section.library.embeddings", {}, h("header", {}, title, adder, file), about, cards, empty);
  file.addEventListener("change", () => { takeEmbeddings([...file.files]); file.value = ""; });

  const draw = () => {
    set(title, { text: t("embedding.title") });
    set(section, { "aria-label": t("embedding.title") });
    set(adder.lastElementChild, { text: t("library.add") });
    set(adder, { "aria-label": t("embedding.add") });
    set(file, { "aria-label": t("embedding.file") });
    const words = searched().toLowerCase().split(/\s+/).filter(Boolean);
    const found = shelf.embeddings.filter((entry) => words.every((word) => entry.name.toLowerCase().includes(word)));
    set(about, { text: t("embedding.about"), hidden: !shelf.embeddings.length });
    set(empty, { hidden: found.length > 0 || !shelf.loaded, text: t(shelf.embeddings.length ? "stack.none_found" : "embedding.empty") });
    const gone = (entry) => remove(entry).then(() => { if (document.activeElement === document.body) adder.focus(); });
    reconcile(cards, found, { key: (entry) => entry.sha256, make: () => h("article.card", {}), update: (card, entry) => drawCard(card, entry, gone) });
  };
  const afresh = () => { for (const card of cards.children) card.drawn = ""; draw(); };
  on("library", draw);
  on("hello", afresh);
  on("language", afresh);
  draw();
  return { section, draw };
}

function drawCard(card, entry, gone) {
  const key = JSON.stringify(entry);
  if (card.drawn === key) return;
  card.drawn = key;
  set(card, { "aria-label": entry.name });
  const facts = [many("embedding.vectors", entry.vectors), madeFor(entry), bytes(entry.size), when(entry.created)].join(" · ");
  const name = { name: entry.name };
  card.replaceChildren(
    h("div.facts", {},
      h("h3", {}, icon("words"), h("span", {}, entry.name)),
      h("p.hint", {}, facts),
      entry.fits ? null : h("p.remark.info", {}, icon("layers"), h("span", {}, t("embedding.other_base")))),
    h("div.verbs", {},
      button("primary.small", { text: t("embedding.to_prompt"), "aria-label": t("embedding.to_prompt_label", name), onclick: () => intoText(entry.name, "prompt") }),
      button("quiet.small", { text: t("embedding.to_negative"), "aria-label": t("embedding.to_negative_label", name), onclick: () => intoText(entry.name, "negative") }),
      h("span.rest", {},
        h("a.ghost.square.button", { href: `/studio/embedding/${entry.sha256}`, download: "", "aria-label": t("library.download", name), title: t("library.download", name) }, icon("download")),
        button("ghost.square", { sign: "edit", label: t("library.rename", name), onclick: () => rename(entry) }),
        button("ghost.square", { sign: "trash", label: t("library.delete", name), onclick: () => gone(entry) }))));
}

// The kind of base by the widths of the vectors; the loaded base's own name where it is of no known kind.
function madeFor(entry) {
  const widths = ["clip_l", "clip_g"].filter((key) => key in entry.widths).map((key) => entry.widths[key]).join("+");
  if (widths in FAMILIES) return FAMILIES[widths];
  const base = (world.hello || {}).base;
  return entry.fits && base ? base.title : t("embedding.width", { n: widths });
}

// Adds the name at the end of a text, with its brackets as letters, and shows the text.
function intoText(name, where) {
  const word = name.replace(/[\\()[\]]/g, "\\$&");
  const text = draft[where].replace(/[,，\s]+$/, "");
  write(where, text ? `${text}, ${word}` : word);
  goTo("generate");
  focusShown(document.querySelector(`#${where} textarea`), 60);
}

// Gradio shows a chosen tab some frames later, and what is hidden takes no focus.
function focusShown(field, frames) {
  if (!field || !frames) return;
  if (field.checkVisibility()) field.focus();
  else requestAnimationFrame(() => focusShown(field, frames - 1));
}

async function rename(entry) {
  const name = await askText(t("rename"), t("library.new_name"), entry.name, t("rename"));
  if (name === null) return;
  await attempt(async () => {
    await call("rename_embedding", { sha256: entry.sha256, name });
    await loadLibrary();
  });
}

async function remove(entry) {
  await attempt(async () => {
    await call("delete_embedding", { sha256: entry.sha256 });
    await loadLibrary();
    offerUndo(t("library.deleted", { name: entry.name }), () => attempt(async () => {
      await call("restore_embedding", { sha256: entry.sha256 });
      await loadLibrary();
    }));
  });
}
