// Step 3: the recipe. Three to choose from, every setting behind them, and the start.
import { h, set, uid } from "./dom.js";
import { on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { call, hurry, world } from "./server.js";
import { sets } from "./sets.js";
import { Fields } from "./fields.js";
import { settled } from "./train_captions.js";
import { loadRuns } from "./train_runs.js";
import { complain } from "./toast.js";
import { walk } from "./train.js";
import { about, many, number, sentence, t } from "./text.js";

const MAIN = ["name", "trigger"];
const SHOWN = ["steps", "rank", "learning_rate", "batch_size", "preview_every", "seed", "flip", "caption_dropout"];
const WORD = ["embedding", "embedding_vectors", "embedding_words", "embedding_rate", "embedding_share", "embedding_decay", "embedding_pull"];
const HIDDEN = ["recipe", "dataset"];
const SECONDS_PER_STEP = 0.3; // the embedded base, batch 8, two processor cores; only until a run here has been timed

// The settings as the form shows them: the recipe's, and over them what a person changed.
function values() {
  const { form, recipe } = draft.train;
  return { ...world.hello.recipes[recipe], name: sets.current ? sets.current.name : "", trigger: "", ...form };
}

function change(name, value) {
  draft.train.form = { ...draft.train.form, [name]: value };
  keep();
}

export function recipeStep(room) {
  if (!world.hello) return {};
  const plan = world.hello.form.train;
  const advanced = plan.map(({ name }) => name).filter((name) => ![...MAIN, ...SHOWN, ...WORD, ...HIDDEN].includes(name));
  const changed = (name, value) => { change(name, value); drawSummary(); };
  const forms = [MAIN, SHOWN, WORD, advanced].map((order) => new Fields(plan, { order, changed, place: "t" }));
  const summary = h("p.hint", {});
  const wrong = h("p.wrong", { role: "alert", hidden: true });
  const start = h("button.primary.big", { type: "button" }, t("train.start"));
  const cards = h("div.recipes", { role: "radiogroup", "aria-label": t("field.recipe") });
  const prompts = h("textarea.field", { rows: 2, id: "preview-prompts", placeholder: t("recipe.prompts_placeholder"), value: draft.train.form.preview_prompts || "" });
  prompts.addEventListener("input", () => change("preview_prompts", prompts.value));

  const drawCards = () => cards.replaceChildren(...Object.entries(world.hello.recipes).map(([kind, recipe]) => h("label.recipe-card", {},
    h("input", {
      type: "radio", name: "recipe", value: kind, checked: kind === draft.train.recipe,
      onchange: () => {
        const keepers = Object.fromEntries(Object.entries(draft.train.form).filter(([name]) => MAIN.includes(name) || name === "preview_prompts"));
        Object.assign(draft.train, { recipe: kind, form: keepers });
        keep();
        show();
      },
    }),
    h("b", {}, t(`recipe.${kind}`)), h("span", {}, t(`recipe.${kind}.what`)),
    h("small", {}, `${t("recipe.steps", { n: number(recipe.steps) })} · ${time(recipe.steps, true)}`))));
  const drawSummary = () => {
    const steps = Number(values().steps);
    const parts = [sets.current ? many("pictures.count", sets.current.items.length) : "", t("recipe.steps", { n: Number.isFinite(steps) ? number(steps) : "?" }), time(steps)];
    set(summary, { text: parts.filter(Boolean).join(" · ") });
  };
  const show = () => { for (const form of forms) form.show(values()); drawSummary(); };
  start.addEventListener("click", () => begin(start, forms, wrong));
  room.append(
    h("div.names", {}, forms[0].element), cards,
    h("details.more", { open: Object.keys(draft.train.form).some((name) => SHOWN.includes(name)) }, h("summary", {}, t("recipe.more")), forms[1].element,
      h("div.entry", {}, h("label", { htmlFor: prompts.id }, t("recipe.prompts")), prompts, h("p.hint", {}, t("recipe.prompts_hint")))),
    h("details.more", { open: Object.keys(draft.train.form).some((name) => WORD.includes(name)) }, h("summary", {}, t("recipe.word")), h("p.hint", {}, t("recipe.word_hint")), forms[2].element),
    h("details.more", { open: Object.keys(draft.train.form).some((name) => advanced.includes(name)) }, h("summary", {}, t("recipe.expert")), h("p.hint", {}, t("recipe.expert_hint")), forms[3].element),
    wrong, h("footer.next", {}, summary, start), h("p.hint", {}, t("recipe.share")));
  drawCards();
  show();
  const offs = [on("set", drawSummary), on("hello", () => { drawCards(); show(); })]; // another base has recipes of its own
  return { close: () => offs.forEach((off) => off()) };
}

// How long a training takes: from the pace of the last one here, else as it was measured on two processor cores.
function time(steps, short = false) {
  const pace = world.hello.seconds_per_step;
  if (!Number.isFinite(steps)) return "";
  if (pace) return about(pace * steps);
  const base = world.hello.base;
  if (!base || !base.small) return t("recipe.unknown_time");
  const guess = about(SECONDS_PER_STEP * steps);
  return short ? guess : t("recipe.guess", { time: guess });
}

async function begin(start, forms, wrong) {
  const { recipe, form } = draft.train;
  const job = uid();
  const sent = { name: values().name, ...form, recipe };
  set(wrong, { hidden: true, text: "" });
  start.disabled = true;
  try {
    await settled(); // it learns from the captions as they stand here
    await call("train", { job, set: sets.current ? sets.current.id : "", form: sent });
    walk("progress", { run: job });
    hurry();
    loadRuns();
  } catch (error) {
    if (!error.code) throw error;
    const named = error.code.startsWith("name_") ? Object.assign(error, { values: { ...error.values, field: "name" } }) : error;
    if (!forms.some((fields) => fields.fail(named))) {
      set(wrong, { hidden: false, text: sentence(error) });
      complain(error);
    }
  } finally { start.disabled = false; }
}
