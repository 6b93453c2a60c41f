// The Train tab: five steps that one can walk back and forth, and the list of past runs below.
import { h, set } from "./dom.js";
import { emit, on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { watch, world } from "./server.js";
import { loadSet, sets } from "./sets.js";
import { picturesStep } from "./train_pictures.js";
import { captionsStep } from "./train_captions.js";
import { recipeStep } from "./train_recipe.js";
import { progressStep } from "./train_progress.js";
import { resultStep } from "./train_result.js";
import { loadRuns, runList } from "./train_runs.js";
import { attempt } from "./toast.js";
import { t } from "./text.js";

const STEPS = { pictures: picturesStep, captions: captionsStep, recipe: recipeStep, progress: progressStep, result: resultStep };

// Goes to a step; `changes` are what it needs: the set, the run.
export function walk(step, changes = {}) {
  Object.assign(draft.train, changes, { step });
  if (changes.run) watch(changes.run);
  keep();
  emit("walk", true);
}

function open(step) {
  const { set: chosen, run } = draft.train;
  const filled = Boolean(chosen && sets.current && sets.current.id === chosen && sets.current.items.length);
  const job = run && world.jobs[run];
  if (step === "pictures") return true;
  if (step === "captions" || step === "recipe") return filled;
  if (step === "progress") return Boolean(run);
  return Boolean(job && job.state === "done");
}

export function train(panel) {
  const title = h("h2", {});
  const lead = h("p.hint", {});
  const steps = h("ol.stepper", {});
  const room = h("section.step", { tabIndex: -1 });
  const runs = h("section.runs", {});
  panel.append(h("div.train", {}, h("header", {}, title, lead), h("nav", {}, steps), room, runs));
  let shown = null;

  const drawSteps = () => {
    set(title, { text: t("train.title") });
    set(lead, { text: t("train.lead") });
    set(steps.parentElement, { "aria-label": t("train.steps") });
    const names = Object.keys(STEPS);
    const now = names.indexOf(draft.train.step);
    steps.replaceChildren(...names.map((name, index) => h("li", {}, h("button", {
      type: "button", disabled: !open(name), "aria-current": name === draft.train.step ? "step" : null,
      "data-done": index < now ? "" : null, onclick: () => walk(name),
    }, h("b", { "aria-hidden": "true" }, String(index + 1)), h("span", {}, t(`step.${name}`))))));
  };
  const draw = (focus) => {
    const before = shown;
    const step = open(draft.train.step) || draft.train.step === "progress" ? draft.train.step : "pictures";
    if (shown && shown.close) shown.close();
    room.replaceChildren();
    set(room, { "aria-label": t(`step.${step}`) });
    shown = STEPS[step](room) || {};
    drawSteps();
    if (focus === true && before) { room.focus({ preventScroll: true }); steps.scrollIntoView({ block: "nearest" }); }
  };
  on("walk", draw);
  on("language", () => { draw(); });
  on("set", drawSteps);
  on("job", (job) => { if (job.id === draft.train.run) drawSteps(); });
  on("ended", (job) => {
    if (job.kind === "train" && job.id === draft.train.run && job.state === "done" && draft.train.step === "progress") walk("result");
  });
  runList(runs);
  draw();
  attempt(async () => {
    if (draft.train.run) watch(draft.train.run);
    if (draft.train.set) await loadSet(draft.train.set);
    await loadRuns();
    draw();
  });
}
