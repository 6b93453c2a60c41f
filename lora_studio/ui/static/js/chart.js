// The loss over the steps as an SVG: every point pale, the smoothed course in colour.
import { h } from "./dom.js";
import { number, t } from "./text.js";

const NS = "http://www.w3.org/2000/svg";
const H = 250;
const PAD = { left: 44, right: 12, top: 12, bottom: 26 };

const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

// Mean over a window around each point, cut at the ends.
export function smooth(points, share = 0.08) {
  const reach = Math.max(2, Math.round(points.length * share));
  const sums = [0];
  for (const [, loss] of points) sums.push(sums[sums.length - 1] + loss);
  return points.map(([step], index) => {
    const from = Math.max(0, index - reach);
    const to = Math.min(points.length, index + reach + 1);
    return [step, (sums[to] - sums[from]) / (to - from)];
  });
}

function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(value);
  return found;
}

export class Chart {
  constructor() {
    this.element = h("figure.chart", {}, h("div.plot", {}), h("figcaption", {}));
    this.drawn = "";
  }

  draw(losses, steps) {
    const points = losses.filter(([, loss]) => Number.isFinite(loss));
    const [plot, caption] = this.element.children;
    const W = Math.max(280, plot.clientWidth || 880);
    const key = `${W}/${points.length}/${points.length ? points[points.length - 1][0] : 0}/${steps}`;
    if (key === this.drawn) return;
    this.drawn = key;
    if (!points.length) { plot.replaceChildren(h("p.hint", {}, t("chart.waiting"))); caption.textContent = ""; return; }
    const course = smooth(points);
    const sorted = points.map(([, loss]) => loss).sort((a, b) => a - b);
    const high = Math.max(sorted[Math.floor((sorted.length - 1) * 0.98)], ...course.map(([, loss]) => loss)) * 1.08 || 1;
    const low = Math.min(0, sorted[0]);
    const x = (step) => PAD.left + ((W - PAD.left - PAD.right) * step) / Math.max(1, steps);
    const y = (loss) => PAD.top + (H - PAD.top - PAD.bottom) * (1 - (Math.min(loss, high) - low) / (high - low));
    const line = (list) => list.map(([step, loss], index) => `${index ? "L" : "M"}${x(step).toFixed(1)},${y(loss).toFixed(1)}`).join("");
    const last = course[course.length - 1];
    plot.replaceChildren(svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": t("chart.alt", { loss: number(last[1], 4), step: number(last[0]) }) },
      ...ticks(low, high, 4).map((value) => svg("g", { class: "tick" },
        svg("line", { x1: PAD.left, x2: W - PAD.right, y1: y(value), y2: y(value) }),
        svg("text", { x: PAD.left - 6, y: y(value) + 3.5, "text-anchor": "end" }, number(value, 3)))),
      ...ticks(0, steps, Math.round(W / 160)).map((value) => svg("text", { class: "tick", x: x(value), y: H - 8, "text-anchor": "middle" }, number(value))),
      svg("path", { class: "raw", d: line(points) }), svg("path", { class: "course", d: line(course) }),
      svg("circle", { class: "now", cx: x(last[0]), cy: y(last[1]), r: 4 })));
    caption.textContent = t("chart.caption", { loss: number(last[1], 4) });
  }
}

// In words how it goes, from the smoothed course alone: a key of the texts.
export function verdict(losses, progressShare) {
  const points = losses.filter(([, loss]) => Number.isFinite(loss));
  if (points.length < 30 || progressShare < 0.1) return "verdict.early";
  const mean = (from, to) => {
    const part = points.slice(Math.floor(points.length * from), Math.ceil(points.length * to));
    return part.reduce((sum, [, loss]) => sum + loss, 0) / part.length;
  };
  const first = mean(0, 0.15);
  const middle = mean(0.55, 0.75);
  const end = mean(0.85, 1);
  if (end > first * 1.15) return "verdict.rising";
  if (end < middle * 0.97) return "verdict.learning";
  return end < first * 0.97 ? "verdict.flat" : "verdict.noisy";
}
