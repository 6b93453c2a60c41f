// A progress bar with its words: where a job is, how long it will take, who is before it.
import { h, set } from "./dom.js";
import { about, bytes, number, t } from "./text.js";

export function bar(label) {
  const fill = h("span.fill", {});
  const track = h("div.bar", { role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": label }, fill);
  const words = h("p.hint", {});
  return { element: h("div.progress", {}, track, words), track, fill, words };
}

// Share of the work that is done, 0 to 1; null while it cannot be known.
export function share(job) {
  const progress = job && job.progress;
  if (!progress || !progress.steps) return null;
  const pictures = progress.pictures || 1;
  if (progress.phase === "sample" && pictures > 1 && progress.picture !== undefined) {
    return Math.min(1, (progress.picture + progress.step / progress.steps) / pictures);
  }
  return Math.min(1, progress.step / progress.steps);
}

export function words(job) {
  if (!job || job.state === "queued") {
    return job && job.ahead ? t("progress.ahead", { n: number(job.ahead) }) : t("progress.queued");
  }
  if (job.state === "stopping") return t("progress.stopping");
  const progress = job.progress;
  if (!progress || !progress.steps) return t("progress.begins");
  const place = t(`phase.${progress.phase}`, { step: number(progress.step), steps: number(progress.steps) });
  // Of a file to be made, told before it is made.
  const phase = progress.size && progress.phase === "workbench" ? `${place} · ${t("bench.plan.most", { size: bytes(progress.size) })}` : place;
  const left = progress.seconds_left;
  return left === undefined || left === null ? phase : `${phase} · ${t("progress.left", { time: about(left) })}`;
}

export function draw({ track, fill, words: line }, job) {
  const done = share(job);
  const percent = done === null ? 0 : Math.round(done * 100);
  const text = words(job);
  track.classList.toggle("unknown", done === null);
  fill.style.width = `${percent}%`;
  set(track, { "aria-valuenow": done === null ? null : percent, "aria-valuetext": text });
  set(line, { text });
}
