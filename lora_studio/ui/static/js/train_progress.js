// Step 4: the training as it goes: bar, words, chart, previews, and Stop, which asks what to keep.
import { button, h, reconcile, set, uid } from "./dom.js";
import { on } from "./bus.js";
import { draft } from "./draft.js";
import { call, ended, hurry, revive, watch, world } from "./server.js";
import { Chart, verdict } from "./chart.js";
import { open } from "./dialog.js";
import { large, thumbUrl } from "./pictures.js";
import * as progress from "./progress.js";
import { attempt } from "./toast.js";
import { walk } from "./train.js";
import { number, sentence, t } from "./text.js";

export function progressStep(room) {
  const id = draft.train.run;
  if (!id) { room.append(h("p.hint", {}, t("progress.none"))); return {}; }
  watch(id);
  const bar = progress.bar(t("train.progress"));
  const words = h("p.verdict", { role: "status" });
  const chart = new Chart();
  const strip = h("div.previews", { role: "list" });
  const stripTitle = h("h3", {}, t("previews.title"));
  const verbs = h("footer.next", {});
  const remarks = h("div.remarks", {});
  room.append(bar.element, words, remarks, chart.element, stripTitle, strip, verbs);
  let state = "";
  const draw = (job) => {
    if (!job || job.id !== id) return;
    const running = !ended(job);
    bar.element.hidden = !running;
    if (running) progress.draw(bar, job);
    const steps = (job.progress && job.progress.phase === "train" && job.progress.steps) || (job.losses.length ? job.losses[job.losses.length - 1][0] : 1);
    chart.draw(job.losses, steps);
    set(words, { text: running ? t(verdict(job.losses, progress.share(job) || 0)) : ending(job) });
    words.dataset.state = job.state;
    drawPreviews(strip, stripTitle, job);
    remarks.replaceChildren(...job.warnings.map((warning) => h("p.remark.info", {}, sentence(warning))));
    if (job.state !== state) { state = job.state; drawVerbs(verbs, job); }
  };
  draw(world.jobs[id]);
  return { close: on("job", draw) };
}

// A run that ended before its time and can go on: an interrupted one, or one that failed after a checkpoint.
export function goesOn(state, checkpoint) {
  return state === "interrupted" || (state === "failed" && Boolean(checkpoint));
}

// Step of the newest checkpoint, 0 without one.
function checkpointOf(job) {
  return job.checkpoints.length ? job.checkpoints[job.checkpoints.length - 1].step : 0;
}

function ending(job) {
  const step = checkpointOf(job);
  if (job.state === "failed") return sentence(job.error || {}) + (step ? ` ${t("run.failed_at", { step: number(step) })}` : "");
  if (job.state === "interrupted") return step ? t("run.interrupted_at", { step: number(step) }) : t("run.interrupted");
  if (job.state === "cancelled") return t("run.discarded");
  return t("run.done");
}

// A column for each step, with the same prompts always in the same rows.
function drawPreviews(strip, title, job) {
  title.hidden = !job.previews.length;
  const near = strip.scrollWidth - strip.clientWidth - strip.scrollLeft < 40;
  const before = strip.children.length;
  const steps = [...new Set(job.previews.map(({ step }) => step))].sort((a, b) => a - b);
  reconcile(strip, steps, {
    key: (step) => step,
    make: (step) => h("div.preview-step", { role: "listitem" }, h("div", {}), h("small", {}, t("previews.step", { step: number(step) }))),
    update: (column, step) => reconcile(column.firstElementChild, job.previews.filter((preview) => preview.step === step), {
      key: (preview) => `${preview.prompt}-${preview.sha256}`, make: preview,
    }),
  });
  if (near && strip.children.length > before) strip.scrollLeft = strip.scrollWidth;
}

function preview({ step, prompt, seed, sha256 }) {
  return h("button.preview", {
    type: "button", "aria-label": t("previews.of", { step: number(step), prompt: prompt || "" }),
    onclick: () => large({ sha256, seed }, prompt || "", { prompt: prompt || "" }),
  }, h("img", { src: thumbUrl(sha256), alt: "", loading: "lazy" }));
}

function drawVerbs(verbs, job) {
  const found = [];
  if (job.state === "running") found.push(button("quiet", { sign: "stop", text: t("train.stop"), onclick: () => askStop(job) }));
  if (job.state === "queued") found.push(button("quiet", { sign: "close", text: t("train.unqueue"), onclick: () => attempt(async () => { await call("stop", { job: job.id }); hurry(); }) }));
  if (goesOn(job.state, checkpointOf(job))) found.push(button("primary", { sign: "right", text: t("train.continue"), onclick: () => resume(job.id) }));
  if (job.state === "done") found.push(button("primary", { sign: "right", text: t("next.result"), onclick: () => walk("result") }));
  if (job.state === "failed" || job.state === "cancelled") found.push(button("quiet", { sign: "again", text: t("train.recipe_again"), onclick: () => walk("recipe") }));
  verbs.replaceChildren(...found);
}

export async function resume(id) {
  const answer = await attempt(() => call("resume", { run: id, job: uid() }));
  if (!answer) return;
  revive(id);
  walk("progress", { run: id });
}

function askStop(job) {
  const act = (verb) => attempt(async () => { dialog.close(); await call(verb, { job: job.id }); hurry(); });
  const last = job.losses[job.losses.length - 1];
  const dialog = open(t("stop.title"), [
    h("p", {}, t("stop.text", { step: number(last ? last[0] : 0) })),
    h("footer", {},
      button("quiet", { text: t("stop.go_on"), onclick: () => dialog.close() }),
      button("danger", { sign: "trash", text: t("stop.discard"), onclick: () => act("stop") }),
      button("primary", { sign: "check", text: t("stop.keep"), onclick: () => act("finish") })),
  ]);
}
