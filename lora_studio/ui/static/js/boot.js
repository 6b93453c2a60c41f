// Runs before anything is painted: chooses language and theme, and takes what Gradio mounts before our modules are there.
// Gradio has no switch for its locale or theme; it reads navigator.language and prefers-color-scheme.
(() => {
  const stored = (key) => {
    try { return localStorage.getItem(key); } catch { return null; }
  };
  const wanted = stored("studio.lang") || (navigator.languages || [navigator.language || "en"])[0] || "en";
  const lang = /^zh/i.test(wanted) ? "zh" : "en";
  const locale = lang === "zh" ? "zh-CN" : "en";
  document.documentElement.lang = locale;
  for (const [name, value] of [["language", locale], ["languages", [locale]]]) {
    Object.defineProperty(navigator, name, { get: () => value, configurable: true });
  }

  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = stored("studio.theme");
  const theme = chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
  const ask = window.matchMedia.bind(window);
  window.matchMedia = (query) => {
    if (!/prefers-color-scheme/.test(query)) return ask(query);
    const dark = document.documentElement.dataset.theme === "dark";
    return {
      matches: /dark/.test(query) ? dark : !dark, media: query, onchange: null,
      addListener() {}, removeListener() {}, addEventListener() {}, removeEventListener() {}, dispatchEvent: () => false,
    };
  };

  const waiting = [];
  window.studio = {
    lang,
    waiting,
    mount: (name, element) => waiting.push(["mount", name, element]),
    onLanguage: (listener) => waiting.push(["onLanguage", listener]),
    act: () => {},
    words: () => [],
  };
})();
