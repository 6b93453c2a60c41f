// The workbench's tool that makes a LoRA of two models: what the second one learnt beyond the first.
import { h } from "./dom.js";
import { call } from "./server.js";
import { attempt } from "./toast.js";
import { bytes, t } from "./text.js";
import { labelled, maker, ruleOf, tick } from "./workbench_parts.js";

export function extract(_, runner) {
  const place = h("div.bench-pane", {}, h("p.hint", { role: "status" }, t("bench.models_asked")));
  attempt(() => call("workbench_models")).then((told) => { if (told && place.isConnected) place.replaceChildren(...form(told, runner)); });
  return [place];
}

function form({ models, folder }, runner) {
  const where = h("p.hint", {}, folder ? t("bench.models_folder", { folder }) : t("bench.models_none"));
  if (models.length < 2) return [h("p", {}, t("bench.extract_hint")), where];
  const words = (model) => [model.title || t("base.embedded"), model.size ? bytes(model.size) : null].filter(Boolean).join(" · ");
  const choice = () => h("select.field", {}, models.map((model) => h("option", { value: model.ref }, words(model))));
  const before = choice(), after = choice();
  const files = models.filter((model) => model.size);
  before.value = (files.length > 1 ? files[0] : models[0]).ref;
  after.value = (files.length > 1 ? files[1] : models[1]).ref;
  const rule = ruleOf(32);
  const text = tick(t("bench.text_encoders"), true);
  const titled = (field) => models.find((model) => model.ref === field.value);
  const short = (model) => (model.title || t("base.embedded")).split("/").pop().replace(/\.safetensors$/i, "");
  return maker(runner, {
    tool: "extract",
    rows: [
      h("p.hint", {}, t("bench.extract_hint")),
      h("div.bench-row", {}, labelled(t("bench.before"), before), labelled(t("bench.after"), after)),
      rule.row, text.row, where,
    ],
    fields: rule.fields,
    ask: () => ({ before: before.value, after: after.value, rule: rule.ask(), text_encoders: text.box.checked }),
    named: () => `${short(titled(after))} − ${short(titled(before))}`.slice(0, 200),
  });
}
