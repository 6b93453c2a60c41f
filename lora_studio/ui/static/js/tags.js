// LoRA tags in the prompt and rows of the stack, kept equal: whichever was changed last decides.
// Which adapter a tag names is the server's answer ("explained"); where the tags stand is found here, as it reads them.
import { emit, on } from "./bus.js";
import { draft, keep } from "./draft.js";
import { find } from "./library_data.js";
import { write } from "./prompt.js";
import { active, rowOf } from "./stack.js";
import { optionsOf, placesOf } from "./stack_places.js";
import { complain, tell } from "./toast.js";
import { t } from "./text.js";

const TAG = /<([\p{L}\p{N}_]+):([^>]+)>/gu;
const KINDS = ["lora", "lyco"]; // A1111 has two words for the same
const MOST = 10;

const sha256Of = new Map(); // by a tag's name as typed
let placed = new Map(); // by adapter: where its tags let it act, as the server reads them
let placedIn = null; // the prompt of which that is said
let tagged = new Set(); // adapters of rows that stood in the text at the last look
let newer = "stack";
let read = false; // the server has said what the tags name; before that nothing can be kept equal

// The <lora:...> and <lyco:...> tags of a text outside of its comments: where, their items, their name and weights.
export function loraTags(text) {
  const bare = text.replace(/#[^\n]*/g, (comment) => " ".repeat(comment.length));
  return [...bare.matchAll(TAG)].filter((match) => KINDS.includes(match[1]))
    .map((match) => ({ kind: match[1], start: match.index, end: match.index + match[0].length, ...readItems(match[2].split(":")) }))
    .filter(({ te, unet }) => Number.isFinite(te) && Number.isFinite(unet));
}

const isNamed = (item) => item.split("=").length === 2;

function readItems(items) {
  const plain = items.filter((item) => !isNamed(item));
  const named = Object.fromEntries(items.filter(isNamed).map((item) => item.split("=")));
  const number = (text) => (/^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(text) ? Number(text) : NaN);
  const te = named.te ?? plain[1];
  const unet = named.unet ?? plain[2];
  const teNumber = te === undefined ? 1 : number(te);
  return { items, name: plain[0] ?? "", te: teNumber, unet: unet === undefined ? teNumber : number(unet) };
}

const digits = (weight) => String(Math.round(weight * 1e4) / 1e4);

// The tag with another weight: where the parts have two numbers, the UNet's changes.
export function withWeight({ kind, items }, weight) {
  const places = items.map((item, index) => index);
  const plain = places.filter((index) => !isNamed(items[index]));
  const named = (key) => places.findLast((index) => isNamed(items[index]) && items[index].startsWith(`${key}=`));
  const changed = [...items];
  if (named("unet") !== undefined) changed[named("unet")] = `unet=${digits(weight)}`;
  else if (plain.length > 2) changed[plain[2]] = digits(weight);
  else if (named("te") !== undefined) changed[named("te")] = `te=${digits(weight)}`;
  else if (plain.length > 1) changed[plain[1]] = digits(weight);
  else changed.splice(plain[0] + 1, 0, digits(weight));
  return `<${kind}:${changed.join(":")}>`;
}

export const tagOf = ({ name, weight, te, ...places }) => {
  const plain = name.replace(/[:,<>\r\n"]/g, "").trim();
  const weights = te === undefined ? [weight] : [te, weight];
  return `<lora:${[plain, ...weights.map((one) => digits(Number(one))), ...optionsOf(places)].join(":")}>`;
};

const STEPS = ["start", "stop", "end", "step"];
const BLOCKS = ["te", "unet", "lbw"]; // BASE of `lbw` is of the words

// The tag as its row has it now: what was not moved, and whatever else it asks for, stays as it is written.
function withPlaces(tag, row) {
  const { te, ...places } = placesOf(row);
  const weight = Number(row.weight);
  const written = row.moved.blocks ? tag : readTag(withWeight(tag, weight));
  const key = (item) => (isNamed(item) ? item.split("=")[0] : "");
  const kept = written.items.filter((item) => !(row.moved.steps && STEPS.includes(key(item))) && !(row.moved.blocks && BLOCKS.includes(key(item))));
  const plain = kept.filter((item) => !isNamed(item));
  const weights = te === null && plain.length < 4 ? [weight] : [te ?? weight, weight];
  const head = row.moved.blocks ? [plain[0], ...weights.map(digits), ...plain.slice(3)] : plain;
  const [start, stop] = [places.start, places.stop];
  const options = [...(row.moved.steps ? optionsOf({ start, stop }) : []), ...(row.moved.blocks ? optionsOf({ blocks: places.blocks }) : [])];
  return `<${tag.kind}:${[...head, ...kept.filter(isNamed), ...options].join(":")}>`;
}

const readTag = (text) => loraTags(text)[0];
const hasPlaces = ({ items, te, unet }) => te !== unet || items.some((item) => isNamed(item) && [...STEPS, "lbw"].includes(item.split("=")[0]));

// What the tags of the text come to, by adapter: several of one add up.
function wanted() {
  const found = new Map();
  for (const tag of loraTags(draft.prompt)) {
    const sha256 = sha256Of.get(tag.name);
    if (!sha256) continue;
    const before = found.get(sha256) || { te: 0, unet: 0 };
    found.set(sha256, { te: before.te + tag.te, unet: before.unet + tag.unet });
  }
  return found;
}

const held = (weight) => Math.max(-MOST, Math.min(MOST, Math.round(weight * 1e4) / 1e4));

function takeRow(sha256, { te, unet }) {
  const entry = find(sha256);
  const parts = te === unet ? { te: undefined } : { te: held(te) };
  const row = rowOf(sha256);
  // What was chosen for a row before its tag was typed goes into the tag, if that says nothing of it.
  const chosen = row && !row.tag && (row.at || row.te !== undefined);
  if (chosen && !loraTags(draft.prompt).some((tag) => sha256Of.get(tag.name) === sha256 && hasPlaces(tag))) {
    row.at = { ...row.at, te: row.te ?? null };
    row.moved = { steps: true, blocks: true };
  }
  if (row) Object.assign(row, { tag: true, ...(Number(row.weight) === held(unet) ? {} : { weight: held(unet) }), ...parts });
  else if (entry) draft.stack.push({ sha256, name: entry.name, weight: held(unet), on: true, solo: false, tag: true, ...parts });
}

function stackFollows() {
  const tags = wanted();
  const before = JSON.stringify(draft.stack);
  draft.stack = draft.stack.filter((row) => !row.tag || tags.has(row.sha256));
  for (const [sha256, weights] of tags) takeRow(sha256, weights);
  if (draft.stack.some((row) => row.moved)) { textFollows(); return; }
  settled(before);
}

function textFollows() {
  const before = JSON.stringify(draft.stack);
  const gone = new Set([...tagged].filter((sha256) => !rowOf(sha256)));
  const sums = wanted();
  const seen = new Set();
  let text = "";
  let done = 0;
  for (const tag of loraTags(draft.prompt)) {
    const sha256 = sha256Of.get(tag.name);
    const row = rowOf(sha256);
    const weight = row ? Number(row.weight) : NaN;
    let said = draft.prompt.slice(tag.start, tag.end);
    if (gone.has(sha256)) said = "";
    else if (row && row.moved && Number.isFinite(weight)) {
      said = seen.has(sha256) ? "" : withPlaces(tag, row);
      seen.add(sha256);
    }
    else if (row && Number.isFinite(weight) && held(sums.get(sha256).unet) !== held(weight)) {
      said = seen.has(sha256) ? "" : withWeight(tag, weight);
      seen.add(sha256);
    }
    text += draft.prompt.slice(done, tag.start);
    done = tag.end;
    // The blank before a tag goes with it, unless it would join two words.
    if (!said && /^(?:[\s,]|$)/.test(draft.prompt.slice(done))) text = text.replace(/ $/, "");
    text += said;
  }
  text += draft.prompt.slice(done);
  if (text !== draft.prompt) write("prompt", text);
  const tags = wanted();
  for (const row of draft.stack) {
    row.tag = tags.has(row.sha256);
    if (row.moved && seen.has(row.sha256)) placed.set(row.sha256, row.at); // until the server has read the new tag
    if (seen.has(row.sha256) || !row.tag) row.moved = undefined;
    if (row.tag) { const { te, unet } = tags.get(row.sha256); row.te = te === unet ? undefined : held(te); }
  }
  for (const [sha256, weights] of tags) if (!rowOf(sha256)) takeRow(sha256, weights);
  settled(before);
}

function settled(before) {
  for (const row of draft.stack) if (row.tag && placed.has(row.sha256)) row.at = placed.get(row.sha256);
  tagged = new Set(draft.stack.filter((row) => row.tag).map((row) => row.sha256));
  if (JSON.stringify(draft.stack) === before) return;
  keep({}, "stack");
  emit("stack", "text");
}

on("typed", (name) => { if (name === "prompt") newer = "text"; });
on("stack", (by) => {
  if (by === "text" || by === "open") return;
  newer = "stack";
  if (by === "replaced") tagged = new Set(); // another recipe: no row was taken out by hand
  if (by === "replaced" && draft.prompt !== placedIn) placed = new Map();
  if (read) textFollows();
});
on("explained", ({ prompt, adapters }) => {
  read = true;
  placedIn = draft.prompt;
  placed = new Map(adapters.map(({ sha256, start, stop, blocks, text_encoder_weight: te }) => [sha256, { start, stop, blocks, te }]));
  for (const { name, adapter, kind } of prompt.tags) {
    if (!KINDS.includes(kind)) continue;
    if (adapter) sha256Of.set(name, adapter);
    else if (!prompt.tags.some((one) => one.name === name && one.adapter)) sha256Of.delete(name); // a mistyped twin
  }
  if (newer === "text") stackFollows();
  else textFollows();
});
// Before a picture is asked for: what is known already is brought together at once.
on("settle", () => { if (newer === "text") stackFollows(); });

// What is sent: the rows that act, and at 0 those whose tag stands in the text but that are switched off.
export function sent() {
  const acting = active();
  const silent = draft.stack.filter((row) => row.tag && !acting.some(({ sha256 }) => sha256 === row.sha256));
  return [...acting, ...silent.map(({ sha256, name }) => ({ sha256, name, weight: "0" }))];
}

// The prompt with a tag for each LoRA that acts.
export function withTags() {
  const there = wanted();
  const missing = active().filter(({ sha256, weight }) => !there.has(sha256) && Number.isFinite(Number(weight)));
  return [draft.prompt, ...missing.map(tagOf)].filter(Boolean).join(" ");
}

export async function copyWithTags() {
  try {
    await navigator.clipboard.writeText(withTags());
    tell(t("tools.copied"));
  } catch {
    complain({ code: "copy", message: t("tools.copy_failed"), values: {} });
  }
}
