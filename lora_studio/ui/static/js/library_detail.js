// Everything about one LoRA: what a person says of it (to be changed), what is known of the file, what the file says.
import { button, h, icon, set, uid } from "./dom.js";
import { on } from "./bus.js";
import { book } from "./cells.js";
import { open } from "./dialog.js";
import { hindrance, loadLibrary } from "./library_data.js";
import { thumbUrl } from "./pictures.js";
import { call, watch } from "./server.js";
import { attempt, complain, tell } from "./toast.js";
import { bytes, many, number, sentence, t, when } from "./text.js";

export async function detail(entry) {
  const answer = await attempt(() => call("adapter", { sha256: entry.sha256 }));
  if (!answer) return;
  let known = answer.adapter;
  let asked = 0;
  let saving = Promise.resolve();
  // One after the other, so that the last choice is the one that stays.
  const save = (changes) => {
    const mine = asked += 1;
    const next = () => send(changes, () => mine === asked);
    saving = saving.then(next, next);
  };
  const who = person(known, save);
  const facts = h("div.known", {});
  const send = async (changes, isLast) => {
    const wrong = who.element.querySelector(".wrong");
    set(wrong, { hidden: true, text: "" });
    try {
      const { adapter } = await call("edit_adapter", { sha256: known.sha256, changes });
      known = { ...known, ...adapter };
      tell(t("detail.saved", { name: known.name }));
      set(dialog.querySelector("h2"), { text: known.name });
      if (isLast()) who.show(known, changes);
      await loadLibrary();
    } catch (error) {
      if (!error.code) throw error;
      set(wrong, { hidden: false, text: sentence(error) });
      if (isLast()) who.show(known);
    }
  };
  const draw = () => facts.replaceChildren(file(known, check), saying(known));
  const check = async (verb) => {
    const job = uid();
    set(verb, { disabled: true });
    set(verb.lastElementChild, { text: t("detail.checking") });
    try { await call("examine_adapter", { sha256: known.sha256, job }); } catch (error) { complain(error); draw(); return; }
    watch(job);
    const off = on("ended", async (ended) => {
      if (ended.id !== job) return;
      off();
      const now = await attempt(() => call("adapter", { sha256: known.sha256 }));
      if (!now || !dialog.isConnected) return;
      known = now.adapter;
      who.show(known);
      draw();
    });
  };
  draw();
  const dialog = open(known.name, h("div.detail", {}, who.element, facts), { wide: true, keep: who.typed });
}

// ------------------------------------------------------------ what a person says of it
const textsOf = (entry) => ({ name: entry.name, trigger_words: entry.trigger_words.join(", "), recommended_weight: String(entry.recommended_weight), notes: entry.notes });

// Its fields are made once: what is typed and not saved yet stays, whatever else is saved or found out meanwhile.
function person(entry, save) {
  let known = textsOf(entry);
  const fields = {
    name: h("input.field", { type: "text", value: known.name, maxLength: 200 }),
    trigger_words: h("input.field", { type: "text", value: known.trigger_words }),
    recommended_weight: h("input.field", { type: "text", inputMode: "decimal", value: known.recommended_weight }),
    notes: h("textarea.field", { rows: 4, value: known.notes }),
  };
  const look = h("div.look", {});
  const stars = starField(entry.sha256, (n) => save({ stars: n }));
  const changes = () => Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value]).filter(([name, value]) => value !== known[name]));
  const show = (now, saved = {}) => {
    const next = textsOf(now);
    for (const [name, field] of Object.entries(fields)) {
      if ([known[name], saved[name]].includes(field.value) && field.value !== next[name]) field.value = next[name];
    }
    known = next;
    stars.show(now.stars);
    look.replaceChildren(
      now.cover ? h("img.cover", { src: thumbUrl(now.cover, 512), alt: "" }) : h("span.cover.blank", { "aria-hidden": "true" }, icon("layers")),
      button("quiet.small", { sign: "picture", text: t("detail.cover"), onclick: () => chooseCover(now, (cover) => save({ cover })) }));
  };
  const labelled = (key, field, hint) => h("label.stacked", {}, h("span", {}, t(key)), field, hint ? h("span.hint", {}, t(hint)) : null);
  const element = h("div.person", {},
    look,
    h("form", { onsubmit: (event) => { event.preventDefault(); save(changes()); } },
      stars.element,
      labelled("detail.name", fields.name),
      labelled("detail.words", fields.trigger_words, "detail.words_hint"),
      labelled("detail.weight", fields.recommended_weight, "detail.weight_hint"),
      labelled("detail.notes", fields.notes),
      h("p.wrong", { role: "alert", hidden: true }),
      h("footer", {}, h("button.primary", { type: "submit" }, t("detail.save")))));
  show(entry);
  return { element, show, typed: () => Object.keys(changes()).length > 0 };
}

// Stars as radio buttons: arrows choose, 0 is none.
function starField(id, choose) {
  const boxes = [0, 1, 2, 3, 4, 5].map((n) => h("input", { type: "radio", name: `stars-${id}`, value: n, "aria-label": n ? t("library.stars", { n }) : t("detail.no_stars"), onchange: () => choose(n) }));
  const signs = boxes.map((box, n) => h("span", { "aria-hidden": "true" }, n ? "★" : "–"));
  const element = h("fieldset.starfield", {}, h("legend", {}, t("detail.stars")),
    boxes.map((box, n) => h("label.star", { title: n ? t("library.stars", { n }) : t("detail.no_stars") }, box, signs[n])));
  const show = (stars) => boxes.forEach((box, n) => {
    box.checked = n === stars;
    signs[n].classList.toggle("lit", n > 0 && n <= stars);
  });
  return { element, show };
}

// Pictures of the notebook, those first that were made with it.
function chooseCover(entry, choose) {
  const uses = (cell) => (cell.request.adapters || []).some(({ sha256 }) => sha256 === entry.sha256);
  const cells = [...book.cells.filter(uses), ...book.cells.filter((cell) => !uses(cell))];
  const images = cells.flatMap((cell) => cell.images.map((image) => ({ ...image, what: cell.request.prompt }))).slice(0, 60);
  const pick = (cover) => { dialog.close(); choose(cover); };
  const dialog = open(t("detail.cover_title", { name: entry.name }), [
    images.length ? h("div.choices.pictures", {}, images.map((image) => h("button.frame", {
      type: "button", "aria-label": t("detail.cover_choose", { what: image.what }), onclick: () => pick(image.sha256),
    }, h("img", { src: thumbUrl(image.sha256, 256), alt: "", loading: "lazy" })))) : h("p.hint", {}, t("detail.cover_none")),
    entry.cover ? h("footer", {}, button("quiet", { text: t("detail.cover_remove"), onclick: () => pick(null) })) : null,
  ], { wide: true });
}

// ------------------------------------------------------------ what is known of the file
function file(entry, check) {
  const reason = hindrance(entry);
  const warnings = [...entry.warnings, ...((entry.report || {}).warnings || [])];
  const verb = button("quiet.small", { sign: "check", text: t("detail.check"), disabled: entry.missing, onclick: (event) => check(event.currentTarget) });
  return h("section.file", {},
    h("h3", {}, t("detail.file")),
    reason ? h("p.remark.info", {}, icon("warn"), h("span", {}, t(reason.key, reason.values))) : null,
    warnings.map((warning) => h("p.remark.info", {}, icon("warn"), h("span", {}, sentence(warning)))),
    h("dl", {}, rows(entry).filter(([, value]) => value !== null && value !== "").flatMap(([key, value]) => [h("dt", {}, t(key)), h("dd", {}, value)])),
    h("div.check", {}, h("p.hint", {}, t(entry.checked ? "detail.checked" : "detail.unchecked")), entry.checked ? null : verb));
}

function rows(entry) {
  const report = entry.report || {};
  const matched = report.layers_matched;
  const inFile = report.layers_in_file;
  const ignored = Array.isArray(report.ignored) ? report.ignored.length : 0;
  const made = report.text_encoder;
  return [
    ["detail.title", entry.title],
    ["detail.format", report.format || ""],
    ["detail.family", entry.made_for],
    ["detail.rank", span(report.ranks ?? entry.rank)],
    ["detail.alpha", span(report.alphas ?? entry.alpha)],
    ["detail.layers", matched !== undefined && matched !== null
      ? t("detail.layers_matched", { matched: number(matched), file: number(inFile ?? matched), base: number(report.layers_in_base || 0) })
      : inFile ? number(inFile) : null],
    ["detail.ignored", ignored ? many("detail.ignored_layers", ignored) : null],
    ["detail.text_encoder", typeof made === "boolean" ? t(made ? "detail.yes" : "detail.no") : null],
    ["detail.strength", strength(report)],
    ["detail.negative", entry.negative],
    ["detail.licence", entry.licence],
    ["detail.size", bytes(entry.size)],
    ["detail.stem", entry.stem],
    ["detail.place", entry.places.length ? h("span", {}, entry.places.map((place) => h("span.place", {}, place))) : null],
    ["detail.used", entry.used ? when(entry.used) : null],
    ["detail.hash", h("code", {}, entry.sha256)],
  ];
}

// A number, or from the smallest to the largest.
function span(value) {
  if (value === null || value === undefined) return null;
  const [min, max] = Array.isArray(value) ? value : [value, value];
  return min === max ? number(min, 2) : t("detail.range", { min: number(min, 2), max: number(max, 2) });
}

const share = (value) => `${number(100 * value, 1)} %`;

// The size of the change against the base's weights: overall as a number, by block as bars.
function strength(report) {
  const overall = report.strength;
  const listed = Object.entries(report.blocks || {}).filter(([, value]) => typeof value === "number");
  if (typeof overall !== "number" && !listed.length) return null;
  const most = Math.max(...listed.map(([, value]) => value), 1e-9);
  return h("div.strength", { title: t("detail.strength_hint") },
    typeof overall === "number" ? h("span", {}, share(overall)) : null,
    listed.map(([name, value]) => h("span.block", {}, h("span", {}, name), h("span.bar", { "aria-hidden": "true" }, h("span.fill", { style: `width: ${(100 * value) / most}%` })), h("span", {}, share(value)))));
}

// ------------------------------------------------------------ what the file says, as plain text
function saying(entry) {
  const told = Object.entries(entry.metadata);
  return h("details.saying", {}, h("summary", {}, t("detail.metadata")),
    told.length ? h("dl", {}, told.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])) : h("p.hint", {}, t("detail.metadata_none")));
}

