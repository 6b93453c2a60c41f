// Dialogs: the browser's own <dialog>, which keeps the focus inside and closes by Esc.
import { button, h } from "./dom.js";
import { t } from "./text.js";

export function open(title, content, { wide = false, onclose = null } = {}) {
  const heading = h("h2", { id: `d${Math.random().toString(36).slice(2)}` }, title);
  const dialog = h(`dialog.sheet${wide ? ".wide" : ""}`, { "aria-labelledby": heading.id },
    h("header", {}, heading, button("ghost.square", { sign: "close", label: t("close"), onclick: () => dialog.close() })),
    h("div.body", {}, content));
  dialog.addEventListener("close", () => { dialog.remove(); if (onclose) onclose(); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
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
