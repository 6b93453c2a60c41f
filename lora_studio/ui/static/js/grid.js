// Asking for a grid: one or two values that are varied, everything else as the form has it.
import { button, h, set } from "./dom.js";
import { open } from "./dialog.js";
import { generate } from "./prompt.js";
import { active } from "./stack.js";
import { values } from "./settings.js";
import { sentence, t } from "./text.js";

const OF_REQUEST = ["seed", "guidance_scale", "guidance_rescale", "num_inference_steps", "clip_skip"];
const OF_ADAPTER = ["weight", "from", "to"];

// What may be varied: the LoRAs that are switched on come first.
function choices() {
  const loras = active().flatMap(({ sha256, name }) => OF_ADAPTER.map((what) => ({ what, adapter: sha256, text: t(`grid.of.${what}`, { name }) })));
  return [...loras, ...OF_REQUEST.map((what) => ({ what, adapter: "", text: t(`field.${what}`) }))];
}

// Values to begin with; they can be changed.
function suggested(what) {
  const steps = Number(values().num_inference_steps) || 20;
  const quarters = [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(share * steps));
  const seed = Number(values().seed) || 1;
  return {
    weight: "0-1.25 (+0.25)", from: quarters.slice(0, 4).map((step) => step + 1).join(", "), to: quarters.join(", "),
    seed: `${seed}-${seed + 3}`, guidance_scale: "1, 2, 4, 7", guidance_rescale: "0, 0.5, 1",
    num_inference_steps: [...new Set([0.25, 0.5, 1].map((share) => Math.max(1, Math.round(share * steps))))].join(", "), clip_skip: "1, 2",
  }[what];
}

export function openGrid() {
  const offered = choices();
  const across = axis(t("grid.across"), offered, 0, false);
  const down = axis(t("grid.down"), offered, -1, true);
  const wrong = h("p.wrong", { role: "alert", hidden: true });
  const go = button("primary", { sign: "grid", text: t("grid.make") });
  const form = h("form.gridform", { noValidate: true }, h("p.hint", {}, t("grid.hint")), across.element, down.element, wrong, h("footer", {}, h("p.hint", {}, t("grid.syntax")), go));
  const dialog = open(t("grid.title"), [form]);
  go.type = "submit";
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (go.disabled) return;
    go.disabled = true;
    set(wrong, { hidden: true });
    let problem = null;
    try { problem = await generate({ grid: { x: across.read(), y: down.read() } }); } finally { go.disabled = false; }
    if (!problem) { dialog.close(); return; }
    set(wrong, { hidden: false, text: sentence(problem) });
  });
  across.element.querySelector("input").focus();
}

function axis(label, offered, chosen, optional) {
  const select = h("select.field", { "aria-label": label },
    optional ? h("option", { value: "-1" }, t("grid.nothing")) : null, offered.map(({ text }, index) => h("option", { value: String(index) }, text)));
  const field = h("input.field", { type: "text", autocomplete: "off", spellcheck: false, "aria-label": t("grid.values", { axis: label }) });
  const one = () => offered[Number(select.value)];
  const fill = () => {
    field.value = one() ? suggested(one().what) : "";
    field.disabled = !one();
  };
  select.value = String(chosen);
  select.addEventListener("change", fill);
  fill();
  const element = h("div.axis", { role: "group", "aria-label": label }, h("span", {}, label), select, field);
  return { element, read: () => (one() ? { what: one().what, adapter: one().adapter, values: field.value } : null) };
}
