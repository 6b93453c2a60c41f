// Styles: named pieces of prompt. Picked ones stand as chips under the prompt and act when a picture is made.
import { button, h, reconcile, set } from "./dom.js";
import { on } from "./bus.js";
import { askText, open } from "./dialog.js";
import { draft, keep } from "./draft.js";
import { call } from "./server.js";
import { attempt, tell } from "./toast.js";
import { many, sentence, t } from "./text.js";

const shelf = { styles: [] };

function pick(name, yes) {
  const others = draft.styles.filter((one) => one !== name);
  keep({ styles: yes ? [...others, name] : others }, "styles");
}

// The chips of the styles that are picked.
export function styleChips() {
  const box = h("div.chips.styles", {});
  const draw = () => {
    reconcile(box, draft.styles, {
      key: (name) => name,
      make: (name) => button("chip.picked", { sign: "close", text: name, onclick: () => pick(name, false) }),
      update: (chip, name) => set(chip, { "aria-label": t("styles.drop", { name }), title: t("styles.drop", { name }) }),
    });
    box.hidden = draft.styles.length === 0;
  };
  on("draft", (what) => { if (what === "styles" || what === null) draw(); });
  on("language", draw);
  draw();
  return box;
}

export async function chooseStyles() {
  const list = h("div.picks.stylelist", { role: "list" });
  const empty = h("p.hint", {}, t("styles.none"));
  const input = h("input", { type: "file", accept: ".csv,text/csv", hidden: true, "aria-label": t("styles.import") });
  const draw = () => {
    reconcile(list, shelf.styles, { key: ({ name }) => name, make: makeRow, update: (row, style) => updateRow(row, style, show) });
    empty.hidden = shelf.styles.length > 0;
  };
  const show = (answer) => { if (answer) { shelf.styles = answer.styles; draw(); } };
  input.addEventListener("change", async () => {
    const [file] = input.files;
    input.value = "";
    if (file) show(await attempt(() => read(file)));
  });
  open(t("styles.title"), [
    h("p.hint", {}, t("styles.hint")), list, empty, input,
    h("footer", {},
      button("quiet", { sign: "upload", text: t("styles.import"), onclick: () => input.click() }),
      button("quiet", { sign: "download", text: t("styles.export"), onclick: () => attempt(save) }),
      button("primary", { sign: "plus", text: t("styles.save"), onclick: async () => show(await keepForm()) })),
  ]);
  draw();
  show(await attempt(() => call("styles")));
}

function makeRow({ name }) {
  const box = h("input", { type: "checkbox" });
  box.addEventListener("change", () => pick(name, box.checked));
  return h("div.stylerow", { role: "listitem" },
    h("label.tick", {}, box, h("span", {}, h("b", {}, name), h("small", {}))),
    button("ghost.square", { sign: "trash", label: t("styles.delete", { name }) }));
}

function updateRow(row, style, show) {
  const [label, gone] = row.children;
  label.firstElementChild.checked = draft.styles.includes(style.name);
  const excerpt = [style.prompt, style.negative_prompt && `− ${style.negative_prompt}`].filter(Boolean).join("  ");
  set(row.querySelector("small"), { text: excerpt });
  gone.hidden = !style.mine;
  gone.onclick = async () => {
    const answer = await attempt(() => call("delete_style", { name: style.name }));
    if (!answer) return;
    pick(style.name, false);
    tell(t("styles.deleted", { name: style.name }));
    show(answer);
  };
}

async function keepForm() {
  const name = await askText(t("styles.save"), t("styles.save_name"), "", t("styles.save"));
  if (name === null) return null;
  const answer = await attempt(() => call("save_style", { name, prompt: draft.prompt, negative_prompt: draft.negative }));
  if (answer) tell(t("styles.saved", { name: name.trim() }));
  return answer;
}

async function read(file) {
  const answer = await call("import_styles", { text: await file.text() });
  tell(many("styles.imported", answer.count));
  for (const warning of answer.warnings) tell(sentence(warning));
  return answer;
}

// A1111 writes its file with a byte order mark, and spreadsheets need it.
async function save() {
  const { text } = await call("export_styles");
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
  const link = h("a", { href: url, download: "styles.csv" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
