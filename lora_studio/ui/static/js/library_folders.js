// How the folders that are read in place stand, and what is not shown: hidden LoRAs and files that are none.
import { button, h, icon, set } from "./dom.js";
import { on } from "./bus.js";
import { open } from "./dialog.js";
import { restore } from "./library_card.js";
import { shelf } from "./library_data.js";
import { call, world } from "./server.js";
import { attempt } from "./toast.js";
import { has, many, number, sentence, t } from "./text.js";

export function folders() {
  const element = h("div.folders", { role: "status" });
  const draw = () => {
    const { todo = 0, done = 0 } = (world.info || {}).library || {};
    const lines = shelf.folders.map((folder) => (folder.problem
      ? h("p.remark.bad", {}, icon("warn"), h("span", {}, sentence(folder.problem)))
      : h("p.remark.info", {}, icon("box"), h("span", {}, `${t("library.folder", { name: folder.folder })}: ${folder.read ? many("library.folder.files", folder.files) : t("library.folder.first")}`))));
    if (todo) lines.push(h("p.remark.info", {}, icon("again"), h("span", {}, t("library.folder.reading", { done: number(done), todo: number(todo) }))));
    const rest = shelf.hidden + shelf.folders.reduce((sum, folder) => sum + folder.unusable, 0);
    if (rest) lines.push(button("ghost.small", { sign: "note", text: `${t("library.others")} (${number(rest)})`, onclick: others }));
    const key = lines.map((line) => line.textContent).join("\n");
    if (element.drawn !== key) { element.drawn = key; element.replaceChildren(...lines); }
    set(element, { hidden: !lines.length });
  };
  for (const name of ["library", "info", "language"]) on(name, draw);
  draw();
  return { element };
}

async function others() {
  const body = h("div.others", {});
  const draw = async () => {
    const told = await attempt(() => call("hidden_adapters"));
    if (!told) return;
    const again = (entry) => button("quiet.small", { text: t("library.show_again"), onclick: () => restore(entry).then(draw) });
    const reason = (code) => (has(`library.file.${code}`) ? t(`library.file.${code}`) : code);
    body.replaceChildren(
      ...(told.adapters.length ? [h("h3", {}, t("library.others.hidden")), h("ul", {}, told.adapters.map((entry) => h("li", {}, h("span", {}, entry.name), again(entry))))] : []),
      ...(told.unusable.length ? [h("h3", {}, t("library.others.unusable")), h("ul", {}, told.unusable.map(({ place, code }) => h("li", {}, h("span", {}, place), h("span.hint", {}, reason(code)))))] : []),
      ...(told.adapters.length + told.unusable.length ? [] : [h("p.hint", {}, t("library.others.none"))]));
  };
  open(t("library.others"), body);
  await draw();
}
