// Where pictures come from, how they are shown large, and the slider between two of them.
import { button, h } from "./dom.js";
import { open } from "./dialog.js";
import { t } from "./text.js";

export const pictureUrl = (sha256) => `/studio/picture/${sha256}.png`;
export const thumbUrl = (sha256, size = 256) => `/studio/thumb/${sha256}.webp?size=${size}`;

export const isPicture = (file) => file.type.startsWith("image/") || /\.(png|jpe?g|webp)$/i.test(file.name);

// A file name from the words of a prompt.
export function fileName(prompt, seed) {
  const words = prompt.replace(/[^\p{L}\p{N}]+/gu, " ").trim().split(/\s+/).slice(0, 6).join("-") || "picture";
  return `${words.slice(0, 60)}-${seed}`;
}

export function save(sha256, name) {
  const link = h("a", { href: `${pictureUrl(sha256)}?name=${encodeURIComponent(name)}`, download: `${name}.png` });
  document.body.append(link);
  link.click();
  link.remove();
}

// All pictures of a cell; those of one seed are told apart by their place.
export function saveEach({ request }, images) {
  const seeds = new Set(images.map(({ seed }) => seed));
  images.forEach((image, index) => save(image.sha256, fileName(request.prompt, image.seed) + (seeds.size < images.length ? `-${index + 1}` : "")));
}

// Width by height, so that a frame can be as large as the window allows.
const ratio = (image, request) => (image.width || request.width || 1) / (image.height || request.height || 1);

// A picture in a button that shows it large, with `label` among its details. Small pictures are enlarged smoothly by the style sheet.
export function frame(image, alt, request, label = null) {
  return h("button.frame", {
    style: `--ratio: ${ratio(image, request)}`, type: "button", "aria-label": t("picture.enlarge", { what: alt }), onclick: () => large(image, alt, request, label),
  }, h("img", {
    src: pictureUrl(image.sha256), alt, loading: "lazy", decoding: "async", width: image.width || null, height: image.height || null,
  }));
}

export function large(image, alt, request, label = null) {
  const width = image.width || request.width;
  const details = [label, width ? `${width} × ${image.height || request.height}` : null, `${t("field.seed")} ${image.seed}`].filter(Boolean);
  open(t("picture.title"), [
    h("img.large", { src: pictureUrl(image.sha256), alt }),
    h("p.meta", {}, details.join(" · ")),
    h("p.words", {}, request.prompt || ""),
    h("footer", {}, button("primary", {
      sign: "download", text: t("download"), onclick: () => save(image.sha256, fileName(request.prompt || "", image.seed)),
    })),
  ], { wide: true });
}

// Two pictures of one seed under a slider: left without, right with the LoRAs.
export function compare(before, after, alt) {
  const top = h("img", { src: pictureUrl(before.sha256), alt: t("compare.alt_without", { what: alt }), draggable: false });
  const below = h("img", { src: pictureUrl(after.sha256), alt: t("compare.alt_with", { what: alt }), draggable: false });
  const range = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": t("compare.slider") });
  const box = h("div.compare", { style: `--ratio: ${ratio(after, {})}` },
    below, h("div.half", {}, top), h("span.tag.left", {}, t("compare.without")), h("span.tag.right", {}, t("compare.with")),
    h("span.rail", { "aria-hidden": "true" }), range);
  const move = () => {
    box.style.setProperty("--cut", `${range.value}%`);
    range.setAttribute("aria-valuetext", t("compare.value", { n: range.value }));
  };
  range.addEventListener("input", move);
  move();
  return box;
}
