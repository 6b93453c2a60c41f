// The fields of a request that are not words, drawn from the plan that Python makes of `GenerateRequest`.
import { button, h, set } from "./dom.js";
import { on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { world } from "./server.js";
import { Fields } from "./fields.js";
import { t } from "./text.js";

const NAMES = ["width", "height", "num_images", "seed", "guidance_scale", "num_inference_steps", "sampler"];

let fields = null;
let lock = null;

export function defaults() {
  const base = (world.hello || {}).base;
  const given = base ? base.defaults : {};
  return {
    width: given.width ?? "", height: given.height ?? "", num_images: 1, seed: "", num_inference_steps: given.num_inference_steps ?? "",
    guidance_scale: given.guidance_scale ?? "", sampler: given.sampler ?? "",
  };
}

// What the fields hold, as typed.
export function values() {
  const all = { ...defaults(), ...draft.form };
  return Object.fromEntries(NAMES.map((name) => [name, String(all[name])]));
}

export function randomSeed() {
  put({ seed: crypto.getRandomValues(new Uint32Array(1))[0] });
}

export function put(changes) {
  draft.form = { ...draft.form, ...changes };
  keep({}, "form");
  if (fields) fields.show({ ...defaults(), ...draft.form });
}

// Whether the seed stays.
export function relock(locked) {
  draft.seedLocked = locked;
  keep({}, "form");
  drawLock();
}

// Sets every field to what a cell was made with.
export function take(request) {
  draft.form = Object.fromEntries(NAMES.map((name) => [name, request[name]]));
  draft.seedLocked = true;
  keep({}, "form");
  if (fields) { fields.show(draft.form); drawLock(); }
}

// Shows a refusal at its field; false when it is about none of these.
export function fail(problem) {
  return fields ? fields.fail(problem) : false;
}

function drawLock() {
  if (!lock) return;
  const label = t(draft.seedLocked ? "seed.locked" : "seed.free");
  set(lock, { "aria-pressed": String(draft.seedLocked), "aria-label": label, title: label });
  lock.classList.toggle("on", draft.seedLocked);
}

export function settings(panel) {
  const draw = () => {
    if (!world.hello) return;
    const hadFocus = panel.contains(document.activeElement);
    if (hadFocus && fields) return;
    fields = new Fields(world.hello.form.generate.filter(({ name }) => NAMES.includes(name)), {
      order: NAMES,
      choices: { sampler: world.hello.samplers },
      changed: (name, value) => {
        draft.form = { ...draft.form, [name]: value };
        if (name === "seed") { draft.seedLocked = value.trim() !== ""; drawLock(); }
        keep({}, "form");
      },
    });
    lock = button("ghost.square.lock", {
      sign: "lock", label: " ", onclick: () => { draft.seedLocked = !draft.seedLocked; keep({}, "form"); drawLock(); },
    });
    fields.field("seed").append(lock);
    const reset = button("quiet.small", {
      sign: "again", text: t("settings.reset"),
      onclick: () => { draft.form = {}; draft.seedLocked = false; keep({}, "form"); fields.show(defaults()); drawLock(); },
    });
    panel.replaceChildren(h("section.settings", {},
      h("header", {}, h("h2", {}, t("settings.title")), reset), fields.element,
      h("p.hint", {}, t("settings.size_hint", { step: (world.hello.base || {}).size_step || 8 }))));
    fields.show({ ...defaults(), ...draft.form });
    drawLock();
  };
  for (const name of ["hello", "language"]) on(name, draw);
  draw();
}
