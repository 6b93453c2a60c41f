// Keys: Ctrl+Enter makes a picture, Esc stops it, Alt+1..3 choose a tab, ? tells all of them.
import { underway } from "./cells.js";
import { open } from "./dialog.js";
import { act } from "./prompt.js";
import { h, set } from "./dom.js";
import { on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { t } from "./text.js";

const TABS = ["generate", "train", "library"];
const KEYS = [["generate", "Ctrl", "Enter"], ["stop", "Esc"], ["tabs", "Alt", "1 – 3"], ["weight", "↑ ↓"], ["suggest", "Tab"], ["help", "?"]];

export function goTo(tab) {
  const found = document.getElementById(`tab-${tab}-button`);
  if (found) found.click();
}

export const shownTab = () => TABS.find((tab) => {
  const found = document.getElementById(`tab-${tab}-button`);
  return found && found.getAttribute("aria-selected") === "true";
});

// The keys with what they do.
export function showKeys() {
  open(t("keys.title"), h("dl.keys", {}, KEYS.flatMap(([name, ...keys]) => [
    h("dt", {}, keys.flatMap((key, index) => [index ? " + " : "", h("kbd", {}, key)])), h("dd", {}, t(`keys.${name}`)),
  ])));
}

// The tab that was open is opened again after a reload.
function rememberTab() {
  document.addEventListener("click", (event) => {
    const tab = event.target.closest && event.target.closest("#tabs [role=tab]");
    if (tab) keep({ tab: tab.dataset.tabId });
  });
  const found = () => {
    if (!shownTab()) requestAnimationFrame(found); // Gradio mounts the tabs a little later
    else if (TABS.includes(draft.tab) && draft.tab !== shownTab()) goTo(draft.tab);
  };
  found();
}

const typing = (target) => Boolean(target.closest && target.closest("input, textarea, select, [contenteditable]"));

export function installKeys() {
  rememberTab();
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && shownTab() === "generate") {
      event.preventDefault();
      act("generate");
    } else if (event.key === "Escape" && !event.defaultPrevented && underway().length && shownTab() === "generate") {
      act("stop");
    } else if (event.altKey && !event.ctrlKey && "123".includes(event.key) && event.key) {
      event.preventDefault();
      goTo(TABS[Number(event.key) - 1]);
    } else if (event.key === "?" && !event.ctrlKey && !event.metaKey && !event.altKey && !typing(event.target)) {
      event.preventDefault();
      showKeys();
    }
  });
  const skip = h("a.skip", { href: "#prompt" });
  const draw = () => {
    set(skip, { text: t("skip") });
    for (const [id, word, keys] of [["go", "generate.go", "Ctrl + Enter"], ["halt", "generate.stop", "Esc"]]) {
      const found = document.getElementById(id);
      if (found) set(found, { title: `${t(word)} (${keys})` });
    }
  };
  for (const name of ["language", "ready", "info"]) on(name, draw); // Gradio draws its buttons anew when it likes
  draw();
  document.body.prepend(skip);
}
