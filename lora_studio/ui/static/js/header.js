// The head of the page: name, what runs, the base, language and theme.
import { button, h, icon, set, uid } from "./dom.js";
import { on } from "./bus.js";
import { call, hurry, watch, world } from "./server.js";
import { open } from "./dialog.js";
import { attempt, tell } from "./toast.js";
import { about, choose, has, language, many, percent, sentence, t } from "./text.js";
import * as progress from "./progress.js";

export function header(panel) {
  const strip = h("p.strip", { role: "status", "aria-live": "polite" }, h("span.dot", { "aria-hidden": "true" }), h("span.words", {}));
  const base = button("quiet.base", { sign: "box", text: "", onclick: chooseBase });
  const lang = button("quiet.square.lang", { text: "", onclick: () => attempt(() => choose(language() === "en" ? "zh" : "en")) });
  const theme = button("ghost.square.theme", { sign: "moon", label: " ", onclick: flip });
  panel.append(h("header.masthead", { role: "banner" }, h("div.brand", {}, mark(), h("h1", {}, "LoRA Studio")), strip, h("div.tools", {}, base, lang, theme)));

  const draw = () => {
    drawStrip(strip);
    const title = ((world.info || {}).base || (world.hello || {}).base || {}).title;
    set(base.lastElementChild, { text: title || t("base.none") });
    set(base, { "aria-label": t("base.button", { name: title || t("base.none") }), title: t("base.button", { name: title || t("base.none") }) });
    set(lang.lastElementChild, { text: language() === "en" ? "中文" : "EN" });
    set(lang, { "aria-label": language() === "en" ? "切换到中文" : "Switch to English", title: language() === "en" ? "切换到中文" : "Switch to English", lang: language() === "en" ? "zh-CN" : "en" });
    const dark = document.documentElement.dataset.theme === "dark";
    set(theme, { "aria-label": t(dark ? "theme.light" : "theme.dark"), title: t(dark ? "theme.light" : "theme.dark") });
    if (theme.dataset.sign !== String(dark)) { theme.dataset.sign = String(dark); theme.replaceChildren(icon(dark ? "sun" : "moon")); }
  };
  for (const name of ["info", "job", "language", "hello", "online", "theme"]) on(name, draw);
  document.addEventListener("studio-theme", draw);
  document.body.classList.toggle("dark", document.documentElement.dataset.theme === "dark");
  draw();
}

function mark() {
  const sign = h("span.logo", { "aria-hidden": "true" });
  sign.append(h("i", {}), h("i", {}), h("i", {}));
  return sign;
}

function flip() {
  const dark = document.documentElement.dataset.theme !== "dark";
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  document.body.classList.toggle("dark", dark);
  try { localStorage.setItem("studio.theme", dark ? "dark" : "light"); } catch { /* private windows keep nothing */ }
  document.dispatchEvent(new Event("studio-theme"));
}

function drawStrip(strip) {
  const { info, online } = world;
  let kind = "calm";
  let text = "";
  if (!online) { kind = "bad"; text = t("strip.offline"); }
  else if (!info) text = t("strip.hello");
  else {
    if (info.running.length || info.waiting) kind = "busy";
    const parts = info.running.map(runningWords);
    if (info.loading && !parts.length) parts.push(t("strip.loading", { name: info.loading }));
    if (info.waiting) parts.push(many("strip.waiting", info.waiting));
    text = parts.length ? parts.join(" · ") : t("strip.idle");
  }
  set(strip, { "data-kind": kind });
  set(strip.lastElementChild, { text });
}

function runningWords(told) {
  const who = told.mine ? "mine" : "other";
  const key = `strip.${told.kind}.${who}`;
  let text = t(has(key) ? key : `strip.${told.kind}.other`, { name: told.name || "" });
  const job = told.job && world.jobs[told.job];
  const done = job && progress.share(job);
  if (done) text += ` ${percent(done)}`;
  if (job && job.kind === "train" && job.progress && job.progress.seconds_left) text += ` · ${about(job.progress.seconds_left)}`;
  return text;
}

// ------------------------------------------------------------ choosing a base
function chooseBase() {
  const field = h("input.field", { type: "text", id: "base-ref", autocomplete: "off", spellcheck: false, "aria-describedby": "base-news" });
  const news = h("p.hint", { id: "base-news", role: "status" });
  const wrong = h("p.wrong", { role: "alert", hidden: true });
  const bar = progress.bar(t("base.loading"));
  bar.element.hidden = true;
  let waits = null;
  const ask = async (ref) => {
    set(wrong, { hidden: true, text: "" });
    const job = uid();
    try {
      await call("load_base", { job, base: ref });
      waits = job;
      watch(job);
      follow();
    } catch (error) { set(wrong, { hidden: false, text: sentence(error) }); }
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
    else if (job.error) set(wrong, { hidden: false, text: sentence(job.error) });
    hurry();
  })];
  const info = (world.hello || {}).base;
  const dialog = open(t("base.title"), [
    info ? h("p.meta", {}, t("base.now", { name: info.title, n: (info.parameters / 1e6).toFixed(0), device: ((world.info || {}).device || {}).name || "" })) : null,
    h("p", {}, t("base.explain")),
    h("div.choices", {}, button("quiet.wide", { sign: "box", text: t("base.embedded"), onclick: () => ask("embedded") })),
    h("form", { onsubmit: (event) => { event.preventDefault(); ask(field.value); } },
      h("label.stacked", { htmlFor: "base-ref" }, h("span", {}, t("base.other")), field),
      h("p.hint", {}, t("base.examples")),
      h("button.primary", { type: "submit" }, t("base.load"))),
    wrong, news, bar.element,
  ], { onclose: () => offs.forEach((off) => off()) });
}
