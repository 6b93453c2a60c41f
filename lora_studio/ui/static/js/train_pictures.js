// Step 1: which pictures. A new set by dropping, a sample set, or one from before.
import { button, h, icon, reconcile, set } from "./dom.js";
import { on } from "./bus.js";
import { call, world } from "./server.js";
import { create, forget, loadSet, loadSets, send, sets, show } from "./sets.js";
import { askText, confirm } from "./dialog.js";
import { dropped, filesOf, folderOf } from "./folders.js";
import { thumbUrl } from "./pictures.js";
import { attempt, offerUndo, tell } from "./toast.js";
import { bar } from "./progress.js";
import { walk } from "./train.js";
import { many, number, sentence, t } from "./text.js";

export function picturesStep(room) {
  const offs = [];
  const body = h("div", {});
  room.append(body);
  let mode = null;
  const draw = () => {
    const wanted = sets.current ? "set" : "choose";
    if (mode !== wanted) {
      mode = wanted;
      body.replaceChildren(...(wanted === "set" ? chosen() : choice()));
    }
    if (wanted === "set") fill(body);
    else fillChoice(body);
  };
  for (const name of ["set", "sets", "hello"]) offs.push(on(name, draw));
  draw();
  attempt(loadSets);
  return { close: () => offs.forEach((off) => off()) };
}

// ------------------------------------------------------------ no set yet
function choice() {
  const small = (world.hello || {}).base;
  return [
    ...dropzone(t("pictures.drop"), async (files) => {
      const name = nameFor(files);
      await attempt(() => create(name));
      if (sets.current) await receive(files);
    }),
    small && small.small ? h("p.remark.info", {}, icon("layers"), h("span", {}, t("small.learn"))) : null,
    h("h3", {}, t("pictures.samples")), h("div.tiles.samples", {}),
    h("div.mine", {}, h("h3", {}, t("pictures.mine")), h("div.tiles.own", {})),
  ].filter(Boolean);
}

function fillChoice(body) {
  const examples = (world.hello || { examples: [] }).examples;
  reconcile(body.querySelector(".samples"), examples, {
    key: ({ name }) => name,
    make: ({ name, count, show: names }) => tile(name, many("pictures.count", count), names.map((file) => `/studio/example/${name}/${file}`),
      async () => { const made = await attempt(() => call("sample_set", { name })); if (made) show(made.set); }),
  });
  body.querySelector(".mine").hidden = !sets.list.length;
  reconcile(body.querySelector(".own"), sets.list, {
    key: ({ id, count }) => `${id}${count}`,
    make: ({ id, name, count, show: hashes }) => tile(name, many("pictures.count", count), hashes.map((sha) => thumbUrl(sha, 96)), () => attempt(() => loadSet(id))),
  });
}

function tile(name, words, urls, choose) {
  return h("button.tile", { type: "button", onclick: choose },
    h("span.quad", { "aria-hidden": "true" }, urls.map((src) => h("img", { src, alt: "", loading: "lazy" }))),
    h("span.name", {}, name), h("small", {}, words));
}

function nameFor(files) {
  const [{ name }] = files;
  const packed = files.length === 1 && /\.zip$/i.test(name) ? name.replace(/\.zip$/i, "") : "";
  return (folderOf(files) || packed || t("pictures.new_name")).slice(0, 100);
}

// A field to drop on, which chooses files when it is clicked, and a button that chooses a folder.
function dropzone(words, take) {
  const pick = (input) => { const files = filesOf(input); input.value = ""; if (files.length) take(files); };
  const input = h("input", { type: "file", multiple: true, accept: "image/*,.zip,.txt,.caption", "aria-label": words });
  input.addEventListener("change", () => pick(input));
  const zone = h("label.dropzone", {}, icon("upload"), h("b", {}, words), h("span.hint", {}, t("pictures.drop_hint")), input);
  zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = await dropped(event.dataTransfer);
    if (files.length) take(files);
  });
  const folder = h("input", { type: "file", webkitdirectory: true });
  folder.addEventListener("change", () => pick(folder));
  return [zone, button("quiet.small.folder", { sign: "upload", text: t("pictures.folder"), onclick: () => folder.click() })];
}

const sending = { bar: null };

async function receive(files) {
  if (!sets.current) return; // closed while a large folder was read
  const progress = sending.bar;
  await send(files, (done, total) => {
    if (!progress) return;
    progress.element.hidden = done >= total;
    progress.fill.style.width = `${(100 * done) / total}%`;
    set(progress.track, { "aria-valuenow": Math.round((100 * done) / total) });
    set(progress.words, { text: t("pictures.sending", { done: number(done), total: number(total) }) });
  });
}

// ------------------------------------------------------------ the open set
function chosen() {
  sending.bar = bar(t("pictures.sending_label"));
  sending.bar.element.hidden = true;
  return [
    h("div.bar-line", {},
      h("h3.set-name", {}), button("ghost.square", { sign: "edit", label: t("set.rename"), onclick: renameSet }),
      h("p.hint.count", {}), h("span.grow", {}),
      button("quiet.small", { text: t("set.other"), onclick: () => { show(null); attempt(loadSets); } }),
      button("quiet.small", { sign: "trash", text: t("set.delete"), onclick: deleteSet })),
    sending.bar.element,
    h("div.thumbs", {}),
    ...dropzone(t("pictures.more"), receive),
    h("details.refused", { open: true, hidden: true }, h("summary", {}), h("ul", {})),
    h("footer.next", {}, h("p.hint.need", {}), h("button.primary", { type: "button", onclick: () => walk("captions") }, t("next.captions"))),
  ];
}

function fill(body) {
  const { current } = sets;
  set(body.querySelector(".set-name"), { text: current.name });
  const remarks = current.items.filter((item) => item.warnings.length).length;
  const counts = [many("pictures.count", current.items.length)];
  if (remarks) counts.push(many("pictures.remarked", remarks));
  if (current.refused.length) counts.push(many("pictures.refused", current.refused.length));
  set(body.querySelector(".count"), { text: counts.join(" · ") });
  reconcile(body.querySelector(".thumbs"), current.items, { key: (item) => item.sha256, make: makeThumb, update: drawThumb });
  const refused = body.querySelector(".refused");
  refused.hidden = !current.refused.length;
  set(refused.firstElementChild, { text: many("pictures.refused", current.refused.length) });
  reconcile(refused.lastElementChild, current.refused, {
    key: (one) => one.source + one.code,
    make: (one) => h("li", {}, icon("warn"), h("span", {}, sentence(one))),
  });
  const enough = current.items.length > 0;
  set(body.querySelector(".next .primary"), { disabled: !enough });
  const words = !enough ? t("need.pictures") : current.items.length < 8 ? t("need.more") : "";
  set(body.querySelector(".need"), { text: words });
}

function makeThumb(item) {
  const gone = button("ghost.square", { sign: "close", label: t("pictures.remove", { name: item.source }), onclick: () => removePicture(item) });
  return h("figure.thumb", {},
    h("img", { src: thumbUrl(item.sha256), alt: item.caption || item.source, loading: "lazy" }), h("div.badges", {}),
    h("figcaption", { title: item.source }, `${item.width} × ${item.height}`), gone);
}

function drawThumb(figure, item) {
  const badges = item.warnings.length ? item.warnings : ["ok"];
  figure.querySelector(".badges").replaceChildren(...badges.map((code) => h(`span.badge.${code}`, { title: t(`badge.${code}.why`) }, t(`badge.${code}`))));
}

async function removePicture(item) {
  const id = sets.current.id;
  const gone = await attempt(() => call("drop_picture", { set: id, sha256: item.sha256 }));
  if (!gone) return;
  show(gone.set);
  offerUndo(t("pictures.removed", { name: item.source }), () => attempt(async () => {
    show((await call("put_back", { set: id, item: gone.item, index: gone.index })).set);
  }));
}

async function renameSet() {
  const name = await askText(t("set.rename"), t("set.name"), sets.current.name, t("rename"));
  if (name === null) return;
  const answer = await attempt(() => call("rename_set", { set: sets.current.id, name }));
  if (answer) show(answer.set);
}

async function deleteSet() {
  const { id, name } = sets.current;
  if (!(await confirm(t("set.delete"), t("set.delete_text", { name }), t("delete_for_good")))) return;
  await attempt(async () => {
    await call("delete_set", { set: id });
    forget(id);
    tell(t("set.deleted", { name }));
    await loadSets();
  });
}
