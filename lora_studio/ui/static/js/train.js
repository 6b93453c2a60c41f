// The Train tab: five steps that one can walk back and forth, and the list of past runs below.
import { h, set } from "./dom.js";
import { emit, on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { ended, watch, world } from "./server.js";
import { loadSet, sets } from "./sets.js";
import { picturesStep } from "./train_pictures.js";
import { captionsStep } from "./train_captions.js";
import { recipeStep } from "./train_recipe.js";
import { progressStep } from "./train_progress.js";
import { resultStep } from "./train_result.js";
import { loadRuns, runList } from "./train_runs.js";
import { attempt, tell } from "./toast.js";
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

// The step that is shown: the one that was walked to, where it can be. A result whose run is not known yet is waited for;
// of a run without one its course is shown.
function present() {
  const { step, run } = draft.train;
  const waits = step === "result" && run && !(world.jobs[run] && ended(world.jobs[run]));
  if (open(step) || step === "progress" || waits) return step;
  return step === "result" && run ? "progress" : "pictures";
}

export function train(panel) {
  const title = h("h2", {});
  const lead = h("p.hint", {});
  const names = Object.keys(STEPS);
  // Made once: a button that is put in anew at each news of a job loses clicks and the focus.
  const verbs = names.map((name, index) => h("button", { type: "button", onclick: () => walk(name) }, h("b", { "aria-hidden": "true" }, String(index + 1)), h("span", {})));
  const steps = h("ol.stepper", {}, verbs.map((verb) => h("li", {}, verb)));
  const room = h("section.step", { tabIndex: -1 });
  const runs = h("section.runs", {});
  panel.append(h("div.train", {}, h("header", {}, title, lead), h("nav", {}, steps), room, runs));
  let shown = null;
  let name = null;

  const drawSteps = () => {
    set(title, { text: t("train.title") });
    set(lead, { text: t("train.lead") });
    set(steps.parentElement, { "aria-label": t("train.steps") });
    const now = names.indexOf(name);
    verbs.forEach((verb, index) => {
      set(verb, { disabled: !open(names[index]), "aria-current": index === now ? "step" : null, "data-done": index < now ? "" : null });
      set(verb.lastElementChild, { text: t(`step.${names[index]}`) });
    });
  };
  const draw = (focus) => {
    const before = shown;
    if (shown && shown.close) shown.close();
    room.replaceChildren();
    name = present();
    set(room, { "aria-label": t(`step.${name}`) });
    shown = STEPS[name](room) || {};
    drawSteps();
    if (focus === true && before) { room.focus({ preventScroll: true }); steps.scrollIntoView({ block: "nearest" }); }
  };
  // What can be shown may have changed with the news; a step that stands there stays as it is.
  const follow = () => (present() === name ? drawSteps() : draw());
  on("walk", draw);
  on("language", () => { draw(); });
  on("base", () => { if (name === "pictures" && !sets.current) draw(); }); // its remark on the base
  on("hello", () => { if (name === "recipe" && !room.childElementCount) draw(); });
  on("set", drawSteps);
  on("job", (job) => { if (job.id === draft.train.run) follow(); });
  on("ended", (job) => {
    if (job.kind === "train" && job.id === draft.train.run && job.state === "done" && draft.train.step === "progress") walk("result");
  });
  on("gone", (id) => {
    if (id !== draft.train.run) return;
    draft.train.run = null;
    keep();
    if (!["progress", "result"].includes(draft.train.step)) { drawSteps(); return; }
    draft.train.step = "pictures";
    tell(t("run.gone"));
    emit("walk");
  });
  runList(runs);
  draw();
  attempt(async () => {
    if (draft.train.run) watch(draft.train.run);
    if (draft.train.set) await loadSet(draft.train.set);
    await loadRuns();
    follow();
  });
}
