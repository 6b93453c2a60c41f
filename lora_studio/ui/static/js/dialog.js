// Dialogs: the browser's own <dialog>, which keeps the focus inside and closes by Esc.
import { button, h } from "./dom.js";
import { emit } from "./bus.js";
import { t } from "./text.js";

// `keep` is asked when somebody is about to leave: true where something typed would be lost, which is asked for then.
export function open(title, content, { wide = false, onclose = null, keep = () => false } = {}) {
  const heading = h("h2", { id: `d${Math.random().toString(36).slice(2)}` }, title);
  const leave = async () => {
    if (keep() && !(await confirm(t("dialog.unsaved"), t("dialog.unsaved_text"), t("dialog.discard")))) return;
    dialog.close();
  };
  const dialog = h(`dialog.sheet${wide ? ".wide" : ""}`, { "aria-labelledby": heading.id },
    h("header", {}, heading, button("ghost.square", { sign: "close", label: t("close"), onclick: leave })),
    h("div.body", {}, content));
  dialog.addEventListener("close", () => {
    emit("dialog", { dialog, open: false });
    dialog.remove();
    if (onclose) onclose();
  });
  dialog.addEventListener("cancel", (event) => { if (event.target === dialog && keep()) { event.preventDefault(); leave(); } });
  leaveByBackdrop(dialog, leave);
  document.body.append(dialog);
  dialog.showModal();
  emit("dialog", { dialog, open: true });
  return dialog;
}

// A click beside the dialog leaves it. One that began inside does not: somebody who selects a text may let go anywhere.
function leaveByBackdrop(dialog, leave) {
  let pressed = null;
  dialog.addEventListener("pointerdown", (event) => { pressed = event.target; });
  dialog.addEventListener("click", (event) => { if (event.target === dialog && pressed === dialog) leave(); });
}

// Asks before something that cannot be undone. `choices` are ticks, given back by name.
export function confirm(title, text, verb, choices = []) {
  return new Promise((done) => {
    const boxes = choices.map(({ name, label, on }) => {
      const box = h("input", { type: "checkbox", checked: Boolean(on) });
      return { name, box, row: h("label.tick", {}, box, h("span", {}, label)) };
    });
    let answer = null;
    const dialog = open(title, [
      h("p", {}, text),
      boxes.map(({ row }) => row),
      h("footer", {},
        button("quiet", { text: t("cancel"), onclick: () => dialog.close() }),
        button("danger", {
          text: verb,
          onclick: () => { answer = Object.fromEntries(boxes.map(({ name, box }) => [name, box.checked])); dialog.close(); },
        })),
    ], { onclose: () => done(answer) });
  });
}

// Asks for one text.
export function askText(title, label, value, verb) {
  return new Promise((done) => {
    let answer = null;
    const field = h("input.field", { type: "text", value, maxLength: 200, "aria-label": label });
    const submit = (event) => { event.preventDefault(); answer = field.value; dialog.close(); };
    const dialog = open(title, h("form", { onsubmit: submit },
      h("label.stacked", {}, h("span", {}, label), field),
      h("footer", {},
        button("quiet", { text: t("cancel"), onclick: () => dialog.close() }),
        h("button.primary", { type: "submit" }, verb))), { onclose: () => done(answer) });
    field.select();
  });
}
