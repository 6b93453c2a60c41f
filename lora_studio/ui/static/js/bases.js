// The base chooser: what is loaded and how it is read, files of the operator's folder, and any other by its name.
import { button, h, set, uid } from "./dom.js";
import { on } from "./bus.js";
import { call, hurry, watch, world } from "./server.js";
import { open } from "./dialog.js";
import { Fields } from "./fields.js";
import { tell } from "./toast.js";
import { many, sentence, t } from "./text.js";
import * as progress from "./progress.js";

const SHOWN = 200;

export async function chooseBase() {
  let offered = { folder: null, files: [], form: [] };
  try { offered = await call("bases", {}); } catch { /* the rest of the chooser works without a list */ }
  const field = h("input.field", { type: "text", id: "base-ref", autocomplete: "off", spellcheck: false, "aria-describedby": "base-hint" });
  const news = h("p.hint", { id: "base-news", role: "status" });
  const wrong = h("p.wrong", { role: "alert", hidden: true });
  const bar = progress.bar(t("base.loading"));
  bar.element.hidden = true;
  const reading = { prediction_type: "auto", zero_terminal_snr: "auto" };
  const fields = new Fields(offered.form, { order: ["prediction_type", "zero_terminal_snr"], place: "b", changed: (name, value) => { reading[name] = value; } });
  fields.show(reading);
  const loaded = (world.hello || {}).base;
  if (loaded && loaded.ref !== "embedded") field.value = loaded.ref; // so that it can be loaded again, read otherwise
  let waits = null;
  const ask = async (ref) => {
    set(wrong, { hidden: true, text: "" });
    const job = uid();
    try {
      await call("load_base", { job, base: ref, ...reading });
      waits = job;
      watch(job);
      follow();
    } catch (error) { fail(error); }
  };
  const fail = (error) => {
    if (!fields.fail(error)) { set(wrong, { hidden: false, text: sentence(error) }); wrong.scrollIntoView({ block: "nearest" }); }
  };
  const follow = () => {
    if (!waits) return;
    const job = world.jobs[waits];
    if (!job) return;
    const others = ((world.info || {}).running || []).filter((told) => told.kind !== "load_base").length;
    bar.element.hidden = false;
    progress.draw(bar, job.state === "queued" ? { ...job, ahead: 0 } : job);
    set(news, { text: job.state === "queued" && others ? many("base.waits", others) : t("base.loading") });
    set(bar.words, { text: "" });
  };
  const offs = [on("job", follow), on("info", follow), on("ended", (job) => {
    if (job.id !== waits) return;
    waits = null;
    bar.element.hidden = true;
    set(news, { text: "" });
    if (job.state === "done") { tell(t("base.loaded", { name: ((job.result || {}).base || {}).title || "" })); dialog.close(); }
    else if (job.error) fail(job.error);
    hurry();
  })];
  const dialog = open(t("base.title"), [
    now(loaded),
    h("p", {}, t("base.explain")),
    h("div.choices", {}, button("quiet.wide", { sign: "box", text: t("base.embedded"), onclick: () => ask("embedded") })),
    h("details.more", {}, h("summary", {}, t("base.reading")), h("p.hint", {}, t("base.reading_hint")), fields.element),
    files(offered, ask),
    h("form", { onsubmit: (event) => { event.preventDefault(); ask(field.value); } },
      h("label.stacked", { htmlFor: "base-ref" }, h("span", {}, t("base.other")), field),
      h("p.hint", { id: "base-hint" }, t("base.examples")),
      h("button.primary", { type: "submit" }, t("base.load"))),
    wrong, news, bar.element,
  ], { onclose: () => offs.forEach((off) => off()) });
}

// What is loaded: title, family, prediction type, and what was found out or assumed of it.
function now(info) {
  if (!info) return null;
  const device = ((world.info || {}).device || {}).name || "";
  const kind = t(info.zero_terminal_snr ? "base.kind_zero" : "base.kind", { family: info.family, prediction: info.prediction_type });
  return h("div.base-now", {},
    h("p.meta", {}, t("base.now", { name: info.title, n: (info.parameters / 1e6).toFixed(0), device })),
    h("p.meta", {}, kind),
    (info.remarks || []).filter((told) => told.code !== "base_prediction_config").map((told) => h("p.hint", {}, sentence(told))));
}

// The files of the operator's folder, narrowed by typing where there are many.
function files(offered, ask) {
  if (!offered.folder) return null;
  if (!offered.files.length) return h("p.hint", {}, t("base.folder_empty", { folder: offered.folder }));
  const list = h("div.base-files", { role: "group", "aria-label": t("base.files") });
  const search = h("input.field", { type: "search", "aria-label": t("base.search"), placeholder: t("base.search") });
  const draw = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = offered.files.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)));
    list.replaceChildren(
      ...found.slice(0, SHOWN).map(({ name, size }) => h("button.quiet.base-file", { type: "button", onclick: () => ask(name) },
        h("span", {}, name), h("small", {}, size < 1e9 ? t("base.size_mb", { mb: (size / 1e6).toFixed(0) }) : t("base.size", { gb: (size / 1e9).toFixed(1) })))),
      ...(found.length ? [] : [h("p.hint", {}, t("base.no_file"))]));
  };
  search.addEventListener("input", draw);
  draw();
  return h("section", {}, h("h3", {}, t("base.files")), offered.files.length > 8 ? search : null, list);
}
