// The workbench: a dialog with a tool on each tab, for one LoRA or to make a new one. Every tool is a job.
import { button, h, set } from "./dom.js";
import { open } from "./dialog.js";
import { t } from "./text.js";
import { combine } from "./workbench_combine.js";
import { extract } from "./workbench_extract.js";
import { meta } from "./workbench_meta.js";
import { Runner } from "./workbench_run.js";
import { bake, convert, inspect, resize } from "./workbench_tools.js";

const OF_ONE = { inspect, convert, resize, combine, bake, meta };
const NEW = { combine, extract };

// The button on a card.
export const benchButton = (entry) =>
  button("ghost.square", { sign: "wave", label: t("bench.open", { name: entry.name }), onclick: () => openBench(entry) });

// The tools of one LoRA; without one those that make a new one of several files.
export function openBench(entry = null) {
  const tools = entry ? OF_ONE : NEW;
  const pane = h("div.bench-pane", { id: "bench-pane", role: "tabpanel" });
  const tabs = Object.keys(tools).map((name) => h("button.ghost", {
    type: "button", role: "tab", id: `bench-${name}`, "aria-controls": "bench-pane", onclick: () => show(name),
  }, t(`bench.${name}`)));
  const list = h("div.bench-tabs", { role: "tablist", "aria-label": t("bench.tools") }, tabs);
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const tab = tabs[(next + tabs.length) % tabs.length];
    tab.focus();
    tab.click();
  });
  let leave = () => {};
  const show = (name) => {
    leave();
    for (const tab of tabs) set(tab, { "aria-selected": tab.id === `bench-${name}`, tabindex: tab.id === `bench-${name}` ? 0 : -1 });
    set(pane, { "aria-labelledby": `bench-${name}` });
    tabs.find((tab) => tab.id === `bench-${name}`).scrollIntoView({ block: "nearest", inline: "nearest" });
    const runner = new Runner();
    leave = () => runner.leave();
    pane.replaceChildren(...[tools[name](entry, runner)].flat());
  };
  const title = entry ? t("bench.title", { name: entry.name }) : t("bench.make_title");
  const dialog = open(title, [list, pane], { wide: true, onclose: () => leave() });
  dialog.classList.add("bench");
  show(Object.keys(tools)[0]);
  tabs[0].focus();
}
