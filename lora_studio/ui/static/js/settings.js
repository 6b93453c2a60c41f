// The fields of a request that are not words, drawn from the plan that Python makes of `GenerateRequest`.
import { button, h, set } from "./dom.js";
import { on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { world } from "./server.js";
import { Fields } from "./fields.js";
import { t } from "./text.js";

const MAIN = ["width", "height", "num_images", "seed", "guidance_scale", "num_inference_steps", "sampler"];
const MORE = ["guidance_rescale", "clip_skip", "emphasis", "pad_prompts", "old_scheduling", "dynamic"]; // how the words are read and guide
const NAMES = [...MAIN, ...MORE];

let fields = null;
let more = null;
let lock = null;

export function defaults() {
  const base = (world.hello || {}).base;
  const given = base ? base.defaults : {};
  const plan = world.hello ? world.hello.form.generate : [];
  return {
    ...Object.fromEntries(plan.filter(({ name }) => MORE.includes(name)).map((entry) => [entry.name, entry.default])),
    width: given.width ?? "", height: given.height ?? "", num_images: 1, seed: "", num_inference_steps: given.num_inference_steps ?? "",
    guidance_scale: given.guidance_scale ?? "", guidance_rescale: given.guidance_rescale ?? 0, sampler: given.sampler ?? "",
  };
}

// What the fields hold, as typed; boxes are true or false.
export function values() {
  const all = { ...defaults(), ...draft.form };
  return Object.fromEntries(NAMES.filter((name) => all[name] !== undefined)
    .map((name) => [name, typeof all[name] === "boolean" ? all[name] : String(all[name])]));
}

function show(held) {
  for (const form of [fields, more]) if (form) form.show(held);
}

export function randomSeed() {
  put({ seed: crypto.getRandomValues(new Uint32Array(1))[0] });
}

export function put(changes) {
  draft.form = { ...draft.form, ...changes };
  keep({}, "form");
  show({ ...defaults(), ...draft.form });
}

// Whether the seed stays.
export function relock(locked) {
  draft.seedLocked = locked;
  keep({}, "form");
  drawLock();
}

// Sets every field to what a cell was made with. What an old cell does not have is at its default; guidance was not
// rescaled then, whatever the base wants now.
export function take(request) {
  const held = { ...defaults(), guidance_rescale: 0, ...request };
  draft.form = Object.fromEntries(NAMES.map((name) => [name, held[name]]));
  draft.seedLocked = true;
  keep({}, "form");
  show(draft.form);
  drawLock();
}

// Shows a refusal at its field; false when it is about none of these.
export function fail(problem) {
  return [fields, more].some((form) => form && form.fail(problem));
}

function drawLock() {
  if (!lock) return;
  const label = t(draft.seedLocked ? "seed.locked" : "seed.free");
  set(lock, { "aria-pressed": String(draft.seedLocked), "aria-label": label, title: label });
  lock.classList.toggle("on", draft.seedLocked);
}

const sizeHint = () => t("settings.size_hint", { step: (world.hello.base || {}).size_step || 8 });

export function settings(panel) {
  const draw = () => {
    if (!world.hello) return;
    // Somebody is in the fields: they stay, and show what is sent now (another base may have other defaults).
    if (fields && panel.contains(document.activeElement)) {
      show({ ...defaults(), ...draft.form });
      set(panel.querySelector(".settings > .hint"), { text: sizeHint() });
      return;
    }
    const changed = (name, value) => {
      draft.form = { ...draft.form, [name]: value };
      if (name === "seed") { draft.seedLocked = value.trim() !== ""; drawLock(); }
      keep({}, "form");
    };
    const plan = world.hello.form.generate;
    fields = new Fields(plan, { order: MAIN, choices: { sampler: world.hello.samplers }, changed });
    more = new Fields(plan, { order: MORE, changed });
    const usual = defaults();
    const unusual = MORE.some((name) => name in draft.form && draft.form[name] !== usual[name]);
    lock = button("ghost.square.lock", {
      sign: "lock", label: " ", onclick: () => { draft.seedLocked = !draft.seedLocked; keep({}, "form"); drawLock(); },
    });
    fields.field("seed").append(lock);
    const reset = button("quiet.small", {
      sign: "again", text: t("settings.reset"),
      onclick: () => { draft.form = {}; draft.seedLocked = false; keep({}, "form"); show(defaults()); drawLock(); },
    });
    panel.replaceChildren(h("section.settings", {},
      h("header", {}, h("h2", {}, t("settings.title")), reset), fields.element,
      h("p.hint", {}, sizeHint()),
      h("details.more", { open: unusual }, h("summary", {}, t("settings.more")), more.element)));
    show({ ...defaults(), ...draft.form });
    drawLock();
  };
  for (const name of ["hello", "language"]) on(name, draw);
  draw();
}
