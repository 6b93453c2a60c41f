// Building elements. Texts are set as text nodes, never as HTML: no word of a person can become markup.
const ICONS = {
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  again: "M4 12a8 8 0 1 0 2.6-5.9M4 4v4.5h4.5",
  shuffle: "M4 7h3l10 10h3M17 14l3 3-3 3M4 17h3l3-3M14 10l3-3h3M17 4l3 3-3 3",
  edit: "M4 20h4L19 9l-4-4L4 16zM13.5 6.5l4 4",
  note: "M5 4h14v11l-5 5H5zM14 20v-5h5M8 9h8M8 12.5h5",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7M10.5 10.5v5.5M13.5 10.5v5.5",
  download: "M12 4v11M7.5 10.5L12 15l4.5-4.5M5 19.5h14",
  lock: "M7 11V8a5 5 0 0 1 10 0v3M6 11h12v9H6z",
  unlock: "M7 11V8a5 5 0 0 1 9.6-2M6 11h12v9H6z",
  solo: "M5 13v-1a7 7 0 0 1 14 0v1M5 13h3v6H5zM16 13h3v6h-3z",
  power: "M12 4v8M7 7a7 7 0 1 0 10 0",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M20 14.5A8 8 0 0 1 9.5 4 8 8 0 1 0 20 14.5z",
  search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12M15.5 15.5L20 20",
  check: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 4l9 15.5H3zM12 10v4.5M12 17h.01",
  stop: "M7 7h10v10H7z",
  upload: "M12 20V9M7.5 13.5L12 9l4.5 4.5M5 4.5h14",
  swap: "M4 9h15l-4-4M20 15H5l4 4",
  expand: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  right: "M9 5l7 7-7 7",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 2.5-2.5L20 17M15 9h.01",
  wave: "M3 12h3l3-7 5 14 3-7h4",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  layers: "M12 4l9 5-9 5-9-5zM3 14l9 5 9-5",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  brush: "M14 4l6 6-8 8-6-6zM6 12l-2 8 8-2",
  words: "M4 6h16M4 12h11M4 18h7",
  box: "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// h("button.quiet", {onclick, "aria-label": ...}, child, "text", null)
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-") && !["list", "form", "role"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A button with a sign and a word; `label` alone when only the sign is to be seen.
export function button(kind, { sign, text, label, ...rest }) {
  return h(`button.${kind}`, { type: "button", "aria-label": label || null, title: label || null, ...rest },
    sign ? icon(sign) : null, text === undefined ? null : h("span", {}, text));
}

// Sets attributes and text only where they differ, so that what has the focus keeps it.
export function set(element, changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (name === "text") {
      if (element.textContent !== value) element.textContent = value;
    } else if (name === "hidden" || name === "disabled") {
      if (element[name] !== value) element[name] = value;
    } else if (value === null) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
  return element;
}

// Makes `parent`'s children those of `items`: elements are kept by key, made by `make`, brought up to date by `update`.
export function reconcile(parent, items, { key, make, update }) {
  const wanted = new Set(items.map((item) => String(key(item))));
  const kept = new Map();
  // What is left over goes first: else everything behind it would be moved, and what is moved loses focus and selection.
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key) && !kept.has(child.dataset.key)) kept.set(child.dataset.key, child);
    else child.remove();
  }
  let before = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = kept.get(name);
    kept.delete(name);
    if (!element) {
      element = make(item);
      element.dataset.key = name;
    }
    if (update) update(element, item);
    if (element === before) before = before.nextElementSibling;
    else parent.insertBefore(element, before);
  }
}

export function uid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function debounce(wait, action) {
  let timer = null;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => { timer = null; action(...values); }, wait);
  };
  later.now = (...values) => { clearTimeout(timer); timer = null; action(...values); };
  return later;
}
