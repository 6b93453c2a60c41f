// The head of the page: name, what runs, the base, language and theme.
import { button, h, icon, set } from "./dom.js";
import { on } from "./bus.js";
import { chooseBase } from "./bases.js";
import { showKeys } from "./keys.js";
import { world } from "./server.js";
import { attempt } from "./toast.js";
import { about, choose, has, language, many, percent, t } from "./text.js";
import * as progress from "./progress.js";

export function header(panel) {
  const strip = h("p.strip", { role: "status", "aria-live": "polite" }, h("span.dot", { "aria-hidden": "true" }), h("span.words", {}));
  const base = button("quiet.base", { sign: "box", text: "", onclick: chooseBase });
  const lang = button("quiet.square.lang", { text: "", onclick: () => attempt(() => choose(language() === "en" ? "zh" : "en")) });
  const help = button("ghost.square.help", { text: "?", label: " ", onclick: showKeys });
  const theme = button("ghost.square.theme", { sign: "moon", label: " ", onclick: flip });
  panel.append(h("header.masthead", { role: "banner" }, h("div.brand", {}, mark(), h("h1", {}, "LoRA Studio")), strip, h("div.tools", {}, base, lang, theme, help)));

  const draw = () => {
    drawStrip(strip);
    const title = ((world.info || {}).base || (world.hello || {}).base || {}).title;
    set(base.lastElementChild, { text: title || t("base.none") });
    set(base, { "aria-label": t("base.button", { name: title || t("base.none") }), title: t("base.button", { name: title || t("base.none") }) });
    set(lang.lastElementChild, { text: language() === "en" ? "中文" : "EN" });
    set(lang, { "aria-label": language() === "en" ? "切换到中文" : "Switch to English", title: language() === "en" ? "切换到中文" : "Switch to English", lang: language() === "en" ? "zh-CN" : "en" });
    set(help, { "aria-label": t("keys.title"), title: t("keys.title") });
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
  let parts = [];
  if (!online) { kind = "bad"; parts = [[t("strip.offline")]]; }
  else if (!info) parts = [[t("strip.hello")]];
  else {
    if (info.running.length || info.waiting) kind = "busy";
    parts = info.running.map((told) => [runningWords(told), figures(told)]);
    if (info.loading && !parts.length) parts.push([t("strip.loading", { name: info.loading })]);
    if (info.waiting) parts.push([many("strip.waiting", info.waiting)]);
    if (!parts.length) parts.push([t("strip.idle")]);
  }
  set(strip, { "data-kind": kind });
  say(strip.lastElementChild, parts);
}

// What is said aloud changes when something else runs. The figures, which change twice a second, are for the eye alone.
function say(line, parts) {
  const said = parts.map(([words]) => words).join(" · ");
  if (line.dataset.said !== said) {
    line.dataset.said = said;
    line.replaceChildren(...parts.flatMap(([words], index) => [index ? " · " : "", words, h("span.figures", { "aria-hidden": "true" })]));
  }
  [...line.querySelectorAll(".figures")].forEach((span, index) => set(span, { text: parts[index][1] || "" }));
}

function runningWords(told) {
  const key = `strip.${told.kind}.${told.mine ? "mine" : "other"}`;
  return t(has(key) ? key : `strip.${told.kind}.other`, { name: told.name || "" });
}

// How far a job of this person is, and how long a training will take.
function figures(told) {
  const job = told.job && world.jobs[told.job];
  const done = job && progress.share(job);
  let text = done ? ` ${percent(done)}` : "";
  if (job && job.kind === "train" && job.progress && job.progress.seconds_left) text += ` · ${about(job.progress.seconds_left)}`;
  return text;
}
