// The workbench's tool for what stands in a LoRA file's header: shown, changed, previewed, written as a new file.
import { button, h } from "./dom.js";
import { t } from "./text.js";
import { labelled, suffixed, textOf, tick } from "./workbench_parts.js";
import { madeView } from "./workbench_report.js";

export function meta(entry, runner) {
  const list = h("dl.meta-list", {});
  const made = h("div", {});
  const removed = new Set();
  const key = textOf("modelspec.title");
  const value = textOf("", 100000);
  const strip = tick(t("bench.strip")), hashes = tick(t("bench.hashes")), cover = tick(t("bench.cover"));
  const name = textOf(suffixed(entry, t("bench.meta").toLowerCase()));
  const request = (write) => ({
    file: entry.sha256, put: key.value.trim() && value.value ? { [key.value.trim()]: value.value } : {}, remove: [...removed],
    strip: strip.box.checked, hashes: hashes.box.checked, thumbnail: cover.box.checked ? entry.cover : "", write,
  });
  const preview = async () => {
    const result = await runner.run("meta", request(false));
    if (result) list.replaceChildren(...rows(result, removed, preview));
    return result;
  };
  const write = async () => {
    made.replaceChildren();
    const result = await runner.run("meta", request(true), name.value.trim());
    if (result) made.replaceChildren(madeView(result, name.value.trim() || entry.name));
  };
  const submit = (event) => { event.preventDefault(); preview(); };
  for (const { box } of [strip, hashes, cover]) box.addEventListener("change", preview);
  preview();
  return [
    h("form", { onsubmit: submit },
      h("div.bench-row", {}, labelled(t("bench.key"), key), labelled(t("bench.new"), value), h("button.quiet", { type: "submit" }, t("bench.preview"))),
      strip.row, hashes.row, entry.cover ? cover.row : null,
      h("div.bench-row", {}, labelled(t("bench.name"), name), button("primary", { text: t("bench.write"), onclick: write }))),
    runner.element, made, list,
  ];
}

// Every key with its value; what would change beside what it was.
function rows(result, removed, again) {
  const changes = new Map(result.changes.map((change) => [change.key, change]));
  const keys = [...new Set([...Object.keys(result.metadata), ...changes.keys()])].sort();
  if (!keys.length) return [h("p.hint", {}, t("bench.no_meta"))];
  return keys.map((key) => {
    const change = changes.get(key);
    const gone = change && change.after === null;
    const short = (text) => (text.startsWith("data:image/jpeg") ? h("img", { src: text, alt: "", width: 64 }) : text.slice(0, 600));
    const toggle = () => { if (!removed.delete(key)) removed.add(key); again(); };
    return h("div", {},
      h("dt", {}, h("span", { className: gone ? "going" : "" }, key), result.private.includes(key) ? h("span.badge", {}, t("bench.private")) : null),
      h("dd", {}, change && change.before !== null ? [h("span.going", {}, short(change.before)), " → "] : null, gone ? t("bench.gone") : short(result.metadata[key])),
      button("ghost.square.small", { sign: removed.has(key) ? "again" : "trash", label: t(removed.has(key) ? "bench.keep" : "bench.remove", { name: key }), onclick: toggle }));
  });
}
