// Words in the chosen language, and numbers and times as that language writes them.
import { emit } from "./bus.js";

let lang = "en";
let table = {};

// Raises an error with `outdated` where the server is of another version by now, which has no file of ours.
export async function load(wanted) {
  const answer = await fetch(new URL(`../strings/${wanted}.json`, import.meta.url));
  if (!answer.ok) throw Object.assign(new Error(`${answer.status}`), { outdated: true });
  table = await answer.json();
  lang = wanted;
  document.documentElement.lang = wanted === "zh" ? "zh-CN" : "en";
}

export async function choose(wanted) {
  try {
    await load(wanted);
  } catch (error) {
    if (!error.outdated) throw Object.assign(error, { code: "offline", values: {} });
    remember(wanted);
    location.reload();
    return;
  }
  remember(wanted);
  emit("language");
}

function remember(wanted) {
  try { localStorage.setItem("studio.lang", wanted); } catch { /* private windows keep nothing */ }
}

export const language = () => lang;
export const has = (key) => key in table;

export function t(key, values = {}) {
  const text = table[key];
  if (text === undefined) return key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// "key.one" where there is exactly one, else "key.many"; both know {n}.
export function many(key, n, values = {}) {
  return t(n === 1 ? `${key}.one` : `${key}.many`, { n: number(n), ...values });
}

const TEXT_FIELDS = ["prompt", "negative_prompt"];

// The forms in which Python says what is allowed (`FieldSpec.allowed`), with their keys.
const FORMS = [[/^one of (.+)$/, "allowed.one_of"], [/^(\S+) to (\S+)$/, "allowed.range"], [/^(\S+) or more$/, "allowed.least"], [/^a list of at most (\S+)$/, "allowed.list_most"]];

// What is allowed, in the page's words.
export function allowed(text) {
  for (const [form, key] of FORMS) {
    const found = form.exec(text);
    if (found) return t(key, { first: found[1], last: found[2] });
  }
  return has(`allowed.${text}`) ? t(`allowed.${text}`) : text;
}

function allowedNumber(text, whole) {
  const kind = t(whole ? "allowed.whole" : "allowed.number");
  return text === "any value" ? kind : t("allowed.of", { kind, range: allowed(text) });
}

const WORDS = ["family", "part", "task"]; // values that may be an English word of ours, or a name that has no translation

// What went wrong in the page's language; the server's own sentence where a value is missing for ours.
export function sentence(error) {
  const values = { ...(error.values || {}) };
  if (typeof values.allowed === "string") values.allowed = error.code === "field_number" ? allowedNumber(values.allowed, values.whole) : allowed(values.allowed);
  if (has(`state.${values.state}`)) values.state = t(`state.${values.state}`);
  if (values.field && has(`field.${values.field}`)) values.field = t(`field.${values.field}`);
  if (values.kind && has(`kind.${values.kind}`)) values.what = t(`kind.${values.kind}`);
  for (const name of WORDS) if (has(`word.${values[name]}`)) values[name] = t(`word.${values[name]}`);
  if (has(`why.${values.why_code}`)) values.why = t(`why.${values.why_code}`, values.why_values);
  if (Array.isArray(values.near)) values.near = values.near.join(", ");
  const key = has(`error.${error.code}`) ? `error.${error.code}` : `notice.${error.code}`;
  const known = t(key, values);
  if (!has(key) || /\{\w+\}/.test(table[key].replace(/\{(\w+)\}/g, (w, n) => (n in values ? "" : w)))) {
    return error.message || t("error.unknown");
  }
  return known;
}

export const isTextField = (name) => TEXT_FIELDS.includes(name);

const locale = () => (lang === "zh" ? "zh-CN" : "en");
export const number = (value, digits = 0) =>
  new Intl.NumberFormat(locale(), { maximumFractionDigits: digits, minimumFractionDigits: 0 }).format(value);
export const percent = (share) => new Intl.NumberFormat(locale(), { style: "percent" }).format(share);
export const when = (seconds) =>
  new Intl.DateTimeFormat(locale(), { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }).format(new Date(seconds * 1000));

export function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return t("time.s", { s: whole });
  if (whole < 3600) return t("time.min", { m: Math.floor(whole / 60), s: whole % 60 });
  return t("time.h", { h: Math.floor(whole / 3600), m: Math.round((whole % 3600) / 60) });
}

// A time to come: "about 3 min", not to the second.
export function about(seconds) {
  if (seconds < 10) return t("time.moments");
  if (seconds < 90) return t("time.about_s", { s: Math.round(seconds / 5) * 5 });
  if (seconds < 5400) return t("time.about_min", { m: Math.round(seconds / 60) });
  return t("time.about_h", { h: number(seconds / 3600, 1) });
}

export function bytes(size) {
  if (size < 1e6) return `${number(Math.max(1, size / 1e3), 0)}\u00a0KB`;
  if (size < 1e9) return `${number(size / 1e6, 1)}\u00a0MB`;
  return `${number(size / 1e9, 2)}\u00a0GB`;
}
