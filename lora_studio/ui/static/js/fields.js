// A form drawn from a plan: each field knows its label, help, range and choices, and shows what is wrong with it.
import { h, set } from "./dom.js";
import { has, sentence, t } from "./text.js";

export class Fields {
  // plan: entries of `ui.forms.plan`; choices: {name: {value: words}}; changed(name, value as typed)
  constructor(plan, { order, choices = {}, changed, place = "g" }) {
    this.inputs = {};
    this.choices = choices;
    this.changed = changed;
    this.place = place;
    const byName = Object.fromEntries(plan.map((entry) => [entry.name, entry]));
    this.element = h("div.fields", {}, order.filter((name) => byName[name]).map((name) => this.make(byName[name])));
  }

  make(entry) {
    const id = `${this.place}-${entry.name}`;
    const input = this.input(entry, id);
    this.inputs[entry.name] = input;
    const label = h("label", { htmlFor: id }, t(`field.${entry.name}`));
    const help = has(`help.${this.place}.${entry.name}`) ? t(`help.${this.place}.${entry.name}`) : entry.doc;
    const error = h("p.wrong", { id: `${id}-wrong`, role: "alert", hidden: true });
    const field = entry.kind === "flag"
      ? h("div.entry.flag", { title: help }, h("span.line", {}, input, label), error)
      : h("div.entry", { title: help }, label, h("span.line", {}, input), error);
    field.dataset.name = entry.name;
    set(input, { "aria-describedby": error.id });
    return field;
  }

  input(entry, id) {
    const tell = (value) => { this.clear(entry.name); this.changed(entry.name, value); };
    if (entry.kind === "choice") {
      const words = (value) => (this.choices[entry.name] || {})[value] || (has(`choice.${value}`) ? t(`choice.${value}`) : value);
      const select = h("select.field", { id }, entry.choices.map((value) => h("option", { value }, words(value))));
      select.addEventListener("change", () => tell(select.value));
      return select;
    }
    if (entry.kind === "flag") {
      const box = h("input", { id, type: "checkbox" });
      box.addEventListener("change", () => tell(box.checked));
      return box;
    }
    const field = h("input.field", { id, type: "text", autocomplete: "off", spellcheck: false });
    if (entry.kind === "number") field.inputMode = entry.whole ? "numeric" : "decimal";
    field.addEventListener("input", () => tell(field.value));
    return field;
  }

  field(name) {
    return this.element.querySelector(`[data-name="${name}"] .line`);
  }

  show(values) {
    for (const [name, input] of Object.entries(this.inputs)) {
      const value = values[name];
      if (input.type === "checkbox") input.checked = Boolean(value);
      else {
        const text = value === null || value === undefined ? "" : String(value);
        if (input.value !== text) input.value = text;
      }
    }
  }

  clear(name) {
    const error = document.getElementById(`${this.place}-${name}-wrong`);
    if (error && !error.hidden) { error.hidden = true; this.inputs[name].removeAttribute("aria-invalid"); }
  }

  // Shows a refusal at its field and goes there; false when the field is not among these.
  fail(problem) {
    const name = (problem.values || {}).field;
    const input = this.inputs[name];
    if (!input) return false;
    const error = document.getElementById(`${this.place}-${name}-wrong`);
    set(error, { text: sentence(problem), hidden: false });
    input.setAttribute("aria-invalid", "true");
    const fold = input.closest("details");
    if (fold) fold.open = true;
    input.focus();
    return true;
  }
}
