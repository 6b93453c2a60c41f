// One LoRA as a card: picture, name, trigger words, facts, why it does not fit; using, looking, deleting with undo.
import { button, h, icon, set } from "./dom.js";
import { emit } from "./bus.js";
import { confirm } from "./dialog.js";
import { goTo } from "./keys.js";
import { detail } from "./library_detail.js";
import { hindrance, loadLibrary } from "./library_data.js";
import { call } from "./server.js";
import { add, cover } from "./stack.js";
import { attempt, offerUndo } from "./toast.js";
import { bytes, many, number, sentence, t, when } from "./text.js";
import { benchButton } from "./workbench.js";

export function drawCard(card, entry) {
  const key = JSON.stringify(entry);
  if (card.drawn === key) return;
  card.drawn = key;
  const name = { name: entry.name };
  const reason = hindrance(entry);
  card.classList.toggle("unfit", Boolean(reason));
  set(card, { "aria-label": entry.name });
  const away = entry.places.length ? t("library.hide", name) : t("library.delete", name);
  card.replaceChildren(
    h("button.picture", { type: "button", "aria-label": t("library.details", name), title: t("library.details", name), onclick: () => detail(entry) }, cover(entry, 256)),
    h("div.facts", {},
      h("h3", {}, h("span", {}, entry.name), stars(entry.stars)),
      entry.trigger_words.length ? h("p.words", {}, entry.trigger_words.join(", ")) : h("p.words.hint", {}, t("library.no_words")),
      h("p.hint", {}, factsOf(entry).join(" · ")),
      entry.notes ? h("p.excerpt", {}, entry.notes) : null,
      reason ? remark("warn", t(reason.key, reason.values)) : null,
      !reason && entry.misfit === "base" ? remark("layers", t("stack.other_base")) : null,
      entry.warnings.map((warning) => remark("warn", sentence(warning)))),
    h("div.verbs", {},
      button("primary.small", { text: t("library.use"), "aria-label": t("library.use_label", name), disabled: Boolean(reason), onclick: () => { add(entry); goTo("generate"); } }),
      entry.missing ? null : h("a.ghost.square.button", { href: `/studio/adapter/${entry.sha256}.safetensors`, download: "", "aria-label": t("library.download", name), title: t("library.download", name) }, icon("download")),
      entry.missing ? null : benchButton(entry),
      button("ghost.square", { sign: "edit", label: t("library.details", name), onclick: () => detail(entry) }),
      button("ghost.square", { sign: "trash", label: away, onclick: () => remove(entry) })));
}

const remark = (sign, text) => h("p.remark.info", {}, icon(sign), h("span", {}, text));

export function stars(n) {
  return n ? h("span.stars", { role: "img", "aria-label": t("library.stars", { n }) }, "★".repeat(n)) : null;
}

function factsOf(entry) {
  return [
    entry.made_for || null, entry.rank ? t("library.rank", { n: entry.rank }) : null,
    entry.recommended_weight === 1 ? null : t("library.weight", { n: number(entry.recommended_weight, 2) }),
    bytes(entry.size), entry.sample ? t("library.sample") : when(entry.created),
  ].filter(Boolean).map((fact) => fact.replaceAll(" ", "\u00a0")); // lines break between facts only
}

// Asks with what uses it, then deletes (a file in a folder is hidden); ten seconds long it can be undone by one click.
async function remove(entry) {
  const uses = await attempt(() => call("adapter_uses", { sha256: entry.sha256 }));
  if (!uses) return;
  const kept = entry.places.length > 0;
  const text = [
    uses.cells ? many("library.used", uses.cells) : t("library.unused"),
    uses.runs.length ? t("library.made_by", { names: uses.runs.join(", ") }) : null,
    t(kept ? "library.hide_stays" : "library.undo_hour"),
  ].filter(Boolean).join(" ");
  const verb = kept ? t("library.hide_verb") : t("delete");
  if (!(await confirm(t(kept ? "library.hide" : "library.delete", { name: entry.name }), text, verb))) return;
  await attempt(async () => {
    await call("delete_adapter", { sha256: entry.sha256 });
    await changed();
    offerUndo(t(kept ? "library.hidden" : "library.deleted", { name: entry.name }), () => restore(entry));
  });
}

export const restore = (entry) => attempt(async () => {
  await call("restore_adapter", { sha256: entry.sha256 });
  await changed();
});

async function changed() {
  await loadLibrary();
  emit("stack");
  emit("adapters");
}
