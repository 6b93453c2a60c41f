// Step 5: what came out of it, and what to do with it.
import { button, h, icon } from "./dom.js";
import { on } from "./bus.js";
import { draft } from "./draft.js";
import { world } from "./server.js";
import { find, loadLibrary, shelf } from "./library_data.js";
import { add, replaceStack } from "./stack.js";
import { insert, write } from "./prompt.js";
import { tagsOf } from "./words.js";
import { rename } from "./library.js";
import { goTo } from "./keys.js";
import { thumbUrl } from "./pictures.js";
import { attempt } from "./toast.js";
import { removeRun } from "./train_runs.js";
import { walk } from "./train.js";
import { bytes, duration, number, t } from "./text.js";

// Puts a LoRA alone into the stack at weight 1 and its trigger words into the prompt, and goes there.
export function tryIt(entry) {
  replaceStack([]);
  add(entry, 1);
  const there = tagsOf(draft.prompt);
  const missing = entry.trigger_words.filter((word) => !tagsOf(word).every((tag) => there.includes(tag)));
  if (!draft.prompt.trim()) {
    const base = (world.hello || {}).base;
    const start = base && base.defaults.preview_prompts[0];
    if (start) write("prompt", start);
  }
  goTo("generate");
  for (const word of missing) insert(word);
}

export function resultStep(room) {
  const draw = () => {
    const job = world.jobs[draft.train.run];
    const result = job && job.result;
    room.replaceChildren(...(result ? card(job, result, find(result.adapter)) : [h("p.hint", {}, t("progress.none"))]));
  };
  const offs = [on("library", draw), on("job", (job) => { if (job.id === draft.train.run && !room.querySelector(".result")) draw(); })];
  draw();
  if (!shelf.loaded) attempt(loadLibrary);
  return { close: () => offs.forEach((off) => off()) };
}

function card(job, result, entry) {
  const best = job.previews[job.previews.length - 1];
  const sha = entry && entry.cover ? entry.cover : best && best.sha256;
  const share = result.base_parameters ? (100 * result.trainable_parameters) / result.base_parameters : null;
  const facts = [
    [t("result.steps"), number(result.steps)], [t("result.time"), duration(result.seconds)],
    [t("result.loss"), number(result.final_loss, 4)],
    [t("result.size"), entry ? bytes(entry.size) : ""],
    [t("result.embedding"), result.embedding ? t("result.embedding_what", { name: result.embedding.name, n: number(result.embedding.vectors) }) : ""],
    [t("result.numbers"), share === null ? "" : t("result.share", { n: number(result.trainable_parameters), all: number(result.base_parameters), share: number(share, 2) })],
  ].filter(([, value]) => value);
  return [h("div.result", {},
    sha ? h("div.frame.static", {}, h("img", { src: thumbUrl(sha, 512), alt: t("result.preview", { name: result.name }) })) : h("div.frame.blank", {}, icon("layers")),
    h("div.facts", {},
      h("h3", {}, entry ? entry.name : result.name),
      entry && entry.trigger_words.length ? h("p.words", {}, t("result.words", { words: entry.trigger_words.join(", ") })) : null,
      h("dl", {}, facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
      entry ? h("div.verbs", {},
        button("primary", { sign: "right", text: t("result.try"), onclick: () => tryIt(entry) }),
        h("a.quiet.button", { href: `/studio/adapter/${entry.sha256}.safetensors`, download: "" }, icon("download"), h("span", {}, t("result.download"))),
        result.embedding && shelf.embeddings.some(({ sha256 }) => sha256 === result.embedding.sha256) ? h("a.quiet.button", { href: `/studio/embedding/${result.embedding.sha256}`, download: "" }, icon("download"), h("span", {}, t("result.download_embedding"))) : null,
        button("quiet", { sign: "edit", text: t("rename"), onclick: () => rename(entry) }))
        : h("p.hint", {}, t("result.gone")),
      h("div.verbs.low", {},
        button("quiet.small", { sign: "plus", text: t("result.another"), onclick: () => walk("pictures") }),
        button("quiet.small", { sign: "trash", text: t("run.delete"), onclick: () => removeRun({ ...job, config: {} }) }))))];
}
