// Puts the rooms of the page together: fills each panel that Gradio mounts, and starts asking the server.
import * as text from "./text.js";
import { emit, on } from "./bus.js";
import { greet, startPolling } from "./server.js";
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
    if (key.startsWith("generate.")) return { __type__: "update", value: text.t(key) };
    if (key.startsWith("tab.")) return { __type__: "update", label: text.t(key) };
    return { __type__: "update", label: text.t(`${key}.label`), placeholder: text.t(`${key}.placeholder`) };
  });
}

// A tab that was never opened is drawn again with its old label until Gradio happens to draw it once more.
function nameTabs() {
  for (const tab of ["generate", "train", "library"]) {
    const label = [...(document.getElementById(`tab-${tab}-button`)?.childNodes ?? [])].find((node) => node.data?.trim());
    if (label && label.data !== text.t(`tab.${tab}`)) label.data = text.t(`tab.${tab}`);
  }
}

function keepTabsNamed() {
  new MutationObserver(nameTabs).observe(document.body, { childList: true, subtree: true });
  on("language", nameTabs);
  nameTabs();
}

async function start() {
  const waiting = window.studio.waiting;
  await text.load(window.studio.lang);
  Object.assign(window.studio, {
    mount, words, act,
    onLanguage: (listener) => { on("language", listener); listener(); keepTabsNamed(); }, // mounted after the tabs
  });
  document.title = "LoRA Studio";
  for (const [what, ...values] of waiting.splice(0)) window.studio[what](...values);
  installKeys();
  installDoors();
  await greet();
  loadLibrary();
  startPolling();
  emit("ready");
}

start();
