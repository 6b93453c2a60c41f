// What the workbench found out about a LoRA, drawn: facts, heat strip, curve of singular values, overlap, results.
import { button, h, icon } from "./dom.js";
import { emit } from "./bus.js";
import { loadLibrary } from "./library_data.js";
import { call } from "./server.js";
import { bytes, number, sentence, t } from "./text.js";

const NS = "http://www.w3.org/2000/svg";
export const share = (value, digits = 1) => `${number(value * 100, digits)}\u00a0%`;

// A number, or "min – max"; a dash for nothing.
export function span(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? (value.min === value.max ? number(value.min, 2) : `${number(value.min, 2)} – ${number(value.max, 2)}`) : number(value, 2);
}

// `family` is what people call the family of the file.
export function reportView({ report, refusal, details }, family) {
  const unknown = t("bench.unknown");
  return [
    refusal ? h("p.remark.bad", { role: "alert" }, icon("warn"), h("span", {}, sentence(refusal))) : null,
    h("ul.bench-facts", {},
      h("li", {}, t("bench.facts", { format: report.format || unknown, family: family || report.family || unknown, rank: span(report.rank), alpha: span(report.alpha) })),
      report.layers.in_base ? h("li", {}, t("bench.layers", { matched: number(report.layers.matched), file: number(report.layers.in_file), base: number(report.layers.in_base) })) : null,
      report.strength === null ? null : h("li", {}, t("bench.strength", { n: share(report.strength, 2) })),
      details && details.blocks ? h("li", {}, t("bench.needed", { low: details.rank_90.median, high: details.rank_99.median })) : null),
    report.warnings.map((warning) => h("p.remark", {}, icon("warn"), h("span", {}, sentence(warning)))),
    details && details.blocks ? [heat(details.blocks), curve(details.curve)] : null,
  ];
}

function heat(blocks) {
  const most = Math.max(...blocks.map((block) => block.share), 1e-9);
  return h("section", {},
    h("h3", {}, t("bench.heat")),
    h("p.hint", {}, t("bench.heat_hint")),
    h("ol.heat", {}, blocks.map((block) => {
      const fill = h("span.fill", {});
      fill.style.width = `${(block.share / most) * 100}%`;
      return h("li", {},
        h("span.block", {}, block.block), h("span.track", { "aria-hidden": "true" }, fill),
        h("span.n", {}, share(block.share)), h("span.n", {}, block.strength === null ? "" : share(block.strength, 2)));
    })));
}

function curve(values) {
  if (!values.length) return null;
  const svg = document.createElementNS(NS, "svg");
  const said = t("bench.curve_said", { values: values.slice(0, 12).map((value) => number(value, 3)).join(", ") });
  for (const [name, value] of [["class", "spectrum-curve"], ["viewBox", "0 0 100 100"], ["preserveAspectRatio", "none"], ["role", "img"], ["aria-label", said]]) {
    svg.setAttribute(name, value);
  }
  const at = (value, index) => `${values.length > 1 ? 2 + (index / (values.length - 1)) * 96 : 50} ${96 - value * 90}`;
  const path = document.createElementNS(NS, "path");
  path.setAttribute("d", values.length > 1 ? `M${values.map(at).join("L")}` : `M2 ${96 - values[0] * 90}H98`);
  for (const y of [6, 51, 96]) {
    const line = document.createElementNS(NS, "line");
    for (const [name, value] of [["x1", 0], ["x2", 100], ["y1", y], ["y2", y]]) line.setAttribute(name, value);
    svg.append(line);
  }
  svg.append(path);
  return h("section", {}, h("h3", {}, t("bench.curve")), svg);
}

export function overlapView(overlap, name) {
  const signed = `${overlap.cross_energy > 0 ? "+" : ""}${share(overlap.cross_energy)}`;
  return h("section", {},
    h("h3", {}, t("bench.overlap", { name })),
    h("p", { className: `bench-says ${overlap.predicts}` }, t(`bench.says.${overlap.predicts}`)),
    h("ul.bench-facts", {},
      h("li", {}, t("bench.cosine", { n: number(overlap.cosine, 3) })),
      h("li", {}, t("bench.cross", { n: signed })),
      h("li", {}, t("bench.inputs", { a: share(overlap.inputs[0]), b: share(overlap.inputs[1]) })),
      h("li", {}, t("bench.outputs", { a: share(overlap.outputs[0]), b: share(overlap.outputs[1]) }))),
    h("p.hint", {}, t("bench.says_hint")));
}

// What a tool made: in the library, to be taken out of it again, and to be downloaded.
export function madeView(result, name, changed = () => {}) {
  const size = bytes(result.files.reduce((sum, file) => sum + file.size, 0));
  const link = (file) => {
    const called = file.name.includes("adapter_") ? file.name.replaceAll("/", "-") : `${result.name || name}.safetensors`;
    const text = t("bench.download", { name: called });
    return h("a.quiet.button", { href: `/studio/made/${file.sha256}?${new URLSearchParams({ name: called })}`, download: called }, icon("download"), h("span", {}, text));
  };
  return h("section.bench-made", { role: "status" },
    result.adapter ? entered(result, changed) : null,
    result.layers ? h("p.hint", {}, `${t("bench.result", { format: result.format, rank: span(result.rank), layers: number(result.layers) })} · ${size}`) : null,
    result.retained ? h("p.hint", {}, t("bench.kept", { mean: share(result.retained.mean, 2), least: share(result.retained.min, 2) })) : null,
    (result.warnings || []).map((warning) => h("p.remark", {}, icon("warn"), h("span", {}, sentence(warning)))),
    h("div.bench-run", {}, result.files.map(link)));
}

// "... is in the library", with a way back where it was not there before.
function entered(result, changed) {
  const words = h("span", {}, t(result.fresh ? "bench.made" : "bench.known", { name: result.name }));
  const wrong = h("p.wrong", { role: "alert", hidden: true });
  const turn = async (action, text, verb, next) => {
    try {
      await call(action, { sha256: result.adapter });
      await loadLibrary();
      emit("stack");
      changed();
      words.textContent = text;
      undo.lastElementChild.textContent = verb;
      undo.turn = next;
    } catch (error) {
      if (!error.code) throw error;
      wrong.hidden = false;
      wrong.textContent = sentence(error);
    }
  };
  const name = { name: result.name };
  const away = () => turn("delete_adapter", t("library.deleted", name), t("bench.back"), back);
  const back = () => turn("restore_adapter", t("bench.made", name), t("undo"), away);
  const undo = button("quiet.small", { text: t("undo"), onclick: () => undo.turn() });
  undo.turn = away;
  return [h("p.bench-entered", {}, icon("check"), words, result.fresh ? undo : null), wrong];
}
