// One text as it was understood: its parts, their texts over the steps, chunks of tokens shaded by weight, remarks.
import { button, h, icon, set } from "./dom.js";
import { find } from "./library_data.js";
import { many, number, sentence, t } from "./text.js";

const SHORT = 90;

// `found` is the answer about one text, `told` the whole answer, `point(place)` shows a place in the text.
export function reading(found, told, point) {
  const several = found.parts.length > 1;
  const counted = found.parts.some(({ texts }) => texts.some(({ chunks }) => chunks));
  const weighed = found.parts.some(({ texts }) => texts.some(({ spans }) => spans.some(({ weight }) => weight !== 1)));
  return [
    told.counted ? null : h("p.hint", {}, t("explain.no_tokens")),
    ...found.parts.map((part, index) => h("div.part", {},
      several || part.weight !== 1 ? h("h3", {}, t("explain.part", { n: index + 1, weight: number(part.weight, 3) })) : null,
      partOf(part, told.steps))),
    found.more_parts ? h("p.hint", {}, t("explain.more_parts", { n: number(found.more_parts) })) : null,
    counted && weighed ? h("p.hint", {}, t("explain.legend")) : null,
    facts(t("explain.loras"), found.tags.filter(({ unet }) => unet !== null).map(loraFact)),
    facts(t("explain.embeddings"), found.embeddings.map((name) => ({ text: name }))),
    facts(t("explain.styles"), found.styles.map(({ name, known }) => ({ text: name, bad: !known }))),
    found.comments.length ? h("p.hint", {}, many("explain.comments", found.comments.length)) : null,
    notices(found.warnings.filter(({ code }) => code !== "full_width"), point),
  ].filter(Boolean);
}

function loraFact({ name, te, unet, adapter }) {
  const entry = adapter && find(adapter);
  const said = { name: entry ? entry.name : name, weight: number(unet, 3), te: number(te, 3) };
  return { text: t(te === unet ? "explain.lora" : "explain.lora_parts", said), bad: !adapter };
}

function facts(label, listed) {
  if (!listed.length) return null;
  return h("div.named", {}, h("span.hint", {}, label), listed.map(({ text, bad }) => h(`span.named-one${bad ? ".missing" : ""}`, {}, bad ? icon("warn") : null, text)));
}

function notices(warnings, point) {
  if (!warnings.length) return null;
  return h("ul.notices", { "aria-label": t("explain.notices") }, warnings.map((warning) => h("li", {}, icon("warn"), h("span", {}, sentence(warning)),
    warning.place ? button("ghost.small.square", { sign: "search", label: t("explain.show"), onclick: () => point(warning.place) }) : null)));
}

// ------------------------------------------------------------ texts over the steps
function partOf(part, steps) {
  const chunks = h("div.chunks", {});
  let chosen = 0;
  const choices = h("div.texts", {});
  const show = (index) => {
    chosen = index;
    [...choices.children].forEach((choice, place) => set(choice, { "aria-pressed": String(place === chosen) }));
    chunks.replaceChildren(...textOf(part.texts[chosen]));
  };
  const parts = [];
  if (part.timeline.length > 1) {
    choices.append(...part.texts.map((text, index) => h("button.ghost.small.text", { type: "button", onclick: () => show(index) },
      h("b.letter", { "aria-hidden": "true" }, letter(index)), h("span", {}, h("span.when", {}, stepsOf(part, index)), " ", short(text.text)))));
    parts.push(h("p.hint", {}, t("explain.timeline", { steps })), bar(part), choices);
    if (part.more_texts) parts.push(h("p.hint", {}, t("explain.more_texts", { n: number(part.more_texts) })));
  }
  show(0);
  return [...parts, chunks];
}

const letter = (index) => (index === null ? "…" : String.fromCharCode(65 + index));
const short = (text) => { const trimmed = text.trim(); return trimmed.length > SHORT ? `${trimmed.slice(0, SHORT)}…` : trimmed; };

function stepsOf({ timeline }, index) {
  const mine = timeline.filter(({ text }) => text === index);
  const [{ first, last }] = mine;
  if (mine.length === 1) return first === last ? t("explain.step", { first }) : t("explain.steps", { first, last });
  const count = mine.reduce((sum, one) => sum + one.last - one.first + 1, 0);
  return t("explain.turns", { n: letter(index), count, first });
}

// Each text has its letter, so that the bar can be read without colours; the same is said in words below it.
function bar({ timeline }) {
  return h("div.timeline", { "aria-hidden": "true" }, timeline.map(({ first, last, text }) => {
    const piece = h("span", { title: first === last ? t("explain.step", { first }) : t("explain.steps", { first, last }) }, letter(text));
    piece.style.flexGrow = String(last - first + 1);
    piece.dataset.text = String(text === null ? "more" : text % 4);
    return piece;
  }));
}

// ------------------------------------------------------------ chunks and tokens
function textOf(text) {
  if (!text.chunks) return [h("p.tokens", {}, runsOf(text.spans))];
  return text.chunks.map(({ count, size, tokens }, index) => {
    const fill = h("span.fill", {});
    fill.style.width = `${(100 * count) / size}%`;
    return h("section.chunk", { "aria-label": t("explain.chunk", { n: index + 1 }) },
      h("header", {}, h("span", {}, t("explain.chunk", { n: index + 1 })), h("span.meter", { "aria-hidden": "true" }, fill), h("span.count", {}, t("explain.count", { n: count, size }))),
      h("p.tokens", {}, tokens.length ? runsOf(tokens) : h("i", {}, t("explain.empty_chunk"))));
  });
}

// Neighbours of one weight stand together, their weight behind them.
function runsOf(tokens) {
  const runs = [];
  for (const token of tokens) {
    if (!runs.length || runs[runs.length - 1].weight !== token.weight) runs.push({ weight: token.weight, tokens: [] });
    runs[runs.length - 1].tokens.push(token);
  }
  return runs.flatMap((run, index) => {
    const blank = index && /^\s/.test(run.tokens[0].text) ? " " : "";
    return [blank, runOf(run)];
  });
}

function runOf({ weight, tokens }) {
  const kind = weight > 1 ? ".strong" : weight < 0 ? ".against" : weight < 1 ? ".weak" : "";
  const run = h(`span.weighed${kind}`, {}, tokens.flatMap((token, index) => [index && /^\s/.test(token.text) ? " " : "", tokenOf(token)]),
    weight === 1 ? null : h("b.factor", {}, number(weight, 3)));
  if (weight > 1) run.style.setProperty("--shade", `${Math.min(42, Math.round(8 + (weight - 1) * 55))}%`);
  return run;
}

function tokenOf({ text, embedding, vectors }) {
  // A line may end behind a comma: people write long rows of words without a blank.
  if (!embedding) return [h("span.token", {}, text.trim() || "␣"), text.endsWith(",") ? h("wbr", {}) : ""];
  return h("span.token.embedding", { title: t("explain.embedding", { name: embedding, n: vectors }) }, icon("layers"), text.trim(), h("small", {}, `×${vectors}`));
}
