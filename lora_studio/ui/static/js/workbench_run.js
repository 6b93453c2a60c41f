// One job of the workbench at a time: its bar, a button that stops it, and what went wrong beneath.
import { button, h, set, uid } from "./dom.js";
import { on } from "./bus.js";
import { loadLibrary, shelf } from "./library_data.js";
import { bar, draw as drawBar } from "./progress.js";
import { call, watch } from "./server.js";
import { sentence, t } from "./text.js";

export class Runner {
  constructor() {
    this.bar = bar(t("bench.tools"));
    this.stopper = button("quiet.small", { sign: "stop", text: t("bench.stop"), onclick: () => this.stop() });
    this.wrong = h("p.wrong", { role: "alert", hidden: true });
    this.row = h("div.bench-run", { hidden: true }, this.bar.element, this.stopper);
    this.element = h("div", {}, this.row, this.wrong);
    this.fields = {}; // by the names that refusals call them
    this.job = null;
    this.sent = false; // the server knows the job
    this.unwanted = false; // it was to be stopped before the server knew it
    this.off = [];
  }

  leave() {
    for (const off of this.off.splice(0)) off();
    if (this.job) this.stop();
    this.job = null;
  }

  stop() {
    if (this.sent) call("stop", { job: this.job }).catch(() => {});
    else this.unwanted = true;
  }

  // The result of a tool, null where it was stopped or refused; `fresh` says that its LoRA was not in the library before.
  async run(tool, request, name = "") {
    this.leave();
    const job = this.job = uid();
    const before = new Set(shelf.adapters.map((entry) => entry.sha256));
    this.sent = this.unwanted = false;
    this.clear();
    set(this.row, { hidden: false });
    drawBar(this.bar, null);
    const ended = new Promise((done) => {
      this.off.push(on("job", (news) => { if (news.id === job) drawBar(this.bar, news); }));
      this.off.push(on("ended", (over) => { if (over.id === job) done(over); }));
    });
    try {
      await call("workbench", { tool, request, job, name });
      if (this.job !== job) { call("stop", { job }).catch(() => {}); return null; }
      this.sent = true;
      if (this.unwanted) this.stop();
      watch(job);
      const over = await ended;
      if (this.job !== job) return null;
      this.finish();
      if (over.state === "failed") throw over.error;
      if (over.state !== "done") { set(this.wrong, { text: t("bench.stopped"), hidden: false }); return null; }
      const fresh = Boolean(over.result.adapter) && !before.has(over.result.adapter);
      if (over.result.adapter) await loadLibrary();
      return { ...over.result, fresh };
    } catch (error) {
      if (!error || !error.code) throw error;
      this.finish();
      this.fail(error);
      return null;
    }
  }

  clear() {
    set(this.wrong, { hidden: true });
    for (const field of Object.values(this.fields).flat()) field.removeAttribute("aria-invalid");
  }

  // Says a refusal, and goes to the field that it is about.
  fail(error) {
    set(this.wrong, { text: sentence(error), hidden: false });
    const { field, given } = error.values || {};
    const named = [this.fields[field] || []].flat();
    const meant = named.find((one) => one.value.trim() === String(given)) || named[0];
    if (!meant || !meant.checkVisibility()) { this.wrong.scrollIntoView({ block: "nearest" }); return; }
    meant.setAttribute("aria-invalid", "true");
    meant.focus();
  }

  finish() {
    for (const off of this.off.splice(0)) off();
    this.job = null;
    set(this.row, { hidden: true });
  }
}
