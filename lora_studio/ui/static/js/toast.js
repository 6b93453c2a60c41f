// Short messages at the foot of the page: what went wrong, and what can be undone.
import { button, h, icon } from "./dom.js";
import { sentence, t } from "./text.js";

function shelf() {
  let found = document.getElementById("toasts");
  if (!found) {
    found = h("div", { id: "toasts", role: "region", "aria-label": t("toast.region") });
    document.body.append(found);
  }
  return found;
}

function show(kind, content, seconds) {
  const toast = h(`div.toast.${kind}`, { role: kind === "bad" ? "alert" : "status" }, ...content);
  const away = () => toast.remove();
  toast.append(button("ghost.square", { sign: "close", label: t("close"), onclick: away }));
  shelf().append(toast);
  let timer = setTimeout(away, seconds * 1000);
  const hold = () => clearTimeout(timer);
  const release = () => { timer = setTimeout(away, 3000); };
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

// Runs what a person asked for; what goes wrong is said.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    complain(error);
    return undefined;
  }
}
