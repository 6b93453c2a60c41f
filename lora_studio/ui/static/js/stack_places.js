// Where a LoRA of the stack acts beside its weight: in which of the steps, how strongly on the reading of the words, and
// in which parts of the UNet. A panel under its row; it has sliders alone, so nothing can be typed wrong.
import { button, h, set } from "./dom.js";
import { world } from "./server.js";
import { values } from "./settings.js";
import { number, t } from "./text.js";

const SIDES = { IN: "down", M: "middle", OUT: "up" }; // beginnings of the blocks' names: a UNet's way down, its middle, its way up
const NEARLY = 1e-3; // of a step: shares are often quotients, as the server reads them
const MAX = 1.5;

const blockNames = () => (((world.hello || {}).base || {}).blocks || {}).names || [];
const countOfSteps = () => Math.max(1, Math.min(1000, Math.round(Number(values().num_inference_steps)) || 1));

// What a row comes to: shares of the steps, a factor for each block ([] is 1 in all), the weight on the words (null: the
// same). What a tag says of a row is told by the server.
export function placesOf({ tag, te, at = {} }) {
  return { start: at.start ?? 0, stop: at.stop ?? 1, blocks: at.blocks || [], te: (tag && at.te !== undefined ? at.te : te) ?? null };
}

// First and last step of a part of `steps`; the last comes before the first where there is none.
export function span({ start, stop }, steps = countOfSteps()) {
  return [Math.ceil(start * steps - NEARLY) + 1, Math.floor(stop * steps + NEARLY)];
}

const isWhole = ({ start, stop }) => start === 0 && stop === 1;

// The factor of each side of the UNet; null where its blocks differ.
function sides(blocks) {
  const names = blockNames();
  if (blocks.length !== names.length) return { IN: 1, M: 1, OUT: 1 };
  return Object.fromEntries(Object.keys(SIDES).map((side) => {
    const found = blocks.filter((_, index) => names[index].startsWith(side));
    return [side, found.every((factor) => factor === found[0]) ? found[0] : null];
  }));
}

// A row's places in words; "" where it acts everywhere.
export function said(row, steps = countOfSteps()) {
  const places = placesOf(row);
  const [first, last] = span(places, steps);
  const parts = [];
  if (!isWhole(places)) parts.push(first > last ? t("places.no_step") : t("places.steps", { first, last, steps }));
  if (places.te !== null) parts.push(t("stack.te", { weight: number(places.te, 2) }));
  const foreign = blockNames().length > 0 && places.blocks.length > 0 && places.blocks.length !== blockNames().length;
  if (foreign) parts.push(t("places.foreign"));
  else if (places.blocks.some((factor) => factor !== 1)) {
    const told = Object.entries(sides(places.blocks)).filter(([, factor]) => factor !== 1)
      .map(([side, factor]) => `${t(`places.${SIDES[side]}`)} ${factor === null ? t("places.mixed") : number(factor, 2)}`);
    parts.push(told.join(", "));
  }
  return parts.join(" · ");
}

// The options of a `<lora:...>` tag: numbers of steps and a list with BASE first, as sd-webui-lora-block-weight reads them.
export function optionsOf({ start = 0, stop = 1, blocks = [] }) {
  const steps = countOfSteps();
  const [first, last] = span({ start, stop }, steps);
  return [
    ...(first > 1 ? [`start=${first}`] : []), ...(last < steps ? [`stop=${last + 1}`] : []),
    ...(blocks.some((factor) => factor !== 1) ? [`lbw=${[1, ...blocks].join(",")}`] : []),
  ];
}

// The panel; `change` is told what was moved ({start, stop, blocks, te}; te null: as the weight).
export function placesPanel(read, change) {
  const lines = {
    from: line(1, (value) => { const steps = countOfSteps(); const [, last] = span(placesOf(read())); move(value, Math.max(value, last), steps); }),
    to: line(1, (value) => { const steps = countOfSteps(); const [first] = span(placesOf(read())); move(Math.min(value, first), value, steps); }),
    words: line(0.05, (value) => change({ te: value }), () => change({ te: null })),
    ...Object.fromEntries(Object.entries(SIDES).map(([side, name]) => [name, line(0.05, (value) => weigh(side, value), () => weigh(side, 1))])),
  };
  const move = (first, last, steps) => change({ start: (first - 1) / steps, stop: last / steps });
  const weigh = (side, value) => {
    const names = blockNames();
    const { blocks } = placesOf(read());
    const before = blocks.length === names.length ? blocks : names.map(() => 1);
    const after = before.map((factor, index) => (names[index].startsWith(side) ? value : factor));
    change({ blocks: after.some((factor) => factor !== 1) ? after : [] });
  };
  const hint = h("p.hint", {});
  const reset = button("ghost.small", { sign: "again", text: "", onclick: () => change({ start: 0, stop: 1, blocks: [], te: null }) });
  const { from, to, words, down, middle, up } = lines;
  const parts = [down, middle, up];
  const all = h("div.lines", {}, [from, to, words, ...parts].map(({ box }) => box));
  const element = h("div.places", { role: "group" }, all, h("footer", {}, hint, reset));
  return { element, draw: (row, name) => {
    const places = placesOf(row);
    const steps = countOfSteps();
    const [first, last] = span(places, steps);
    set(element, { "aria-label": t("places.label", { name }) });
    from.draw(t("places.from"), first, number(first), [1, steps]);
    to.draw(t("places.to"), last, number(last), [1, steps]);
    words.draw(t("places.words"), places.te ?? Number(row.weight), places.te === null ? t("places.same") : number(places.te, 2));
    const factors = sides(places.blocks);
    for (const [side, kind] of Object.entries(SIDES)) {
      const shown = factors[side] ?? mean(places.blocks, side);
      lines[kind].draw(t(`places.${kind}`), shown, factors[side] === null ? t("places.mixed") : number(shown, 2));
    }
    for (const { box } of parts) set(box, { hidden: !blockNames().length });
    set(hint, { text: t("places.hint") });
    set(reset, { disabled: !said(row) });
    set(reset.lastElementChild, { text: t("places.reset") });
  } };
}

function mean(blocks, side) {
  const found = blocks.filter((_, index) => blockNames()[index].startsWith(side));
  return found.reduce((sum, factor) => sum + factor, 0) / found.length;
}

function line(step, moved, reset = null) {
  const label = h("span", {});
  const slider = h("input", { type: "range", step });
  const output = h("output", { "aria-hidden": "true" }); // the slider says it itself
  slider.addEventListener("input", () => moved(Number(slider.value)));
  if (reset) {
    slider.addEventListener("dblclick", reset);
    slider.addEventListener("keydown", (event) => { if (["Delete", "Backspace"].includes(event.key)) { event.preventDefault(); reset(); } });
  }
  const box = h("label", {}, label, slider, output);
  let [low, high] = [0, MAX]; // they widen for what is beyond, and stay so
  return { box, draw: (text, value, shown, range = null) => {
    if (!range && Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const [least, most] = range || [low, high];
    set(label, { text });
    if (reset) set(slider, { title: t("places.back") });
    set(slider, { min: least, max: most, "aria-valuetext": shown });
    if (Number(slider.value) !== value && Number.isFinite(value)) slider.value = value;
    slider.style.setProperty("--fill", `${most > least ? 100 * (value - least) / (most - least) : 100}%`);
    set(output, { text: shown });
  } };
}
