// The head of the page: name, what runs, the base, language and theme.
import { button, h, icon, set } from "./dom.js";
import { on } from "./bus.js";
import { chooseBase } from "./bases.js";
import { world } from "./server.js";
import { attempt } from "./toast.js";
import { about, choose, has, language, many, percent, t } from "./text.js";
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
