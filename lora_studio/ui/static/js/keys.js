// Keys: Ctrl+Enter makes a picture, Esc stops it, Alt+1..3 choose a tab.
import { act, mine } from "./prompt.js";
import { h } from "./dom.js";
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

export function installKeys() {
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
  // A file that misses its target must not replace the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  document.body.prepend(h("a.skip", { href: "#prompt" }, t("skip")));
}
