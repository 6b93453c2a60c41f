// Puts the rooms of the page together: fills each panel that Gradio mounts, and starts asking the server.
import { load, t } from "./text.js";
import { unsaved } from "./autosave.js";
import { emit, on } from "./bus.js";
import { greet, startPolling } from "./server.js";
import { book } from "./cells.js";
import { complain, offer } from "./toast.js";
import { loadLibrary } from "./library_data.js";
import { header } from "./header.js";
import { act, promptHelp } from "./prompt.js";
import { explainNegative, explainPrompt } from "./explain.js";
import { stack } from "./stack.js";
import { settings } from "./settings.js";
import { installDoors, recall } from "./recall.js";
import { stage } from "./stage.js";
import { notebook } from "./notebook.js";
import { train } from "./train.js";
import { library } from "./library.js";
import { installKeys } from "./keys.js";

const PANELS = {
  header, "prompt-help": promptHelp, "explain-prompt": explainPrompt, "explain-negative": explainNegative, recall, stack, settings, stage, notebook, train, library,
};

function mount(name, element) {
  PANELS[name](element);
}

// Native widgets take their words as Gradio updates, in the order in which Python listed the keys.
function words(keys) {
  return keys.map((key) => {
    if (key.startsWith("generate.")) return { __type__: "update", value: t(key) };
    if (key.startsWith("tab.")) return { __type__: "update", label: t(key) };
    return { __type__: "update", label: t(`${key}.label`), placeholder: t(`${key}.placeholder`) };
  });
}

// A tab that was never opened is drawn again with its old label until Gradio happens to draw it once more.
function nameTabs() {
  for (const tab of ["generate", "train", "library"]) {
    const label = [...(document.getElementById(`tab-${tab}-button`)?.childNodes ?? [])].find((node) => node.data?.trim());
    if (label && label.data !== t(`tab.${tab}`)) label.data = t(`tab.${tab}`);
  }
}

function keepTabsNamed() {
  const row = document.querySelector("#tabs > .tab-wrapper");
  if (!row) { requestAnimationFrame(keepTabsNamed); return; } // Gradio mounts the tabs a little later
  new MutationObserver(nameTabs).observe(row, { childList: true, characterData: true, subtree: true });
  for (const name of ["language", "info"]) on(name, nameTabs);
  nameTabs();
}

// The browser asks before it leaves a page from which something has still to be sent.
function guard() {
  window.addEventListener("beforeunload", (event) => { if (unsaved() || book.cells.some(({ asked }) => asked)) event.preventDefault(); });
}

// The server is another version than this page: what the two say to each other may not fit any more.
function offerReload() {
  const off = on("info", ({ page }) => {
    if (!page || import.meta.url.includes(`/${page}/`)) return;
    off();
    offer(t("outdated"), t("reload"), () => location.reload());
  });
}

// Asks until there is an answer; what is wrong meanwhile is said once.
async function persist(ask) {
  for (let said = false; ; said = true) {
    try { return await ask(); } catch (error) {
      if (!error.code) throw error;
      if (!said) complain(error);
      await new Promise((done) => setTimeout(done, 2000));
    }
  }
}

async function start() {
  const waiting = window.studio.waiting;
  await load(window.studio.lang);
  Object.assign(window.studio, {
    mount, words, act,
    onLanguage: (listener) => { on("language", listener); listener(); },
  });
  document.title = "LoRA Studio";
  for (const [what, ...values] of waiting.splice(0)) window.studio[what](...values);
  keepTabsNamed();
  installKeys();
  installDoors();
  guard();
  offerReload();
  await persist(greet);
  persist(loadLibrary);
  startPolling();
  emit("ready");
}

start();
