// What is understood of the two texts, shown under them while they are typed. Asked after a pause; the last answer wins.
import { button, debounce, h, icon, set } from "./dom.js";
import { emit, on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { call } from "./server.js";
import { values } from "./settings.js";
import { chooseStyles, styleChips } from "./styles.js";
import { copyWithTags } from "./tags.js";
import { reading } from "./reading.js";
import { write } from "./prompt.js";
import { many, sentence, t } from "./text.js";

const PAUSE = 300;
const FULL_WIDTH = /[（）［］：｜，＜＞＃＼]/g;
const PILLS = 6;

let told = null; // the last answer
let problem = null; // or why there is none
let toldOf = ""; // the question that it answers
let busy = false;
let pending = false; // something else than the texts has changed meanwhile

const question = () => {
  const { num_inference_steps: typed, emphasis = "original", old_scheduling: old = false } = values();
  const steps = Number.isInteger(Number(typed)) ? Number(typed) : null;
  return { prompt: draft.prompt, negative: draft.negative, styles: draft.styles, steps, emphasis, old_scheduling: old };
};

async function ask(again = false) {
  const asked = question();
  const key = JSON.stringify(asked);
  pending = pending || (busy && again);
  if (busy || (key === toldOf && !again)) return;
  busy = true;
  pending = false;
  let answer = null;
  let failure = null;
  try { answer = await call("explain", asked, 1); } catch (error) {
    if (!error.code) throw error;
    failure = error;
  } finally { busy = false; }
  if (failure && failure.code === "offline") return; // asked again when there is a connection
  if (pending || JSON.stringify(question()) !== key) { ask(true); return; } // more was typed meanwhile
  toldOf = key;
  told = answer;
  problem = failure;
  emit("read");
  if (answer) emit("explained", answer);
}

const later = debounce(PAUSE, ask);
on("draft", (what) => { if (["prompt", "negative", "form", "styles"].includes(what)) later(); });
document.addEventListener("focusout", (event) => { if (event.target.closest && event.target.closest("#prompt, #negative")) later.now(); });
for (const name of ["library", "base", "ready"]) on(name, () => ask(true));
on("online", (now) => { if (now) ask(true); });
let loading = null;
on("info", (info) => { if (info.loading !== loading) { loading = info.loading; ask(true); } });

// ------------------------------------------------------------ the panels
export const explainPrompt = (panel) => view(panel, "prompt", [
  button("ghost.small", { sign: "brush", text: "", onclick: chooseStyles }),
  button("ghost.small", { sign: "copy", text: "", onclick: copyWithTags }),
]);

export const explainNegative = (panel) => view(panel, "negative", []);

function view(panel, name, tools) {
  const pills = h("span.pills", {});
  const title = h("span.what", {});
  const toggle = h("button.ghost.small.disclose", { type: "button" }, icon("right"), title, pills);
  const body = h("div.reading", { id: `reading-${name}` });
  const wide = h("p.hint.fullwidth", { hidden: true });
  const row = h("div.readrow", {}, toggle, tools.length ? h("span.prompttools", { role: "group" }, tools) : null);
  panel.append(h("section.understood", {}, wide, tools.length ? styleChips() : null, row, body));
  const open = () => Boolean(draft.explain[name]);
  toggle.setAttribute("aria-controls", body.id);
  toggle.addEventListener("click", () => { keep({ explain: { ...draft.explain, [name]: !open() } }); draw(); });

  const draw = () => {
    const found = told && told[name];
    const empty = !draft[name].trim() && !(name === "prompt" && draft.styles.length);
    if (name === "negative") row.hidden = body.hidden = empty;
    set(title, { text: t(name === "prompt" ? "explain.title" : "explain.title_negative") });
    set(toggle, { "aria-expanded": String(open()) });
    tools.forEach((tool, index) => set(tool.lastElementChild, { text: t(index ? "tools.copy" : "styles.title") }));
    if (tools.length) set(row.lastElementChild, { "aria-label": t("tools.label") });
    pills.replaceChildren(...(found && !empty ? counters(found) : []));
    drawWide(wide, name);
    body.hidden = !open() || (name === "negative" && empty);
    if (!body.hidden) body.replaceChildren(...content(found, empty, name));
  };
  for (const event of ["read", "language", "library"]) on(event, draw);
  on("draft", (what) => { if (what === name) drawWide(wide, name); });
  draw();
}

function content(found, empty, name) {
  if (problem) return [h("p.wrong", { role: "alert" }, sentence(problem))];
  if (empty || !found) return [h("p.hint", {}, t("explain.nothing"))];
  return reading(found, told, (place) => point(name, place));
}

// The counter is that of the longest text, as A1111's is.
function counters(found) {
  const texts = found.parts.flatMap(({ texts }) => texts).filter(({ chunks }) => chunks);
  const longest = texts.reduce((most, text) => (!most || text.token_count > most.token_count ? text : most), null);
  const remarks = found.warnings.filter(({ code }) => code !== "full_width").length;
  return [
    longest ? h("span.sr", {}, many("explain.tokens", longest.token_count)) : null,
    ...(longest ? longest.chunks.slice(0, PILLS).map(({ count, size }) => h("span.pill", { "aria-hidden": "true" }, `${count}/${size}`)) : []),
    longest && longest.chunks.length > PILLS ? h("span.pill", { "aria-hidden": "true" }, `+${longest.chunks.length - PILLS}`) : null,
    remarks ? h("span.pill.warned", {}, icon("warn"), many("explain.remarks", remarks)) : null,
  ].filter(Boolean);
}

// Selects a place of the text, so that it is seen where it stands. Places count characters, a field counts UTF-16.
function point(name, [start, end]) {
  const field = document.querySelector(`#${name} textarea`);
  const characters = [...field.value];
  const units = (count) => characters.slice(0, count).join("").length;
  field.focus();
  field.setSelectionRange(units(start), units(end));
}

function drawWide(line, name) {
  const found = [...new Set(draft[name].match(FULL_WIDTH) || [])];
  line.hidden = found.length === 0;
  if (line.hidden) return;
  line.replaceChildren(h("span", {}, t("fullwidth.found", { characters: found.join(" ") })), button("quiet.small", {
    text: t("fullwidth.convert"),
    onclick: () => write(name, draft[name].replace(FULL_WIDTH, (sign) => String.fromCharCode(sign.charCodeAt(0) - 0xfee0))),
  }));
}
