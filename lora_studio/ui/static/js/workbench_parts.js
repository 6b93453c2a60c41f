// Parts of the workbench's forms: labelled fields, the rule for a rank, layout and name, and the form that makes a file.
import { debounce, h, icon, set } from "./dom.js";
import { call } from "./server.js";
import { bytes, sentence, t } from "./text.js";
import { madeView } from "./workbench_report.js";

const LAYOUTS = ["kohya", "diffusers", "peft"];
const DTYPES = ["float16", "bfloat16", "float32"];
const RULES = ["rank", "sv_fro", "sv_ratio", "sv_cumulative"];

export const labelled = (label, field, hint) => h("label.stacked", {}, h("span", {}, label), field, hint ? h("span.hint", {}, hint) : null);
export const select = (choices, words) => h("select.field", {}, choices.map((value) => h("option", { value }, words(value))));
export const inputOf = (value, mode = "decimal") => h("input.field", { type: "text", inputMode: mode, autocomplete: "off", spellcheck: false, value });
export const textOf = (value, maxLength = 200) => h("input.field", { type: "text", maxLength, autocomplete: "off", spellcheck: false, value });
export const given = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
export const suffixed = (entry, words) => `${entry.name} ${words}`.slice(0, 200);

export function tick(label, checked = false) {
  const box = h("input", { type: "checkbox", checked });
  return { box, row: h("label.tick", {}, box, h("span", {}, label)) };
}

// A number as typed; null where nothing is, the text itself where it is none, so that the server can say so. A comma is
// none: who writes 1,024 may mean a thousand or one.
export function numeric(field) {
  const text = field.value.trim();
  const value = Number(text);
  return text === "" ? null : Number.isFinite(value) ? value : text;
}

// What each layer is cut to: a rank, or what an energy rule asks for.
export function ruleOf(rank) {
  const rule = select(RULES, (value) => t(`bench.rule.${value}`));
  const fields = { rank: inputOf(String(rank), "numeric"), conv_rank: inputOf("", "numeric"), value: inputOf("0.95") };
  const value = labelled(t("bench.value"), fields.value);
  const words = h("span", {});
  set(fields.conv_rank, { placeholder: t("bench.as_rank") });
  const adapt = () => {
    const energy = rule.value !== "rank";
    set(value, { hidden: !energy });
    set(words, { text: t(energy ? "bench.rank_most" : "bench.rank") });
    fields.value.value = rule.value === "sv_ratio" ? "10" : "0.95";
  };
  rule.addEventListener("change", adapt);
  adapt();
  return {
    row: h("div.bench-row", {}, labelled(t("bench.rule"), rule), value, h("label.stacked", {}, words, fields.rank), labelled(t("bench.conv_rank"), fields.conv_rank)),
    fields: { rank: fields.rank, conv_rank: fields.conv_rank, sv_fro: fields.value, sv_ratio: fields.value, sv_cumulative: fields.value },
    ask: () => given({
      rank: numeric(fields.rank), conv_rank: numeric(fields.conv_rank),
      ...(rule.value === "rank" ? {} : { [rule.value]: fields.value.value.trim() === "" ? "" : numeric(fields.value) }),
    }),
  };
}

// A form that makes a file: its fields, what it would come to, a button, the job, what came of it.
//   tool     its name                     rows    elements of the form      fields  inputs by the names of refusals
//   ask()    the request of this tool     named() the name that is proposed until somebody types one
export function maker(runner, { tool, rows, fields = {}, ask, named }) {
  const to = select(LAYOUTS, (value) => t(`bench.to.${value}`));
  const dtype = select(DTYPES, (value) => value);
  const name = textOf(named());
  const plan = h("p.bench-plan", { role: "status" });
  const made = h("div", {});
  const verb = h("button.primary", { type: "submit" }, t("bench.run"));
  const request = () => ({ ...ask(), to: to.value, dtype: dtype.value });
  const wanted = () => (to.value === "peft" ? "" : name.value.trim()); // peft's are several files: no entry of the library
  runner.fields = { ...fields, name };
  let typed = false;
  let asked = 0;
  const foresee = debounce(250, async () => {
    const mine = asked += 1;
    const told = await call("workbench_plan", { tool, request: request(), name: wanted() }, 1).catch((error) => ({ problem: error }));
    if (told.problem && !told.problem.code) throw told.problem;
    if (mine === asked && plan.isConnected && runner.wrong.hidden) plan.replaceChildren(...planView(told));
  });
  const changed = (event) => {
    if (event && event.target === name) typed = true;
    if (!typed) name.value = named();
    runner.clear();
    set(name.parentElement, { hidden: to.value === "peft" });
    foresee();
  };
  const submit = async (event) => {
    event.preventDefault();
    made.replaceChildren();
    set(verb, { disabled: true });
    const result = await runner.run(tool, request(), wanted());
    set(verb, { disabled: false });
    if (!result) { plan.replaceChildren(); return; } // what is wrong stands beneath
    made.replaceChildren(madeView(result, name.value.trim() || named(), foresee));
    made.scrollIntoView({ block: "nearest" });
    foresee();
  };
  const form = h("form", { onsubmit: submit, oninput: changed, onchange: changed }, rows,
    h("div.bench-row.bench-outcome", {}, labelled(t("bench.to"), to), labelled(t("bench.dtype"), dtype), labelled(t("bench.name"), name)),
    h("div.bench-run", {}, verb, plan));
  form.refresh = changed;
  foresee();
  return [form, runner.element, made];
}

// "cat ears + miko 2" · about 4.1 MB; or why it cannot be made as it stands.
function planView({ problem, name, size, most }) {
  if (problem) return [icon("warn"), h("span", {}, sentence(problem))];
  const words = size === null ? t("bench.plan.unknown") : t(most ? "bench.plan.most" : "bench.plan.about", { size: bytes(size) });
  return [h("span", {}, name ? t("bench.plan.named", { name, size: words }) : words)];
}
