// Keys: Ctrl+Enter makes a picture, Esc stops it, Alt+1..3 choose a tab.
import { act, mine } from "./prompt.js";
import { h } from "./dom.js";
import { on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { t } from "./text.js";

const TABS = ["generate", "train", "library"];

export function goTo(tab) {
  const found = document.getElementById(`tab-${tab}-button`);
  if (found) found.click();
}

export const shownTab = () => TABS.find((tab) => {
  const found = document.getElementById(`tab-${tab}-button`);
  return found && found.getAttribute("aria-selected") === "true";
});

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

// Gradio hands new labels on to those tabs only that it has built already: the others are named here.
function nameTabs() {
  for (const tab of TABS) {
    const shown = document.getElementById(`tab-${tab}-button`);
    const text = [...(shown ? shown.childNodes : [])].find((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (text && text.data !== t(`tab.${tab}`)) text.data = t(`tab.${tab}`);
  }
}

export function installKeys() {
  for (const name of ["language", "hello", "info"]) on(name, nameTabs);
  rememberTab();
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && shownTab() === "generate") {
      event.preventDefault();
      act("generate");
    } else if (event.key === "Escape" && !event.defaultPrevented && mine().length && shownTab() === "generate") {
      act("stop");
    } else if (event.altKey && !event.ctrlKey && "123".includes(event.key) && event.key) {
      event.preventDefault();
      goTo(TABS[Number(event.key) - 1]);
    }
  });
  document.body.prepend(h("a.skip", { href: "#prompt" }, t("skip")));
}
