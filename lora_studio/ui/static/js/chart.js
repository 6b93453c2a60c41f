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
    const low = Math.min(...course.map(([, loss]) => loss), sorted[Math.floor(sorted.length * 0.02)]) * 0.75;
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

// In words how it goes: a key of the texts. Single losses jump about, so a difference counts only when it is larger than
// three standard errors of the means that are compared; that it falls no more is said in the last third alone.
export function verdict(losses, done) {
  const values = losses.map(([, loss]) => loss).filter(Number.isFinite);
  if (values.length < 40 || done < 0.15) return "verdict.early";
  const part = (from, to) => values.slice(Math.floor(values.length * from), Math.ceil(values.length * to));
  const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
  const error = (list) => Math.sqrt(mean(list.map((value) => (value - mean(list)) ** 2)) / list.length);
  const fell = (a, b) => (mean(a) - mean(b)) / Math.hypot(error(a), error(b), 1e-9);
  const [first, before, last] = [part(0, 0.2), part(0.5, 0.75), part(0.75, 1)];
  if (fell(first, last) < -3) return "verdict.rising";
  if (fell(before, last) > 3) return "verdict.learning";
  if (done > 0.67) return "verdict.flat";
  return fell(first, last) > 3 ? "verdict.slowly" : "verdict.noisy";
}
