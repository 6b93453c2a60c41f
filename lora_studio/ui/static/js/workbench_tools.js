// The workbench's tools for one LoRA: what it is, another layout, another rank, a weight baked in.
import { button, h } from "./dom.js";
import { shelf } from "./library_data.js";
import { t } from "./text.js";
import { inputOf, given, labelled, maker, numeric, ruleOf, suffixed } from "./workbench_parts.js";
import { overlapView, reportView } from "./workbench_report.js";

const others = (entry) => shelf.adapters.filter((other) => other.sha256 !== entry.sha256 && !other.missing);

export function inspect(entry, runner) {
  const second = h("select.field", {}, h("option", { value: "" }, t("bench.nobody")), others(entry).map((other) => h("option", { value: other.sha256 }, other.name)));
  const found = h("div.bench-pane", {});
  const look = async () => {
    const result = await runner.run("inspect", { file: entry.sha256, other: second.value, details: true });
    if (!result) return;
    const name = second.options[second.selectedIndex].textContent;
    found.replaceChildren(...[result.overlap ? overlapView(result.overlap, name) : null, reportView(result, result.report.family === entry.family ? entry.made_for : "")].flat(3).filter(Boolean));
  };
  second.addEventListener("change", look);
  look();
  return [h("div.bench-row", {}, labelled(t("bench.compare"), second)), runner.element, found];
}

export const convert = (entry, runner) => maker(runner, {
  tool: "convert", rows: [h("p.hint", {}, t("bench.convert_hint"))], ask: () => ({ file: entry.sha256 }), named: () => suffixed(entry, t("bench.convert").toLowerCase()),
});

export function resize(entry, runner) {
  const rule = ruleOf(Math.max(1, Math.floor((entry.rank || 8) / 2)));
  const found = h("p.hint", { role: "status" });
  const suggest = button("quiet.small", { text: t("bench.suggest"), onclick: async () => {
    const result = await runner.run("inspect", { file: entry.sha256, details: true });
    if (!result) return;
    if (!result.details || !result.details.rank_99) { // it says itself why it could not be taken apart
      const why = result.refusal || result.report.warnings.at(-1);
      if (why) runner.fail(why);
      return;
    }
    const { rank_90: most, rank_99: nearly } = result.details;
    rule.fields.rank.value = String(Math.max(1, nearly.median));
    rule.fields.rank.dispatchEvent(new Event("input", { bubbles: true }));
    found.textContent = t("bench.needed", { low: most.median, high: nearly.median });
  } });
  return maker(runner, {
    tool: "resize", rows: [rule.row, h("div.bench-run", {}, suggest, found)], fields: rule.fields,
    ask: () => ({ file: entry.sha256, rule: rule.ask() }), named: () => suffixed(entry, t("bench.resize").toLowerCase()),
  });
}

export function bake(entry, runner) {
  const scale = inputOf(String(entry.recommended_weight === 1 ? 0.7 : entry.recommended_weight));
  const text = inputOf("");
  text.placeholder = t("bench.as_scale");
  return maker(runner, {
    tool: "bake",
    rows: [h("p.hint", {}, t("bench.bake_hint")), h("div.bench-row", {}, labelled(t("bench.scale"), scale), labelled(t("bench.text_scale"), text))],
    fields: { scale, text_encoder_scale: text },
    ask: () => ({ file: entry.sha256, scale: scale.value.trim() === "" ? "" : numeric(scale), ...given({ text_encoder_scale: numeric(text) }) }),
    named: () => suffixed(entry, `× ${scale.value.trim()}`),
  });
}
