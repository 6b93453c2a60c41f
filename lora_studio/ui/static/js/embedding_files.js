// Files of embeddings on their way into the library: from a button, or dropped anywhere on the page.
import { hold } from "./autosave.js";
import { uid } from "./dom.js";
import { on } from "./bus.js";
import { loadLibrary } from "./library_data.js";
import { upload, watch } from "./server.js";
import { attempt, complain, tell } from "./toast.js";
import { has, sentence, t } from "./text.js";

export const KINDS = ".safetensors,.pt,.bin,.png";

export async function takeEmbeddings(files) {
  for (const file of files) {
    const job = uid();
    tell(t("stack.reading", { name: file.name }));
    try {
      await hold(upload("embedding", file, { job }));
      watch(job);
    } catch (error) { complain(error); }
  }
}

on("ended", async (job) => {
  if (job.kind === "import_embedding" && job.state === "failed") complain(job.error);
  const { embedding, name, warnings } = job.result || {};
  if (!embedding || job.state !== "done" || job.kind === "train") return; // a training tells of its word itself
  await attempt(loadLibrary);
  for (const warning of warnings || []) if (has(`error.${warning.code}`)) tell(sentence(warning));
  tell(t("embedding.added", { name }));
});
