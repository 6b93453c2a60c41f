// A text that is saved while it is typed. One save at a time: two that repeat themselves through an outage, each at its
// own pace, would arrive in any order, and the older text could stay.
import { debounce } from "./dom.js";

const pending = new Set(); // what the server has not got yet

export const unsaved = () => pending.size > 0;

// Counts a promise as unsaved until it has an end: a file on its way.
export async function hold(work) {
  pending.add(work);
  try { return await work; } finally { pending.delete(work); }
}

export class Autosave {
  // saved: the text that the server has      read(): the text as it stands      send(text): a promise of saving it
  // told("saving" | "saved" | "failed", error): how it goes
  constructor(saved, { read, send, told = () => {}, wait = 400 }) {
    Object.assign(this, { saved, read, send, told });
    this.running = null;
    this.later = debounce(wait, () => this.start());
  }

  get dirty() { return this.read() !== this.saved; }

  // Something was typed: saved after a pause.
  typed() {
    this.mark();
    if (this.dirty) this.told("saving");
    this.later();
  }

  // The text came from the server. While a save is on its way nobody knows which of the two came first: then the text
  // that stands here is sent once more.
  seen(text) {
    if (!this.running) this.saved = text;
    this.mark();
  }

  // Saves at once what is not saved yet; comes back when that is done.
  async now() {
    this.later.now();
    await this.running;
  }

  start() {
    if (this.running || !this.dirty) return;
    this.running = this.run().finally(() => { this.running = null; this.mark(); });
  }

  async run() {
    while (this.dirty) {
      const text = this.read();
      this.told("saving");
      try {
        await this.send(text);
      } catch (error) {
        if (!error.code) throw error;
        if (error.kind === "NotFound") this.saved = text; // what it belongs to is gone: there is nothing to save any more
        this.told("failed", error);
        return;
      }
      this.saved = text;
    }
    this.told("saved");
  }

  mark() {
    if (this.dirty) pending.add(this);
    else pending.delete(this);
  }
}
