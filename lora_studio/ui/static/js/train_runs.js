// The list of past runs: look, continue, use as a recipe, delete.
import { button, h, icon, reconcile, set } from "./dom.js";
import { emit, on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { call, watch, world } from "./server.js";
import { loadLibrary } from "./library_data.js";
import { forget, loadSet, loadSets } from "./sets.js";
import { confirm } from "./dialog.js";
import { goesOn, resume } from "./train_progress.js";
import { walk } from "./train.js";
import { attempt, tell } from "./toast.js";
import { number, sentence, t, when } from "./text.js";

const past = { runs: [] };
const FIELDS_OF_ITS_OWN = ["name", "dataset", "recipe", "base", "preview_prompts"];

export async function loadRuns() {
  const answer = await call("runs", {}, Infinity);
  past.runs = answer.runs;
  if (world.hello) world.hello.seconds_per_step = answer.seconds_per_step;
  emit("runs");
}

export function runList(place) {
  const title = h("h3", {});
  const list = h("div.run-list", {});
  place.append(title, list);
  const draw = () => {
    place.hidden = !past.runs.length;
    set(title, { text: t("runs.title") });
    reconcile(list, past.runs, { key: (run) => run.id, make: () => h("article.run", {}), update: drawRun });
  };
  on("runs", draw);
  on("language", () => { for (const element of list.children) element.drawn = ""; draw(); });
  on("ended", (job) => { if (job.kind === "train") attempt(loadRuns); });
  on("gone", () => attempt(loadRuns));
  on("job", (job) => {
    const run = past.runs.find(({ id }) => id === job.id);
    if (run && run.state !== job.state) { run.state = job.state; draw(); }
  });
  draw();
}

function drawRun(element, run) {
  const key = JSON.stringify([run.state, run.adapter, run.set, run.checkpoint]);
  if (element.drawn === key) return;
  element.drawn = key;
  const open = goesOn(run.state, run.checkpoint);
  const from = open && run.checkpoint ? t("run.from_step", { step: number(run.checkpoint) }) : null;
  const active = ["queued", "running", "stopping"].includes(run.state);
  element.replaceChildren(
    h(`span.state.${run.state}`, {}, t(`state.${run.state}`)),
    h("div.facts", {}, h("b", {}, run.adapter || run.config.name || ""),
      h("p.hint", {}, [t(`recipe.${run.config.recipe || "balanced"}`), t("recipe.steps", { n: number(run.config.steps || 0) }), run.set || t("run.set_gone"), when(run.created), from].filter(Boolean).join(" · ")),
      run.state === "failed" && run.error ? h("p.remark.bad", {}, icon("warn"), h("span", {}, sentence(run.error))) : null),
    h("div.verbs", {},
      button("quiet.small", { text: t(active ? "run.watch" : "run.look"), onclick: () => look(run) }),
      open ? button("primary.small", { sign: "right", text: t("train.continue"), onclick: () => resume(run.id) }) : null,
      button("quiet.small", { sign: "again", text: t("run.as_recipe"), onclick: () => useAsRecipe(run) }),
      active ? null : button("ghost.square", { sign: "trash", label: t("run.delete"), onclick: () => removeRun(run) })));
}

function look(run) {
  watch(run.id);
  walk(run.state === "done" ? "result" : "progress", { run: run.id });
}

async function useAsRecipe(run) {
  const form = Object.fromEntries(Object.entries(run.config).filter(([name, value]) => !FIELDS_OF_ITS_OWN.includes(name) && value !== null && value !== ""));
  const prompts = run.config.preview_prompts || [];
  if (prompts.length) form.preview_prompts = prompts.join("\n");
  Object.assign(draft.train, { form, recipe: run.config.recipe });
  keep();
  if (run.set) await attempt(() => loadSet(run.config.dataset));
  walk(run.set ? "recipe" : "pictures");
  tell(t("run.recipe_taken"));
}

export async function removeRun(run) {
  const listed = past.runs.find(({ id }) => id === run.id) || run;
  const answer = await confirm(t("run.delete"), t("run.delete_text"), t("delete_for_good"), [
    listed.set ? { name: "pictures", label: t("run.delete_pictures", { name: listed.set }), on: false } : null,
    listed.adapter ? { name: "adapter", label: t("run.delete_adapter", { name: listed.adapter }), on: false } : null,
    listed.word ? { name: "word", label: t("run.delete_word", { name: listed.word }), on: false } : null,
  ].filter(Boolean));
  if (!answer) return;
  await attempt(async () => {
    await call("delete_run", { run: run.id, pictures: Boolean(answer.pictures), adapter: Boolean(answer.adapter), word: Boolean(answer.word) });
    if (draft.train.run === run.id) Object.assign(draft.train, { run: null, step: "pictures" });
    if (answer.pictures && listed.config.dataset) forget(listed.config.dataset);
    delete world.jobs[run.id];
    keep();
    tell(t("run.deleted"));
    await Promise.all([loadRuns(), loadLibrary(), loadSets()]);
    emit("walk");
  });
}
