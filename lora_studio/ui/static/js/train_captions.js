// Step 2: a card per picture with its caption, saved at each edit; find and replace; the trigger word.
import { hold } from "./autosave.js";
import { debounce, h, reconcile, set } from "./dom.js";
import { on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { call } from "./server.js";
import { sets, show } from "./sets.js";
import { thumbUrl } from "./pictures.js";
import { attempt, complain, offerUndo, tell } from "./toast.js";
import { walk } from "./train.js";
import { many, t } from "./text.js";

const PART = 200_000; // characters of captions in one call, which may hold a million bytes

export function captionsStep(room) {
  const cards = h("div.captions", {});
  const state = h("p.hint.saved", { role: "status" });
  const need = h("p.hint.need", {});
  const next = h("button.primary", { type: "button", onclick: () => walk("recipe") }, t("next.recipe"));
  room.append(
    h("p.explain", {}, t("captions.explain")), tools(), state, cards,
    h("footer.next", {}, need, next));
  const draw = () => {
    if (!sets.current) return;
    reconcile(cards, sets.current.items, { key: (item) => item.sha256, make: (item) => makeCard(item, state), update: drawCard });
    const bare = sets.current.items.filter((item) => !item.caption).length;
    set(need, { text: bare && !draft.train.form.trigger ? many("need.captions", bare) : "" });
  };
  const offs = [on("set", draw), on("draft", draw)];
  draw();
  return { close: () => { document.activeElement.blur(); offs.forEach((off) => off()); } };
}

function tools() {
  const trigger = h("input.field", { type: "text", id: "trigger", value: draft.train.form.trigger || "", autocomplete: "off", spellcheck: false });
  trigger.addEventListener("input", () => { draft.train.form.trigger = trigger.value; keep(); });
  const find = h("input.field", { type: "text", "aria-label": t("captions.find"), placeholder: t("captions.find") });
  const replace = h("input.field", { type: "text", "aria-label": t("captions.replace"), placeholder: t("captions.replace") });
  let busy = false; // a second click would replace in what the first has made
  const submit = async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    try { await replaceAll(sets.current.id, find.value, replace.value); } finally { busy = false; }
  };
  return h("div.caption-tools", {},
    h("div.entry", {}, h("label", { htmlFor: "trigger" }, t("field.trigger")), trigger, h("p.hint", {}, t("captions.trigger_hint"))),
    h("form.entry", { onsubmit: submit }, h("span.label", {}, t("captions.find_replace")),
      h("div.line", {}, find, replace, h("button.quiet", { type: "submit" }, t("captions.replace_all")))));
}

// ------------------------------------------------------------ find and replace, and back
async function replaceAll(id, find, replace) {
  await settled();
  const answer = await attempt(() => call("replace_captions", { set: id, find, replace }));
  if (!answer) return;
  take(id, answer);
  const words = many("captions.changed", answer.changed);
  if (answer.changed) offerUndo(words, () => attempt(() => putBack(id, answer.undo)));
  else tell(words);
}

async function putBack(id, undo) {
  await settled();
  let restored = 0;
  for (const part of parts(Object.entries(undo))) {
    const answer = await call("restore_captions", { set: id, undo: Object.fromEntries(part) });
    restored += answer.restored;
    take(id, answer);
  }
  tell(many("captions.restored", restored));
}

// Pieces that a call can hold.
function parts(changes) {
  const made = [[]];
  let room = PART;
  for (const change of changes) {
    const size = 100 + change[1].join("").length;
    if (size > room && made[made.length - 1].length) { made.push([]); room = PART; }
    made[made.length - 1].push(change);
    room -= size;
  }
  return made;
}

function take(id, answer) {
  if (sets.current && sets.current.id === id) show(answer.set);
}

// ------------------------------------------------------------ captions on their way to the server
// One save of a caption at a time: of two at once the older one might arrive last. What is typed meanwhile goes next.
const sending = new Map(); // by set and picture: the newest text, and the promise that it is saved

const keyOf = (id, sha256) => `${id} ${sha256}`;
export const settled = () => Promise.allSettled([...sending.values()].map(({ done }) => done));

// True where the newest text is saved in the end; what went wrong is said.
function save(id, sha256, text) {
  const running = sending.get(keyOf(id, sha256));
  if (running) { running.text = text; return running.done; }
  const one = { text };
  sending.set(keyOf(id, sha256), one);
  one.done = hold(deliver(id, sha256, one));
  return one.done;
}

async function deliver(id, sha256, one) {
  for (;;) {
    const { text } = one;
    let problem = null;
    try { await call("caption", { set: id, sha256, caption: text }); } catch (error) { problem = error; }
    if (text !== one.text) continue;
    sending.delete(keyOf(id, sha256));
    if (problem) complain(problem);
    else note(id, sha256, text);
    return !problem;
  }
}

// An answer that was on its way while a caption was saved brought the set without it.
function note(id, sha256, text) {
  const mine = sets.current && sets.current.id === id && sets.current.items.find((one) => one.sha256 === sha256);
  if (mine) mine.caption = text;
}

// ------------------------------------------------------------ cards
function makeCard(item, state) {
  const field = h("textarea.field", { rows: 3, value: item.caption, spellcheck: false });
  const id = sets.current.id;
  let typed = false;
  const send = debounce(400, async () => {
    if (!typed) return;
    typed = false;
    const saved = await save(id, item.sha256, field.value);
    if (!saved) typed = true;
    if (!sending.size) set(state, { text: saved ? t("captions.saved") : "" });
  });
  field.addEventListener("input", () => {
    typed = true;
    note(id, item.sha256, field.value);
    set(state, { text: t("captions.saving") });
    keep();
    send();
  });
  field.addEventListener("blur", () => send.now());
  return h("div.caption-card", {}, h("img", { src: thumbUrl(item.sha256), alt: "", loading: "lazy" }), field);
}

function drawCard(card, item) {
  const field = card.lastElementChild;
  set(field, { "aria-label": t("captions.of", { name: item.source }), placeholder: t("captions.placeholder") });
  const mine = field === document.activeElement || sending.has(keyOf(sets.current.id, item.sha256));
  if (!mine && field.value !== item.caption) field.value = item.caption;
}
