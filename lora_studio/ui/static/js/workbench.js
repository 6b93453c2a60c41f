// The workbench of one LoRA: a dialog with a tool on each tab. Every tool is a job; its result enters the library.
import { button, h, set, uid } from "./dom.js";
import { on } from "./bus.js";
import { open } from "./dialog.js";
import { loadLibrary, shelf } from "./library_data.js";
import { bar, draw as drawBar } from "./progress.js";
import { call, watch } from "./server.js";
import { sentence, t } from "./text.js";
import { madeView, overlapView, reportView } from "./workbench_report.js";

const LAYOUTS = ["kohya", "diffusers", "peft"];
const DTYPES = ["float16", "bfloat16", "float32"];
const RULES = ["rank", "sv_fro", "sv_ratio", "sv_cumulative"];
const METHODS = ["cat", "svd", "linear", "ties", "ties_svd", "dare_linear", "dare_linear_svd", "dare_ties", "dare_ties_svd", "magnitude_prune", "magnitude_prune_svd"];

// The button on a card.
export const benchButton = (entry) =>
  button("ghost.square", { sign: "wave", label: t("bench.open", { name: entry.name }), onclick: () => openBench(entry) });

export function openBench(entry) {
  const tools = { inspect, convert, resize, combine, meta };
  const pane = h("div.bench-pane", { id: "bench-pane", role: "tabpanel" });
  const tabs = Object.keys(tools).map((name) => h("button.ghost", {
    type: "button", role: "tab", id: `bench-${name}`, "aria-controls": "bench-pane", onclick: () => show(name),
  }, t(`bench.${name}`)));
  const list = h("div.bench-tabs", { role: "tablist", "aria-label": t("bench.tools") }, tabs);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  let leave = () => {};
  const show = (name) => {
    leave();
    for (const tab of tabs) set(tab, { "aria-selected": tab.id === `bench-${name}`, tabindex: tab.id === `bench-${name}` ? 0 : -1 });
    set(pane, { "aria-labelledby": `bench-${name}` });
    const runner = new Runner();
    leave = () => runner.leave();
    pane.replaceChildren(...[tools[name](entry, runner)].flat());
  };
  const dialog = open(t("bench.title", { name: entry.name }), [list, pane], { wide: true, onclose: () => leave() });
  dialog.classList.add("bench");
  show("inspect");
  tabs[0].focus();
}

// One job at a time with its bar, and what went wrong beneath it.
class Runner {
  constructor() {
    this.bar = bar(t("bench.tools"));
    this.stopper = button("quiet.small", { sign: "stop", text: t("bench.stop"), onclick: () => call("stop", { job: this.job }).catch(() => {}) });
    this.wrong = h("p.wrong", { role: "alert", hidden: true });
    this.row = h("div.bench-run", { hidden: true }, this.bar.element, this.stopper);
    this.element = h("div", {}, this.row, this.wrong);
    this.job = null;
    this.off = [];
  }

  leave() {
    for (const off of this.off.splice(0)) off();
    if (this.job) call("stop", { job: this.job }).catch(() => {});
    this.job = null;
  }

  async run(tool, request, name = "") {
    this.leave();
    const job = this.job = uid();
    set(this.wrong, { hidden: true });
    set(this.row, { hidden: false });
    drawBar(this.bar, null);
    const ended = new Promise((done) => {
      this.off.push(on("job", (news) => { if (news.id === job) drawBar(this.bar, news); }));
      this.off.push(on("ended", (over) => { if (over.id === job) done(over); }));
    });
    try {
      await call("workbench", { tool, request, job, name });
      watch(job);
      const over = await ended;
      if (this.job !== job) return null;
      this.finish();
      if (over.state === "failed") throw over.error;
      if (over.state !== "done") return null;
      if (over.result.adapter) await loadLibrary();
      return over.result;
    } catch (error) {
      if (!error || !error.code) throw error;
      this.finish();
      set(this.wrong, { text: sentence(error), hidden: false });
      return null;
    }
  }

  finish() {
    for (const off of this.off.splice(0)) off();
    this.job = null;
    set(this.row, { hidden: true });
  }
}

// ------------------------------------------------------------ parts of forms
const labelled = (label, field) => h("label.stacked", {}, h("span", {}, label), field);
const select = (choices, words) => h("select.field", {}, choices.map((value) => h("option", { value }, words(value))));
const inputOf = (value, mode = "decimal") => h("input.field", { type: "text", inputMode: mode, autocomplete: "off", value });
const numeric = (field) => (field.value.trim() === "" ? null : Number(field.value.trim().replace(",", ".")));
const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
const others = (entry) => shelf.adapters.filter((other) => other.sha256 !== entry.sha256);
const suffixed = (entry, words) => `${entry.name} ${words}`.slice(0, 200);

function chooseOther(entry, first) {
  const field = h("select.field", {}, first, others(entry).map((other) => h("option", { value: other.sha256 }, other.name)));
  return field;
}

// Layout, number format and the name in the library.
function outcome(entry, words) {
  const to = select(LAYOUTS, (value) => t(`bench.to.${value}`));
  const dtype = select(DTYPES, (value) => value);
  const name = h("input.field", { type: "text", maxLength: 200, value: suffixed(entry, words) });
  return {
    row: h("div.bench-row", {}, labelled(t("bench.to"), to), labelled(t("bench.dtype"), dtype), labelled(t("bench.name"), name)),
    request: () => ({ to: to.value, dtype: dtype.value }),
    name: () => name.value.trim(),
  };
}

// A form that makes a file: its fields, a button, the job, what came of it.
function maker(entry, runner, tool, rows, words, ask) {
  const out = outcome(entry, words);
  const made = h("div", {});
  const verb = h("button.primary", { type: "submit" }, t("bench.run"));
  const submit = async (event) => {
    event.preventDefault();
    made.replaceChildren();
    set(verb, { disabled: true });
    const result = await runner.run(tool, { ...ask(), ...out.request() }, out.name());
    set(verb, { disabled: false });
    if (result) made.replaceChildren(madeView(result, out.name() || entry.name));
  };
  return [h("form", { onsubmit: submit }, rows, out.row, h("div.bench-run", {}, verb)), runner.element, made];
}

// ------------------------------------------------------------ the tools
function inspect(entry, runner) {
  const second = chooseOther(entry, h("option", { value: "" }, t("bench.nobody")));
  const found = h("div.bench-pane", {});
  const look = async () => {
    const result = await runner.run("inspect", { file: entry.sha256, other: second.value, details: true });
    if (!result) return;
    const name = second.options[second.selectedIndex].textContent;
    found.replaceChildren(...[result.overlap ? overlapView(result.overlap, name) : null, reportView(result)].flat(3).filter(Boolean));
  };
  second.addEventListener("change", look);
  look();
  return [h("div.bench-row", {}, labelled(t("bench.compare"), second)), runner.element, found];
}

const convert = (entry, runner) => maker(entry, runner, "convert", [], t("bench.convert").toLowerCase(), () => ({ file: entry.sha256 }));

function resize(entry, runner) {
  const rule = select(RULES, (value) => t(`bench.rule.${value}`));
  const fields = { rank: inputOf(String(Math.max(1, Math.floor((entry.rank || 8) / 2))), "numeric"), conv_rank: inputOf("", "numeric"), value: inputOf("0.95") };
  const value = labelled(t("bench.value"), fields.value);
  const adapt = () => {
    set(value, { hidden: rule.value === "rank" });
    fields.value.value = rule.value === "sv_ratio" ? "10" : "0.95";
  };
  rule.addEventListener("change", adapt);
  adapt();
  const ask = () => {
    const energy = rule.value === "rank" ? {} : { [rule.value]: numeric(fields.value) };
    return { file: entry.sha256, rule: given({ rank: numeric(fields.rank), conv_rank: numeric(fields.conv_rank), ...energy }) };
  };
  const row = h("div.bench-row", {}, labelled(t("bench.rule"), rule), value, labelled(t("bench.rank"), fields.rank), labelled(t("bench.conv_rank"), fields.conv_rank));
  return maker(entry, runner, "resize", [row], t("bench.resize").toLowerCase(), ask);
}

function combine(entry, runner) {
  if (!others(entry).length) return [h("p.hint", {}, t("bench.alone"))];
  const second = chooseOther(entry, null);
  const weights = [inputOf("1"), inputOf("1")];
  const method = select(METHODS, (value) => value);
  const rank = inputOf("", "numeric");
  const density = inputOf("0.5");
  const shown = [labelled(t("bench.rank"), rank), labelled(t("bench.density"), density)];
  const adapt = () => {
    set(shown[0], { hidden: !method.value.endsWith("svd") });
    set(shown[1], { hidden: ["cat", "svd", "linear"].includes(method.value) });
  };
  method.addEventListener("change", adapt);
  adapt();
  const ask = () => ({
    parts: [{ file: entry.sha256, weight: numeric(weights[0]) }, { file: second.value, weight: numeric(weights[1]) }],
    method: method.value,
    ...given({ rank: method.value.endsWith("svd") ? numeric(rank) : null, density: numeric(density) }),
  });
  const rows = [
    h("div.bench-row", {}, labelled(t("bench.weight_own"), weights[0]), labelled(t("bench.other"), second), labelled(t("bench.weight_other"), weights[1])),
    h("div.bench-row", {}, labelled(t("bench.method"), method), shown),
  ];
  return maker(entry, runner, "combine", rows, "+", ask);
}

function meta(entry, runner) {
  const list = h("dl.meta-list", {});
  const made = h("div", {});
  const removed = new Set();
  const key = h("input.field", { type: "text", value: "modelspec.title", spellcheck: false });
  const value = h("input.field", { type: "text", value: "" });
  const tick = (label) => { const box = h("input", { type: "checkbox" }); return { box, row: h("label.tick", {}, box, h("span", {}, label)) }; };
  const strip = tick(t("bench.strip")), hashes = tick(t("bench.hashes")), cover = tick(t("bench.cover"));
  const name = h("input.field", { type: "text", maxLength: 200, value: suffixed(entry, "meta") });
  const request = (write) => ({
    file: entry.sha256, put: key.value.trim() && value.value ? { [key.value.trim()]: value.value } : {}, remove: [...removed],
    strip: strip.box.checked, hashes: hashes.box.checked, thumbnail: cover.box.checked ? entry.cover : "", write,
  });
  const preview = async () => {
    const result = await runner.run("meta", request(false));
    if (result) list.replaceChildren(...rows(result, removed, preview));
    return result;
  };
  const write = async () => {
    made.replaceChildren();
    const result = await runner.run("meta", request(true), name.value.trim());
    if (result) made.replaceChildren(madeView(result, name.value.trim() || entry.name));
  };
  const submit = (event) => { event.preventDefault(); preview(); };
  for (const { box } of [strip, hashes, cover]) box.addEventListener("change", preview);
  preview();
  return [
    h("form", { onsubmit: submit },
      h("div.bench-row", {}, labelled(t("bench.key"), key), labelled(t("bench.new"), value), h("button.quiet", { type: "submit" }, t("bench.preview"))),
      strip.row, hashes.row, entry.cover ? cover.row : null,
      h("div.bench-row", {}, labelled(t("bench.name"), name), button("primary", { text: t("bench.write"), onclick: write }))),
    runner.element, made, list,
  ];
}

// Every key with its value; what would change beside what it was.
function rows(result, removed, again) {
  const changes = new Map(result.changes.map((change) => [change.key, change]));
  const keys = [...new Set([...Object.keys(result.metadata), ...changes.keys()])].sort();
  if (!keys.length) return [h("p.hint", {}, t("bench.no_meta"))];
  return keys.map((key) => {
    const change = changes.get(key);
    const gone = change && change.after === null;
    const short = (text) => (text.startsWith("data:image/jpeg") ? h("img", { src: text, alt: "", width: 64 }) : text.slice(0, 600));
    const toggle = () => { if (!removed.delete(key)) removed.add(key); again(); };
    return h("div", {},
      h("dt", {}, h("span", { className: gone ? "going" : "" }, key), result.private.includes(key) ? h("span.badge", {}, t("bench.private")) : null),
      h("dd", {}, change && change.before !== null ? [h("span.going", {}, short(change.before)), " → "] : null, gone ? t("bench.gone") : short(result.metadata[key])),
      button("ghost.square.small", { sign: removed.has(key) ? "again" : "trash", label: t(removed.has(key) ? "bench.keep" : "bench.remove", { name: key }), onclick: toggle }));
  });
}
