// The workbench's tool that makes one LoRA of several: a row for each, and how they are put together.
import { button, h, set } from "./dom.js";
import { shelf } from "./library_data.js";
import { many, t } from "./text.js";
import { given, inputOf, labelled, maker, numeric, select } from "./workbench_parts.js";

const METHODS = ["cat", "svd", "linear", "ties", "ties_svd", "dare_linear", "dare_linear_svd", "dare_ties", "dare_ties_svd", "magnitude_prune", "magnitude_prune_svd"];
const ELECTIONS = ["total", "frequency"];
const LEAST = 2, MOST = 32;

// Which settings a method has.
const USES = {
  rank: (method) => method.endsWith("svd"),
  density: (method) => !["cat", "svd", "linear"].includes(method),
  election: (method) => method.includes("ties"),
  seed: (method) => method.startsWith("dare"),
};

export function combine(entry, runner) {
  const offered = shelf.adapters.filter((one) => !one.missing).sort((a, b) => a.name.localeCompare(b.name));
  if (offered.length < LEAST) return [h("p.hint", {}, t("bench.alone"))];
  const parts = new Parts(offered, () => form.refresh());
  parts.add(entry ? entry.sha256 : parts.unused());
  parts.add(parts.unused());
  const method = select(METHODS, (value) => t(`bench.method.${value}`));
  const how = h("p.hint", {});
  const fields = { rank: inputOf("", "numeric"), density: inputOf("0.5"), election: select(ELECTIONS, (value) => t(`bench.election.${value}`)), seed: inputOf("0", "numeric") };
  set(fields.rank, { placeholder: t("bench.largest") });
  const shown = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, labelled(t(`bench.${name}`), field)]));
  const adapt = () => {
    for (const [name, row] of Object.entries(shown)) set(row, { hidden: !USES[name](method.value) });
    const cut = method.value.endsWith("_svd");
    const whole = t(`bench.how.${method.value.replace(/_svd$/, "")}`);
    set(how, { text: ["cat", "svd"].includes(method.value) ? whole : `${whole} ${t(cut ? "bench.how.changes" : "bench.how.factors")}` });
  };
  method.addEventListener("change", adapt);
  adapt();
  const settings = () => given(Object.fromEntries(Object.entries(fields).filter(([name]) => USES[name](method.value))
    .map(([name, field]) => [name, name === "election" ? field.value : numeric(field)])));
  const [form, ...rest] = maker(runner, {
    tool: "combine",
    rows: [parts.element, h("div.bench-row", {}, labelled(t("bench.method"), method), Object.values(shown)), how],
    fields: { ...fields, weight: parts.weights },
    ask: () => ({ parts: parts.ask(), method: method.value, ...settings() }),
    named: () => parts.names(),
  });
  return [form, ...rest];
}

// The LoRAs of a combination with their weights, two to thirty-two.
class Parts {
  constructor(offered, changed) {
    this.offered = offered;
    this.changed = changed;
    this.rows = [];
    this.weights = []; // the fields, kept as one list, so that a refusal finds them
    this.list = h("ol.bench-parts", { "aria-label": t("bench.parts") });
    this.adder = button("quiet.small", { sign: "plus", text: t("bench.add_part"), onclick: () => { this.add(this.unused()).choice.focus(); changed(); } });
    this.count = h("span.hint", { role: "status" });
    this.element = h("div.bench-mix", {}, this.list, h("div.bench-run", {}, this.adder, this.count));
  }

  // The first LoRA that is in no row yet; of the same family as the first row's where there is one.
  unused() {
    const taken = new Set(this.rows.map((row) => row.choice.value));
    const free = this.offered.filter((one) => !taken.has(one.sha256));
    const first = this.offered.find((one) => this.rows.length && one.sha256 === this.rows[0].choice.value);
    return (free.find((one) => first && one.family === first.family) || free[0] || this.offered[0]).sha256;
  }

  add(sha256) {
    const choice = h("select.field", {}, this.offered.map((one) => h("option", { value: one.sha256 }, one.misfit === "family" ? `${one.name} · ${one.made_for}` : one.name)));
    choice.value = sha256;
    const weight = inputOf("1");
    const away = button("ghost.square", { sign: "close", label: t("bench.part_remove", { n: this.rows.length + 1 }), onclick: () => this.remove(row) });
    const row = { choice, weight, away, element: h("li", {}, choice, h("label.times", {}, h("span", { "aria-hidden": "true" }, "×"), weight), away) };
    this.rows.push(row);
    this.list.append(row.element);
    this.draw();
    return row;
  }

  remove(row) {
    this.rows.splice(this.rows.indexOf(row), 1);
    row.element.remove();
    this.draw();
    this.adder.focus();
    this.changed();
  }

  draw() {
    this.weights.splice(0, this.weights.length, ...this.rows.map((row) => row.weight));
    this.rows.forEach(({ choice, weight, away }, at) => {
      const n = { n: at + 1 };
      set(choice, { "aria-label": t("bench.part", n) });
      set(weight, { "aria-label": t("bench.part_weight", n) });
      set(away, { "aria-label": t("bench.part_remove", n), title: t("bench.part_remove", n), disabled: this.rows.length <= LEAST });
    });
    set(this.adder, { disabled: this.rows.length >= MOST });
    set(this.count, { text: many("bench.parts_of", this.rows.length, { most: MOST }) });
  }

  ask() {
    return this.rows.map(({ choice, weight }) => ({ file: choice.value, weight: weight.value.trim() === "" ? "" : numeric(weight) }));
  }

  names() {
    return this.rows.map(({ choice }) => this.offered.find((one) => one.sha256 === choice.value).name).join(" + ").slice(0, 200);
  }
}
