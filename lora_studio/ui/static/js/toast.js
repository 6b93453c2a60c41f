// Short messages at the foot of the page: what went wrong, and what can be undone.
import { button, h, icon, set } from "./dom.js";
import { on } from "./bus.js";
import { sentence, t } from "./text.js";

// While a dialog is open everything outside of it is dimmed, deaf to clicks and silent: messages then stand inside.
const place = () => [...document.querySelectorAll("dialog[open]")].pop() || document.body;

function shelf() {
  let found = document.getElementById("toasts");
  if (!found) found = h("div", { id: "toasts", role: "region", "aria-label": t("toast.region") });
  if (found.parentElement !== place()) place().append(found);
  return found;
}

on("dialog", ({ dialog, open }) => {
  const found = document.getElementById("toasts");
  if (!found || !found.childElementCount) return;
  if (open || dialog.contains(found)) shelf();
});
on("language", () => { const found = document.getElementById("toasts"); if (found) set(found, { "aria-label": t("toast.region") }); });

// `seconds` of 0: it stays until somebody closes it.
function show(kind, content, seconds) {
  const toast = h(`div.toast.${kind}`, { role: kind === "bad" ? "alert" : "status" }, ...content);
  const away = () => toast.remove();
  toast.append(button("ghost.square", { sign: "close", label: t("close"), onclick: away }));
  shelf().append(toast);
  let timer = seconds ? setTimeout(away, seconds * 1000) : null;
  const hold = () => clearTimeout(timer);
  const release = () => { if (seconds) timer = setTimeout(away, 3000); };
  toast.addEventListener("pointerenter", hold);
  toast.addEventListener("pointerleave", release);
  toast.addEventListener("focusin", hold);
  return away;
}

export function tell(text) {
  return show("good", [icon("check"), h("p", {}, text)], 5);
}

export function complain(error) {
  if (!error || !error.code) throw error;
  return show("bad", [icon("warn"), h("p", {}, sentence(error))], 14);
}

// "Deleted. [Undo]" for ten seconds.
export function offerUndo(text, undo) {
  const away = show("good", [
    h("p", {}, text),
    button("quiet", { text: t("undo"), onclick: () => { away(); undo(); } }),
  ], 10);
}

// Something to be done when it suits; it stays until then.
export function offer(text, verb, act) {
  const away = show("good", [
    h("p", {}, text),
    button("quiet", { text: verb, onclick: () => { away(); act(); } }),
  ], 0);
}

// Runs what a person asked for; what goes wrong is said.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    complain(error);
    return undefined;
  }
}
