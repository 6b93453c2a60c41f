// The two texts of the Generate tab, what helps with writing them, and the verbs: generate, compare, stop.
import { button, debounce, h, reconcile, set, uid } from "./dom.js";
import { emit, on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { call, hurry } from "./server.js";
import { find } from "./library_data.js";
import { active } from "./stack.js";
import { sent } from "./tags.js";
import { fail, randomSeed, values } from "./settings.js";
import { Vocabulary, pieceAt, tagsOf } from "./words.js";
import { complain } from "./toast.js";
import { isTextField, sentence, t } from "./text.js";

let vocabulary = new Vocabulary([]);
let read = { of: null, words: "" }; // the words of the prompt without its marks, as the server reads them
let writing = false; // a text is set by the page, not by a person
const areas = {};

const area = (name) => document.querySelector(`#${name} textarea`);

// Sets a native text as if it had been typed, so that Gradio knows of it.
export function write(name, text) {
  const field = area(name);
  draft[name] = text;
  if (!field) return;
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(field, text);
  writing = true;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  writing = false;
}

// Adds a tag at the end of the prompt.
export function insert(tag) {
  const text = area("prompt").value.replace(/[,，\s]+$/, "");
  write("prompt", text ? `${text}, ${tag}` : tag);
  area("prompt").focus();
}

// ------------------------------------------------------------ the panel under the prompt
export function promptHelp(panel) {
  const list = h("ul.suggestions", { id: "suggestions", role: "listbox", hidden: true, "aria-label": t("suggest.label") });
  const chips = h("div.chips", {});
  const unknown = h("p.hint.unknown", { hidden: true });
  const error = h("p.wrong", { id: "prompt-error", role: "alert", hidden: true });
  panel.append(list, error, chips, unknown);

  const redraw = () => {
    drawChips(chips);
    drawUnknown(unknown);
  };
  const later = debounce(200, redraw);
  attach(() => later(), list, error);
  on("draft", (what) => { if (what === "prompt") error.hidden = true; later(); });
  for (const name of ["library", "language", "vocabulary"]) on(name, redraw);
  on("explained", ({ prompt }) => { read = { of: draft.prompt, words: plain(prompt) }; redraw(); });
  on("wrong", (problem) => {
    const mine = problem && (isTextField(problem.values.field) || problem.code === "prompt_empty");
    set(error, { hidden: !mine, text: mine ? sentence(problem) : "" });
    const field = area(problem && problem.values.field === "negative_prompt" ? "negative" : "prompt");
    if (mine && field) { field.setAttribute("aria-invalid", "true"); field.setAttribute("aria-describedby", error.id); field.focus(); }
  });
  loadVocabulary();
  redraw();
}

async function loadVocabulary() {
  vocabulary = new Vocabulary((await call("vocabulary", {}, Infinity)).tags);
  emit("vocabulary");
}
on("base", loadVocabulary);

// Gradio may mount the texts after this panel: wait for them.
function attach(changed, list, error) {
  if (!area("prompt") || !area("negative")) {
    requestAnimationFrame(() => attach(changed, list, error));
    return;
  }
  for (const name of ["prompt", "negative"]) {
    const field = area(name);
    areas[name] = field;
    field.setAttribute("spellcheck", "false");
    write(name, draft[name]);
    field.addEventListener("input", () => {
      draft[name] = field.value;
      if (!writing) emit("typed", name);
      field.removeAttribute("aria-invalid");
      keep({}, name);
      changed();
    });
    suggestions(field, list);
  }
}

function drawChips(chips) {
  const inPrompt = tagsOf(draft.prompt);
  const wanted = active().flatMap(({ sha256, name }) => {
    const entry = find(sha256);
    return (entry ? entry.trigger_words : []).map((word) => ({ word, name, there: tagsOf(word).every((tag) => inPrompt.includes(tag)) }));
  });
  const unique = wanted.filter((one, index) => wanted.findIndex((other) => other.word === one.word) === index);
  reconcile(chips, unique, {
    key: ({ word }) => word,
    make: ({ word }) => {
      const chip = button("chip", { sign: "plus", text: word });
      chip.addEventListener("click", () => { if (!chip.classList.contains("there")) insert(word); });
      return chip;
    },
    update: (chip, { word, name, there }) => {
      chip.classList.toggle("there", there);
      set(chip, { "aria-label": t(there ? "chip.there" : "chip.missing", { word, name }), title: t(there ? "chip.there" : "chip.missing", { word, name }) });
    },
  });
  chips.hidden = unique.length === 0;
}

// All texts of a reading, brackets that are characters with a backslash again.
function plain({ parts }) {
  const texts = parts.flatMap((part) => part.texts.map(({ spans }) => spans.map(({ text }) => text).join("")));
  return texts.join(",").replace(/[()[\]]/g, "\\$&");
}

function drawUnknown(line) {
  const others = active().flatMap(({ sha256 }) => (find(sha256) || { trigger_words: [] }).trigger_words);
  const words = vocabulary.unknown(read.of === draft.prompt ? read.words : draft.prompt, others);
  const text = words.length ? t("unknown", { words: words.map((word) => `"${word}"`).join(", ") }) : "";
  set(line, { hidden: !words.length, text });
}

// ------------------------------------------------------------ suggestions while typing
function suggestions(field, list) {
  let shown = [];
  let chosen = -1;
  const close = () => {
    shown = []; chosen = -1; list.hidden = true; list.replaceChildren();
    field.removeAttribute("aria-activedescendant");
    field.setAttribute("aria-expanded", "false");
  };
  const mark = (index) => {
    chosen = index;
    [...list.children].forEach((item, number) => item.setAttribute("aria-selected", String(number === index)));
    if (index >= 0) { field.setAttribute("aria-activedescendant", list.children[index].id); list.children[index].scrollIntoView({ block: "nearest" }); }
  };
  const take = (index) => {
    const { start, end } = pieceAt(field.value, field.selectionStart);
    const rest = field.value.slice(end);
    const before = field.value.slice(0, start) + shown[index].tag;
    const text = before + (rest.trim() ? rest : ", ");
    write(field === areas.negative ? "negative" : "prompt", text);
    const caret = rest.trim() ? before.length : text.length;
    field.setSelectionRange(caret, caret);
    close();
  };
  const offer = () => {
    const { typed } = pieceAt(field.value, field.selectionStart);
    shown = document.activeElement === field ? vocabulary.suggest(typed) : [];
    if (!shown.length) { close(); return; }
    list.replaceChildren(...shown.map(({ tag, zh }, index) => h("li", {
      id: `suggestion-${index}`, role: "option", "aria-selected": "false",
      onpointerdown: (event) => { event.preventDefault(); take(index); },
    }, h("span", {}, tag), zh ? h("small", { lang: "zh-CN" }, zh) : null)));
    const place = field.closest(".block") || field;
    list.style.setProperty("--left", `${field.offsetLeft}px`);
    place.append(list);
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    field.setAttribute("aria-controls", list.id);
    chosen = -1;
  };
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-expanded", "false");
  field.addEventListener("input", (event) => { if (event.isTrusted) offer(); });
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (!shown.length || event.isComposing) return;
    const steps = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) mark((chosen + steps[event.key] + shown.length + (chosen < 0 && steps[event.key] < 0 ? 1 : 0)) % shown.length);
    else if (event.key === "Tab" || (event.key === "Enter" && chosen >= 0 && !event.ctrlKey && !event.metaKey)) take(Math.max(0, chosen));
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

// ------------------------------------------------------------ verbs
export function act(verb) {
  if (verb === "stop") emit("stop");
  else generate({ compare: verb === "compare" });
}

// Asks for pictures; what is wrong with a grid is given back to whoever asked for it, all else is told here.
export async function generate({ compare = false, grid = null }) {
  emit("wrong", null);
  emit("settle");
  // A comparison is of the picture that is there, so its seed stays.
  if (!draft.seedLocked && !((compare || grid) && values().seed.trim())) randomSeed();
  const form = { prompt: draft.prompt, negative_prompt: draft.negative, ...values(), styles: draft.styles, adapters: sent() };
  const asked = { cell: uid(), job: uid(), form, compare, ...(grid ? { grid } : {}) };
  emit("asking", asked);
  try {
    const { cell } = await call("make", asked);
    emit("cell", cell);
    hurry();
  } catch (error) {
    emit("refused", asked);
    if (!error.code) throw error;
    if (grid) return error;
    if (!(isTextField(error.values.field) || error.code === "prompt_empty") && !fail(error)) complain(error);
    emit("wrong", error);
    return error;
  }
  return null;
}
