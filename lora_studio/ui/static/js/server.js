// Talking to the server: calls that are sent again after an outage, and the poll that brings news of running jobs.
import { emit } from "./bus.js";

export class Problem extends Error {
  constructor(data) {
    super(data.message);
    Object.assign(this, { code: data.code, values: data.values || {}, kind: data.type });
  }
}

export const world = { hello: null, info: null, jobs: {}, online: true };

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function answer(response) {
  let data = null;
  try { data = await response.json(); } catch { /* not JSON: told below */ }
  if (response.ok && data !== null) return data;
  throw new Problem((data && data.error) || {
    code: "internal", message: `${response.status} ${response.statusText}`, values: { given: String(response.status) },
  });
}

export const unreadable = (name) => new Problem({ code: "picture_unreadable", message: `${name} cannot be read.`, values: { name } });

// One request, repeated while the server cannot be reached: ids are chosen here, so asking twice is asking once. Of a body
// that cannot be read (a folder, a file that was moved since it was chosen) fetch says the same as of a server that is
// gone: `check` tells them apart.
async function reach(url, options, tries, check = null) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const response = await fetch(url, options);
      online(true);
      return await answer(response);
    } catch (error) {
      if (error instanceof Problem) throw error;
      if (check) await check();
      online(false);
      if (attempt + 1 >= tries) throw new Problem({ code: "offline", message: "The server cannot be reached.", values: {} });
      await pause(Math.min(4000, 400 * 1.6 ** attempt));
    }
  }
}

export function call(name, data = {}, tries = 40) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(data) };
  return reach(`/studio/call/${name}`, options, tries);
}

// `values.name` is what the file is called where that is not its own name.
export function upload(where, file, values) {
  const named = { name: file.name, ...values };
  const options = { method: "POST", headers: { "content-type": "application/octet-stream" }, body: file };
  return reach(`/studio/upload/${where}?${new URLSearchParams(named)}`, options, 40, async () => {
    const reader = file.stream().getReader(); // a slice of a file that is gone is empty, and no failure
    try { await reader.read(); } catch { throw unreadable(named.name); }
    reader.cancel();
  });
}

function online(now) {
  if (world.online === now) return;
  world.online = now;
  emit("online", now);
}

export async function greet() {
  world.hello = await call("hello", {}, Infinity);
  emit("hello", world.hello);
}

// ------------------------------------------------------------ jobs
const FINAL = ["done", "failed", "cancelled", "interrupted"];
export const ended = (job) => FINAL.includes(job.state);

// Follow a job from its first event (or go on where the page stands).
export function watch(id) {
  if (!world.jobs[id]) world.jobs[id] = fresh(id);
  world.jobs[id].watched = true;
  hurry();
  return world.jobs[id];
}

const fresh = (id) => ({
  id, state: "queued", since: 0, losses: [], previews: [], pictures: [], warnings: [], checkpoints: [], progress: null,
  glimpse: null, error: null, result: null, ahead: null,
});

function merge(id, news) {
  const job = world.jobs[id] || (world.jobs[id] = fresh(id));
  const before = job.state;
  for (const pair of news.losses || []) {
    // A continued run takes its last steps again.
    while (job.losses.length && job.losses[job.losses.length - 1][0] >= pair[0]) job.losses.pop();
    job.losses.push(pair);
  }
  for (const preview of news.previews || []) {
    job.previews = job.previews.filter((old) => old.step < preview.step || (old.step === preview.step && old.prompt !== preview.prompt));
    job.previews.push(preview);
  }
  job.pictures.push(...(news.pictures || []));
  job.warnings.push(...(news.warnings || []));
  job.checkpoints.push(...(news.checkpoints || []));
  for (const name of ["kind", "state", "since", "progress", "error", "result", "created", "finished"]) {
    if (news[name] !== undefined && news[name] !== null) job[name] = news[name];
  }
  job.glimpse = news.glimpse || (FINAL.includes(job.state) ? null : job.glimpse);
  job.ahead = news.ahead ?? null;
  if (!FINAL.includes(job.state)) { job.error = null; }
  return { job, ended: FINAL.includes(job.state) && (!FINAL.includes(before) || !job.told) };
}

async function pollOnce() {
  const watching = {};
  for (const job of Object.values(world.jobs)) {
    if ((job.watched || !ended(job)) && !(ended(job) && job.told)) watching[job.id] = job.since;
  }
  const info = await call("poll", { watch: watching }, 1);
  const newBase = world.hello && keyOf(world.hello.base) !== keyOf(info.base);
  world.info = info;
  const over = [];
  for (const [id, news] of Object.entries(info.jobs)) {
    const merged = merge(id, news);
    if (merged.ended) { merged.job.told = true; over.push(merged.job); }
    emit("job", merged.job);
  }
  for (const id of Object.keys(watching)) {
    if (!(id in info.jobs)) { delete world.jobs[id]; emit("gone", id); }
  }
  emit("info", info);
  // What has ended is told whatever becomes of the greeting, which is tried again at the next poll.
  try {
    if (newBase) { await greet(); emit("base", world.hello.base); }
  } finally {
    for (const job of over) emit("ended", job);
  }
}

// The same weights read otherwise are another base.
const keyOf = (base) => JSON.stringify(base ? [base.sha256, base.ref, base.prediction_type, base.zero_terminal_snr] : null);

// A job that goes on after it had ended (an interrupted run that is continued) is news again.
export function revive(id) {
  const job = world.jobs[id];
  if (job) { job.told = false; job.state = "queued"; }
  watch(id);
}

let wake = null;

export function hurry() {
  if (wake) wake();
}

export async function startPolling() {
  document.addEventListener("visibilitychange", hurry);
  window.addEventListener("online", hurry);
  for (;;) {
    let wait = 2500;
    if (!document.hidden) {
      try {
        await pollOnce();
        if (Object.values(world.jobs).some((job) => !ended(job))) wait = 500;
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        wait = 1500;
      }
    }
    await Promise.race([pause(wait), new Promise((done) => { wake = done; })]);
    wake = null;
  }
}
