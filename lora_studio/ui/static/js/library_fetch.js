// Fetching a LoRA from Hugging Face or an address, where the operator allows it; else the page says who can.
import { button, h, icon, reconcile, set, uid } from "./dom.js";
import { on } from "./bus.js";
import { shelf } from "./library_data.js";
import * as progress from "./progress.js";
import { call, ended, hurry, watch, world } from "./server.js";
import { attempt } from "./toast.js";
import { sentence, t } from "./text.js";

const HUB = "huggingface.co";

export function fetcher() {
  const summary = h("summary", {});
  const field = h("input.field", { type: "text", autocomplete: "off", spellcheck: false });
  const verb = h("button.primary", { type: "submit" });
  const hint = h("p.hint", {});
  const wrong = h("p.wrong", { role: "alert", hidden: true });
  const running = h("div.fetching", {});
  const names = new Map(); // job to what was asked for
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); ask(); } }, h("div.line", {}, field, verb));
  const element = h("details.fetch", {}, summary, form, wrong, hint, running);

  const ask = async () => {
    const job = uid();
    set(wrong, { hidden: true, text: "" });
    try {
      await call("download_adapter", { job, source: field.value });
      names.set(job, field.value.trim());
      field.value = "";
      watch(job);
      draw();
    } catch (error) {
      if (!error.code) throw error;
      set(wrong, { hidden: false, text: sentence(error) });
      field.focus();
    }
  };
  const draw = () => {
    const { hub, hosts } = shelf.download;
    const allowed = [...(hub ? [HUB] : []), ...hosts];
    set(summary, { text: t("fetch.title") });
    set(field, { placeholder: t("fetch.placeholder"), "aria-label": t("fetch.label") });
    set(verb, { text: t("fetch.go") });
    set(form, { hidden: !allowed.length });
    set(hint, { text: allowed.length ? t("fetch.allowed", { hosts: allowed.join(", ") }) : t("fetch.off") });
    const jobs = Object.values(world.jobs).filter((job) => (job.kind === "download_adapter" || names.has(job.id)) && !ended(job));
    if (jobs.length) element.open = true;
    reconcile(running, jobs, { key: (job) => job.id, make: makeRow, update: updateRow });
  };
  const makeRow = (job) => {
    const row = progress.bar(t("fetch.running", { name: names.get(job.id) || "LoRA" }));
    const name = { name: names.get(job.id) || "LoRA" };
    const stop = button("quiet.small", { sign: "stop", text: t("cancel"), "aria-label": t("fetch.stop", name), onclick: () => attempt(async () => { await call("stop", { job: job.id }); hurry(); }) });
    const made = h("div.row", {}, icon("download"), h("span.name", {}, name.name), row.element, stop);
    made.bar = row;
    return made;
  };
  const updateRow = (row, job) => progress.draw(row.bar, job);
  on("ended", (job) => {
    if (job.kind !== "download_adapter" || job.state !== "failed") return;
    set(wrong, { hidden: false, text: sentence(job.error || {}) });
    if (!field.value) field.value = names.get(job.id) || "";
    element.open = true;
  });
  for (const name of ["library", "language", "info", "job"]) on(name, draw);
  draw();
  return { element };
}
