// Taking over what made a picture: dropped anywhere, chosen, or pasted as text. One step, which can be undone; what
// could not be taken over is listed, and a LoRA that is missing can be dropped there.
import { button, h, icon, set } from "./dom.js";
import { emit, on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { call, upload } from "./server.js";
import { takeEmbeddings } from "./embedding_files.js";
import { find } from "./library_data.js";
import { goTo } from "./keys.js";
import { isPicture } from "./pictures.js";
import { write } from "./prompt.js";
import { put, relock } from "./settings.js";
import { KINDS, take } from "./lora_files.js";
import { add, replaceStack } from "./stack.js";
import { attempt, complain, tell } from "./toast.js";
import { allowed, has, isTextField, number, t } from "./text.js";

const LIMIT = 900_000; // characters of a pasted text; a call may hold a million bytes
const PROGRAMS = {
  lora_studio: "LoRA Studio", a1111: "A1111", forge: "Forge", sdnext: "SD.Next", comfyui: "ComfyUI", invokeai: "InvokeAI", fooocus: "Fooocus",
};
const dropped = new Set(); // jobs that read files which were dropped for what is missing

// ------------------------------------------------------------ the panel above the prompt
export function recall(panel) {
  const input = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp,.txt,.json", hidden: true });
  input.addEventListener("change", () => { const [file] = input.files; input.value = ""; if (file) fromFile(file); });
  const opener = button("quiet.small", { sign: "picture", text: "", onclick: () => input.click() });
  const card = h("section.recalled", { hidden: true });
  const file = h("input", { type: "file", accept: KINDS, multiple: true, hidden: true });
  file.addEventListener("change", () => { receive([...file.files]); file.value = ""; });
  panel.append(card, h("div.recall-open", {}, opener), input, file);
  acceptDrops(card);

  const draw = () => {
    set(opener, { title: t("recall.hint") });
    set(opener.lastElementChild, { text: t("recall.open") });
    set(input, { "aria-label": t("recall.open") });
    set(file, { "aria-label": t("stack.file") });
    set(card, { hidden: !draft.recalled, "aria-label": t("recall.label") });
    card.replaceChildren(...(draft.recalled ? content(draft.recalled, () => file.click()) : []));
  };
  for (const name of ["recalled", "language", "library"]) on(name, draw);
  draw();
}

function content(recalled, choose) {
  const { name, program, missing, remarks } = recalled;
  const whole = !missing.length && !remarks.length;
  return [
    h("header", {}, icon(whole ? "check" : "picture"),
      h("p", { role: "status" }, t(whole ? "recall.whole" : "recall.title", { name: name || t("recall.text"), program: PROGRAMS[program] || program })),
      button("quiet.small", { text: t("undo"), onclick: undo }),
      button("ghost.square", { sign: "close", label: t("close"), onclick: () => { draft.recalled = null; changed(); } })),
    missing.length ? h("div.lacking", {},
      h("p", {}, t("recall.missing")),
      h("ul", {}, missing.map((one) => lack(one))),
      h("p.hint", {}, t("recall.drop")),
      button("quiet.small", { sign: "upload", text: t("stack.from_file"), onclick: choose })) : null,
    remarks.length ? h("ul.said", {}, remarks.map((remark) => h("li", {}, words(remark)))) : null,
  ].filter(Boolean);
}

function lack(one) {
  return h("li", {},
    h("b", {}, one.name || one.hash), h("span.hint", {}, t("recall.weight", { weight: number(one.weight, 2) })),
    one.hash ? h("code", { title: one.hash }, one.hash.slice(0, 12)) : null,
    one.near ? h("p.hint", {}, t("recall.near", { name: one.near.name })) : null,
    one.near ? button("quiet.small", {
      text: t("recall.use_near", { name: one.near.name }), onclick: () => settle([[one, one.near]]),
    }) : null);
}

function words({ code, values }) {
  const filled = { ...values };
  if (typeof filled.allowed === "string") filled.allowed = allowed(filled.allowed);
  if (filled.field && !isTextField(filled.field)) filled.field = t(`field.${filled.field}`);
  return has(`recall.${code}`) ? t(`recall.${code}`, filled) : code;
}

function changed() {
  keep({}, "recalled");
  emit("recalled");
}

// ------------------------------------------------------------ taking over, and back
const snapshot = () => structuredClone({
  prompt: draft.prompt, negative: draft.negative, stack: draft.stack, styles: draft.styles, form: draft.form, seedLocked: draft.seedLocked,
});

// A text of one of the programs that is damaged: there is something to say, and nothing to take over.
const isEmpty = ({ prompt, form, adapters, missing }) => prompt === null && !Object.keys(form).length && !adapters.length && !missing.length;

function apply(found, name) {
  if (isEmpty(found)) {
    for (const remark of found.remarks) complain({ code: remark.code, message: words(remark), values: {} });
    return;
  }
  const before = snapshot();
  if (found.prompt !== null) { write("prompt", found.prompt); write("negative", found.negative || ""); }
  replaceStack(found.adapters);
  keep({ styles: [] }, "styles"); // a picture's words hold its styles already
  put({ ...found.form, num_images: 1 });
  if ("seed" in found.form) relock(true);
  draft.recalled = { name, program: found.program, missing: found.missing, remarks: found.remarks, before };
  changed();
  goTo("generate");
  const card = document.querySelector(".recalled");
  if (card) card.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function undo() {
  const { before } = draft.recalled;
  write("prompt", before.prompt);
  write("negative", before.negative);
  draft.stack = before.stack;
  keep({ styles: before.styles }, "styles");
  emit("stack", "replaced");
  draft.form = {};
  put(before.form);
  relock(before.seedLocked);
  draft.recalled = null;
  changed();
  const field = document.querySelector("#prompt textarea");
  if (field) field.focus();
}

// `otherwise` takes a picture that says nothing of how it was made, in place of the complaint.
async function fromFile(file, otherwise = null) {
  if (!isPicture(file)) {
    const taken = await fromText(await file.text(), file.name);
    if (taken === false) complain({ code: "recall_nothing", message: "", values: { given: file.name } });
    return;
  }
  try {
    apply(await upload("recall", file, {}), file.name);
  } catch (error) {
    if (otherwise && error.code === "recall_nothing") otherwise(file);
    else complain(error);
  }
}

// True where the text was one of settings, null where that is not known; what went wrong is said.
async function fromText(text, name = "") {
  if (text.length > LIMIT) {
    complain({ code: "too_long", message: t("recall.too_long", { given: number(text.length), allowed: number(LIMIT) }), values: {} });
    return null;
  }
  const found = await attempt(() => call("recall_text", { text }));
  if (!found) return null;
  if (!found.program) return false;
  apply(found, name);
  return true;
}

// ------------------------------------------------------------ what is missing
// Puts LoRAs that were found into the stack with the weights that the picture had.
function settle(pairs) {
  for (const [one, entry] of pairs) {
    add(entry, one.weight, one.text_encoder_weight, one);
    draft.recalled.missing = draft.recalled.missing.filter((other) => other !== one);
    tell(t("stack.added", { name: entry.name }));
  }
  changed();
}

let looking = null;

// How many were found; two who ask at once share one answer.
function lookAgain() {
  looking = looking || look().finally(() => { looking = null; });
  return looking;
}

async function look() {
  const { missing } = draft.recalled || { missing: [] };
  if (!missing.length) return 0;
  const answer = await attempt(() => call("find_missing", { wanted: missing.map(({ name, hash }) => ({ name, hash })) }));
  const pairs = answer && draft.recalled ? missing.map((one, index) => [one, answer.found[index]]).filter(([, entry]) => entry) : [];
  if (pairs.length) settle(pairs);
  return pairs.length;
}

on("library", () => { if (draft.recalled && !dropped.size) lookAgain(); });
on("ended", async (job) => {
  if (!dropped.delete(job.id) || job.state !== "done" || job.result.embedding || (await lookAgain())) return;
  const entry = find(job.result.adapter);
  tell(t("recall.other_file", { name: entry ? entry.name : job.result.name }));
});

async function receive(files) {
  for (const job of await take(files, false)) dropped.add(job);
}

function acceptDrops(card) {
  const over = (event) => draft.recalled && draft.recalled.missing.length && [...event.dataTransfer.types].includes("Files");
  card.addEventListener("dragover", (event) => { if (over(event)) { event.preventDefault(); card.classList.add("over"); } });
  card.addEventListener("dragleave", () => card.classList.remove("over"));
  card.addEventListener("drop", (event) => {
    card.classList.remove("over");
    const files = [...event.dataTransfer.files].filter((file) => !isPicture(file));
    if (!over(event) || !files.length) return;
    event.preventDefault();
    receive(files);
  });
}

// ------------------------------------------------------------ dropping and pasting anywhere
// The last line of A1111's text, or the JSON of one of the programs; the server reads it, and words stay words.
const looksWritten = (text) => /(^|\n)[^\n]*\bSteps: \d+, [^\n]*$/.test(text.trim())
  || (/^\s*\{/.test(text) && /"(class_type|positive_prompt|base_model|Base Model|request)"/.test(text));

function insertPlain(field, text) {
  field.focus();
  field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

async function pasted(event) {
  const data = event.clipboardData;
  const field = event.target.closest ? event.target.closest("#prompt textarea") : null;
  if (!data || document.querySelector("dialog[open]")) return;
  const picture = [...data.files].find(isPicture);
  const text = data.getData("text/plain");
  if (picture && !text) { event.preventDefault(); fromFile(picture); return; }
  if (!field || !looksWritten(text)) return;
  event.preventDefault();
  if (!(await fromText(text))) insertPlain(field, text);
}

function takeDrop(event, own) {
  const files = [...event.dataTransfer.files];
  const picture = files.find((file) => isPicture(file) || /\.(txt|json)$/i.test(file.name));
  // A picture of the page itself that was only shifted a little is none that somebody means.
  if (!picture || (own && !event.target.closest("#form"))) return;
  // In the library a picture may be an embedding.
  fromFile(picture, event.target.closest("[data-panel=library]") ? (file) => takeEmbeddings([file]) : null);
}

export function installDoors() {
  let own = false;
  let depth = 0;
  const veil = h("div.veil", { "aria-hidden": "true", hidden: true }, h("span", {}, icon("picture"), h("b", {})));
  const hide = () => { depth = 0; veil.hidden = true; };
  document.body.append(veil);
  document.addEventListener("dragstart", () => { own = true; });
  document.addEventListener("dragend", () => { own = false; hide(); });
  window.addEventListener("dragenter", (event) => {
    depth += 1;
    const picture = [...(event.dataTransfer ? event.dataTransfer.items : [])].some(({ type }) => type.startsWith("image/"));
    set(veil.querySelector("b"), { text: t("recall.veil") });
    if (picture && !own && !event.target.closest?.(".dropzone")) veil.hidden = false;
  });
  window.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) hide(); });
  // A file that misses its target must not replace the page.
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    hide();
    const taken = event.defaultPrevented;
    event.preventDefault();
    if (!taken && event.dataTransfer) takeDrop(event, own);
    own = false;
  });
  document.addEventListener("paste", pasted);
}
