// Files of LoRAs on their way into the library, each with what lay beside it: A1111's .json, .civitai.info, a picture.
import { hold } from "./autosave.js";
import { uid } from "./dom.js";
import { on } from "./bus.js";
import { find, loadLibrary } from "./library_data.js";
import { upload, watch } from "./server.js";
import { add } from "./stack.js";
import { attempt, complain, tell } from "./toast.js";
import { has, sentence, t } from "./text.js";

export const KINDS = ".safetensors,.pt,.ckpt,.bin";
export const SIDES = ".json,.info,.png,.jpg,.jpeg,.webp";

const LORA = /\.(safetensors|pt|ckpt|bin)$/i;
const SIDE = /(\.(safetensors|pt|ckpt|bin))?(\.civitai\.info|\.json|(\.preview)?\.(png|jpe?g|webp))$/i;

const stemOf = (name) => name.replace(LORA, "").toLowerCase();
const sideOf = (name) => (SIDE.test(name) ? name.replace(SIDE, "").toLowerCase() : null);

// A LoRA or an embedding: the server finds out which.
export const isModel = (file) => LORA.test(file.name);

// True for a file that lay beside one of the LoRAs that it came with.
export function isSide(file, files) {
  const stem = sideOf(file.name);
  return stem !== null && files.some((other) => LORA.test(other.name) && stemOf(other.name) === stem);
}

const expected = new Set(); // jobs whose LoRA goes into the stack
const beside = new Map(); // job to the files that lay beside its LoRA

// Sends files to the library, and on into the stack; the ids of the jobs that read them.
export async function take(files, intoStack = true) {
  const jobs = [];
  const sides = files.filter((file) => isSide(file, files));
  for (const file of files.filter((one) => !sides.includes(one))) {
    const job = uid();
    jobs.push(job);
    if (intoStack) expected.add(job);
    beside.set(job, sides.filter((side) => sideOf(side.name) === stemOf(file.name)));
    tell(t("stack.reading", { name: file.name }));
    try {
      await hold(upload("adapter", file, { job }));
      watch(job);
    } catch (error) { expected.delete(job); beside.delete(job); complain(error); }
  }
  return jobs;
}

on("ended", async (job) => {
  if (!["import_adapter", "download_adapter"].includes(job.kind)) return;
  if ((job.result || {}).embedding) { expected.delete(job.id); beside.delete(job.id); return; }
  if (job.state === "failed" && job.kind === "import_adapter") { complain(job.error); return; }
  if (job.state !== "done") return;
  for (const side of beside.get(job.id) || []) await attempt(() => upload("side", side, { sha256: job.result.adapter }));
  const dropped = beside.delete(job.id) || job.kind === "download_adapter";
  await attempt(loadLibrary);
  const entry = find(job.result.adapter);
  for (const warning of job.result.warnings || []) if (has(`error.${warning.code}`)) tell(sentence(warning));
  if (entry && expected.delete(job.id)) { add(entry); tell(t("stack.added", { name: entry.name })); }
  else if (entry && dropped) tell(t("library.added", { name: entry.name }));
});
