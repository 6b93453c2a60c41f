// What a person drops or chooses -> [{ file, name }]. A file out of a folder is called by its folders too, as the command
// line calls it: `cats/1.png` and `dogs/1.png` are two pictures, and each finds its own caption.
import { Problem, unreadable } from "./server.js";
import { complain } from "./toast.js";

const numbers = new Intl.Collator("en", { numeric: true }); // 2.png before 10.png
const inOrder = (files) => files.sort((a, b) => numbers.compare(a.name, b.name));

const isHidden = (name) => name.startsWith(".") || name === "__MACOSX";
// A hidden folder that somebody gives is meant: what lies in it is not taken for hidden.
const shown = (path) => path.replace(/^\.+(?=[^/]*\/)/, "");

// Must be called while the drop is handled: what it holds is gone afterwards.
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const found = [];
  for (const one of items.map((item) => (item.webkitGetAsEntry && item.webkitGetAsEntry()) || item.getAsFile())) {
    if (one instanceof File) found.push({ file: one, name: one.name });
    else if (one) found.push(...(await opened(one)));
  }
  return found;
}

// The files of an <input>, of one that chooses folders too.
export function filesOf(input) {
  const found = [...input.files].map((file) => ({ file, name: shown(file.webkitRelativePath || file.name) }));
  return input.webkitdirectory ? inOrder(found.filter(({ name }) => !name.split("/").some(isHidden))) : found;
}

// The folder that all of these come from, "" where there is no such one.
export function folderOf(files) {
  const [first, ...more] = new Set(files.map(({ name }) => (name.includes("/") ? name.split("/")[0] : "")));
  return more.length ? "" : first || "";
}

async function opened(entry) {
  const found = [];
  await walk(entry, found);
  if (entry.isDirectory && !found.length) {
    complain(new Problem({ code: "folder_empty", message: `The folder ${entry.name} has no pictures.`, values: { given: entry.name } }));
  }
  return inOrder(found);
}

const ask = (holder, method) => new Promise((done, fail) => { holder[method](done, fail); });

async function walk(entry, found) {
  const name = shown(entry.fullPath.slice(1));
  try {
    if (entry.isFile) { found.push({ file: await ask(entry, "file"), name }); return; }
    const reader = entry.createReader();
    for (;;) { // a reader gives at most a hundred at a time
      const some = await ask(reader, "readEntries");
      if (!some.length) return;
      for (const inner of some) if (!isHidden(inner.name)) await walk(inner, found);
    }
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    complain(unreadable(name));
  }
}
