// Step 2: a card per picture with its caption, saved at each edit; find and replace; the trigger word.
import { debounce, h, reconcile, set } from "./dom.js";
import { on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { call } from "./server.js";
import { sets, show } from "./sets.js";
import { thumbUrl } from "./pictures.js";
import { attempt, complain, tell } from "./toast.js";
import { walk } from "./train.js";
import { many, t } from "./text.js";

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
  const submit = async (event) => {
    event.preventDefault();
    const answer = await attempt(() => call("replace_captions", { set: sets.current.id, find: find.value, replace: replace.value }));
    if (answer) { show(answer.set); tell(many("captions.changed", answer.changed)); }
  };
  return h("div.caption-tools", {},
    h("div.entry", {}, h("label", { htmlFor: "trigger" }, t("field.trigger")), trigger, h("p.hint", {}, t("captions.trigger_hint"))),
    h("form.entry", { onsubmit: submit }, h("span.label", {}, t("captions.find_replace")),
      h("div.line", {}, find, replace, h("button.quiet", { type: "submit" }, t("captions.replace_all")))));
}

function makeCard(item, state) {
  const field = h("textarea.field", { rows: 3, value: item.caption, spellcheck: false });
  const id = sets.current.id;
  let saved = item.caption;
  const save = debounce(400, async () => {
    if (field.value === saved) return;
    const text = field.value;
    try {
      await call("caption", { set: id, sha256: item.sha256, caption: text });
      saved = text;
      set(state, { text: t("captions.saved") });
    } catch (error) { complain(error); }
  });
  field.addEventListener("input", () => {
    const mine = sets.current.items.find((one) => one.sha256 === item.sha256);
    if (mine) mine.caption = field.value;
    set(state, { text: t("captions.saving") });
    keep();
    save();
  });
  field.addEventListener("blur", () => save.now());
  return h("div.caption-card", {}, h("img", { src: thumbUrl(item.sha256), alt: "", loading: "lazy" }), field);
}

function drawCard(card, item) {
  const field = card.lastElementChild;
  set(field, { "aria-label": t("captions.of", { name: item.source }), placeholder: t("captions.placeholder") });
  if (field !== document.activeElement && field.value !== item.caption) field.value = item.caption;
}

