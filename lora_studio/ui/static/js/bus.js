// Messages between the rooms of the page.
const listeners = new Map();

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, new Set());
  listeners.get(name).add(listener);
  return () => listeners.get(name).delete(listener);
}

export function emit(name, value) {
  for (const listener of [...(listeners.get(name) || [])]) {
    try { listener(value); } catch (error) { reportError(error); } // one room's fault must not silence the others
  }
}
