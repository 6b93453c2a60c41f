"""Languages, themes, phones, names of controls: what everybody must be able to use."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from lora_studio.ui.texts import strings
from tests.browser.conftest import OWN, Visit, add_lora, expect_done, generate, goto, open_set, ready, start_training
from tests.browser.driver import Server

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

UNNAMED = """() => {
  const named = (element) => {
    const labels = element.labels ? [...element.labels].map((label) => label.textContent).join('') : '';
    const by = (element.getAttribute('aria-labelledby') || '').split(' ').filter(Boolean)
      .map((id) => document.getElementById(id)?.textContent || '').join('');
    return (element.getAttribute('aria-label') || labels || by || element.textContent || element.title || '').trim();
  };
  return [...document.querySelectorAll('button, a[href], input, select, textarea, [role=button], [role=progressbar]')]
    .filter((element) => element.checkVisibility() && !element.closest('[aria-hidden=true]') && !named(element))
    .map((element) => element.outerHTML.slice(0, 160));
}"""

SMALL = """() => [...document.querySelectorAll('button, a[href], select, input, textarea, summary')]
  .filter((element) => !['checkbox', 'radio'].includes(element.type))
  .filter((element) => element.checkVisibility({opacityProperty: true}) && !element.closest('[aria-hidden=true]'))
  .map((element) => [element, element.getBoundingClientRect()])
  .filter(([element, box]) => box.width > 0 && box.right > 0 && Math.round(box.height) < 44)
  .map(([element, box]) => `${Math.round(box.width)}x${Math.round(box.height)} ${element.outerHTML.slice(0, 120)}`)"""


def everywhere(page: Page) -> list[str]:
    """Fill the page with something in every room; names of the tabs."""
    for name in ("ears", "aper"):
        add_lora(page, name)
    generate(page, "1girl, brown hair, dragon wings, cat ears")
    expect_done(page)
    page.click("#show")
    expect_done(page, 2)
    return ["generate", "train", "library"]


# ---------------------------------------------------------------- languages
@pytest.mark.parametrize(
    ("locale", "lang"),
    [*((chinese, "zh") for chinese in ("zh", "zh-CN", "zh-TW", "zh-HK", "zh-Hans-CN")), ("en-GB", "en"), ("de", "en")],
)
def test_the_browser_chooses_the_language(visit: Visit, server: Server, locale: str, lang: str) -> None:
    page = visit(server, locale=locale)
    expect(page.locator("#go")).to_have_text(strings(lang)["generate.go"])
    assert page.evaluate("document.documentElement.lang") == ("zh-CN" if lang == "zh" else "en")
    assert page.locator("#prompt textarea").get_attribute("placeholder") == strings(lang)["prompt.placeholder"]
    for tab in ("generate", "train", "library"):
        expect(page.locator(f"#tab-{tab}-button")).to_have_text(strings(lang)[f"tab.{tab}"])


def test_a_phone_shows_every_tab_in_its_language_from_the_start(visit: Visit, server: Server) -> None:
    page = visit(server, locale="zh-CN", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    # At this width Gradio measures the tabs and draws them again, with the label that an unopened one began with.
    page.wait_for_timeout(400)
    assert page.locator("#tab-library-button").inner_text() == strings("zh")["tab.library"]


def test_the_switch_keeps_draft_and_notebook_and_is_remembered(page: Page) -> None:
    everywhere(page)
    page.fill("#prompt textarea", "1girl, half a thought")
    page.click(".tools .lang")
    chinese = strings("zh")
    expect(page.locator("#go")).to_have_text(chinese["generate.go"])
    expect(page.locator("#prompt textarea")).to_have_value("1girl, half a thought")
    expect(page.locator(OWN)).to_have_count(2)
    expect(page.locator(".cell").first).to_contain_text(chinese["cell.again"])
    expect(page.locator(".stack h2")).to_have_text(chinese["stack.title"])
    for tab, word in (("train", "train.title"), ("library", "library.title")):
        goto(page, tab)
        expect(page.locator(f"#tab-{tab} h2").first).to_have_text(chinese[word])
    page.reload()
    ready(page)
    expect(page.locator("#go")).to_have_text(chinese["generate.go"])
    page.click(".tools .lang")
    expect(page.locator("#go")).to_have_text(strings("en")["generate.go"])


def test_errors_are_said_in_chinese(visit: Visit, server: Server) -> None:
    page = visit(server, locale="zh-CN")
    page.click(".tools .base")
    page.fill("#base-ref", "/no/such/base")
    page.keyboard.press("Enter")
    expect(page.locator("dialog .wrong:visible")).to_contain_text("底模“/no/such/base”不存在")


# ---------------------------------------------------------------- themes
def test_dark_is_remembered(page: Page) -> None:
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 245, 242)"
    page.click(".tools .theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 22, 26)"
    page.reload()
    ready(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 22, 26)"
    assert page.evaluate("document.body.classList.contains('dark')") is True


def test_the_system_chooses_the_theme(visit: Visit, server: Server) -> None:
    page = visit(server, color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.click(".tools .theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(visit: Visit, server: Server, scheme: str) -> None:
    """Contrast of at least 4.5:1 between text colours and the grounds they stand on (WCAG 2.2, 1.4.3)."""
    page = visit(server, color_scheme=scheme)
    pairs = [
        (text, ground)
        for text, grounds in {
            "ink": ("paper", "card", "sunk", "accent-soft"),
            "soft": ("paper", "card", "sunk"),
            "accent": ("paper", "card", "accent-soft"),
            "accent-strong": ("accent-soft", "card"),
            "on-accent": ("accent", "accent-strong"),
            "good": ("card", "good-soft"),
            "warn": ("paper", "card", "warn-soft"),
            "bad": ("paper", "card", "bad-soft"),
        }.items()
        for ground in grounds
    ]
    weak = page.evaluate(
        """pairs => {
          const style = getComputedStyle(document.documentElement);
          const light = (name) => {
            const hex = style.getPropertyValue('--' + name).trim().slice(1);
            const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
              .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
          };
          return pairs.map(([text, ground]) => {
            const [high, low] = [light(text), light(ground)].sort((a, b) => b - a);
            return [text, ground, (high + 0.05) / (low + 0.05)];
          }).filter(([, , contrast]) => !(contrast >= 4.5));
        }""",
        pairs,
    )
    assert weak == []


# ---------------------------------------------------------------- phones
def test_a_phone_scrolls_one_way_only_and_has_room_for_fingers(visit: Visit, server: Server) -> None:
    page = visit(server, **PHONE)
    for tab in everywhere(page):
        goto(page, tab)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, tab
        assert page.evaluate(SMALL) == [], tab
    open_set(page)
    for step in ("pictures", "captions", "recipe"):
        assert page.evaluate("document.documentElement.scrollWidth") == 390, step
        assert page.evaluate(SMALL) == [], step
        if step != "recipe":
            page.click(".step .next .primary")
    page.click(".tools .base")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_phone_shows_picture_prompt_generate_stack_in_this_order(visit: Visit, server: Server) -> None:
    page = visit(server, **PHONE)
    generate(page)
    expect_done(page)
    tops = [
        page.locator(place).first.evaluate("element => element.getBoundingClientRect().top + scrollY")
        for place in (".stage .frame", "#prompt textarea", "#go", ".stack", ".notebook")
    ]
    assert tops == sorted(tops)


@pytest.mark.parametrize("width", [320, 768, 1024, 1280, 1920])
def test_no_width_scrolls_sideways(visit: Visit, server: Server, width: int) -> None:
    page = visit(server, viewport={"width": width, "height": 800})
    for name in ("ears", "aper"):
        add_lora(page, name)
    for tab in ("generate", "train", "library"):
        goto(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab


# ---------------------------------------------------------------- names and order
@pytest.mark.parametrize("locale", ["en", "zh-CN"])
def test_every_control_has_a_name(visit: Visit, server: Server, locale: str) -> None:
    page = visit(server, locale=locale)
    for tab in everywhere(page):
        goto(page, tab)
        assert page.evaluate(UNNAMED) == [], tab
    open_set(page)
    for _ in range(2):
        assert page.evaluate(UNNAMED) == []
        page.click(".step .next .primary")
    for summary in page.locator("#tab-train details.more summary").all():
        summary.click()
    assert page.evaluate(UNNAMED) == []
    page.click(".tools .base")
    assert page.evaluate(UNNAMED) == []


def test_headings_and_landmarks(page: Page) -> None:
    assert page.locator("h1").all_inner_texts() == ["LoRA Studio"]
    assert page.locator("main").count() == 1
    assert page.locator("[role=banner]").count() == 1
    assert page.locator("[aria-live=polite].strip").count() == 1
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()


def test_no_id_twice(page: Page) -> None:
    everywhere(page)
    open_set(page)
    twice = page.evaluate(
        """() => { const ids = [...document.querySelectorAll('[id]')].map((element) => element.id).filter(Boolean);
             return ids.filter((id, index) => ids.indexOf(id) !== index); }"""
    )
    assert twice == []


SAID = """() => {
  const spoken = ['aria-label', 'aria-valuetext', 'title', 'placeholder', 'alt'];
  return [...document.querySelectorAll('body *')]
    .filter((element) => !['SCRIPT', 'STYLE'].includes(element.tagName))
    .flatMap((element) => [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data)
      .concat(spoken.map((name) => element.getAttribute(name) || '')))
    .flatMap((text) => text.split(/\\s+/));
}"""
"""Every word of the page: shown, hidden, spoken, in dialogs and messages."""


def keys_shown(page: Page) -> set[str]:
    """What looks like the key of a text: one that has no text is shown as itself."""
    rooms = {key.split(".")[0] for key in strings("en")}
    found = {word for word in page.evaluate(SAID) if re.fullmatch(r"[a-z_]+(\.[\w+-]+)+", word)}
    return {word for word in found if word.split(".")[0] in rooms} - {"styles.csv"}


@pytest.mark.parametrize(("locale", "lang"), [("en", "en"), ("zh-CN", "zh")])
def test_no_text_is_missing(visit: Visit, server: Server, locale: str, lang: str) -> None:
    """Nothing on the page looks like a key: in the rooms, in labels and titles, in dialogs and messages."""
    page = visit(server, locale=locale)
    words = strings(lang)
    everywhere(page)
    doors = (".stack .add", ".prompttools button >> nth=0", ".tools .base", ".tools .help", ".cell .frame >> nth=0")
    for door in doors:
        page.click(door)
        page.wait_for_selector("dialog")
        page.wait_for_timeout(200)
        assert keys_shown(page) == set(), door
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
    open_set(page)
    start_training(page)
    for tab in ("generate", "train", "library"):
        goto(page, tab)
        assert keys_shown(page) == set(), tab
    page.locator(".loras .card .picture").first.click()
    page.wait_for_selector("dialog .detail")
    page.get_by_role("button", name=words["detail.cover"], exact=True).click()
    page.wait_for_selector("dialog .choices")
    assert keys_shown(page) == set()
    page.keyboard.press("Escape")
    page.locator("dialog button[type=submit]").click()
    page.wait_for_selector(".toast")
    assert keys_shown(page) == set()
    page.keyboard.press("Escape")
    goto(page, "train")
    page.wait_for_selector(".result")
    assert keys_shown(page) == set()


def test_words_read_prompts(page: Page) -> None:
    """The reading of prompts in the page, against the A1111 language."""
    root = page.locator("script[src*='/js/main.js']").first.get_attribute("src") or ""
    got = page.evaluate(
        """async (url) => {
          const words = await import(url);
          const list = new words.Vocabulary([['brown hair', 5, '棕发'], ['hair', 9, '头发'], ['1girl', 9, '女孩']]);
          return {
            tags: words.tagsOf('((Brown_Hair:1.3)), [x], <lora:a:1>, \\\\(b\\\\), c AND d，e'),
            unknown: list.unknown('1girl, brown hair, (wings:1.1), cat ears', ['cat ears']),
            order: list.suggest('hai').map((one) => one.tag),
            chinese: list.suggest('棕').map((one) => one.tag),
            piece: words.pieceAt('a, bro wn, c', 6),
          };
        }""",
        root.replace("main.js", "words.js"),
    )
    assert got["tags"] == ["brown hair", "x", "(b)", "c", "d", "e"]
    assert got["unknown"] == ["wings"]
    assert got["order"] == ["hair", "brown hair"]
    assert got["chinese"] == ["brown hair"]
    assert got["piece"] == {"start": 3, "end": 9, "typed": "bro"}


def test_words_on_a_training_are_careful(page: Page) -> None:
    """At a fifth of the way it was said that the loss hardly falls any more, which nobody can know there."""
    root = page.locator("script[src*='/js/main.js']").first.get_attribute("src") or ""
    got = page.evaluate(
        """async (url) => {
          const { verdict } = await import(url);
          const noise = (n) => (Math.abs(Math.sin(n * 12.9898) * 43758.5453) % 1 - 0.5) * 0.06;
          const run = (course, n) => Array.from({length: n}, (_, i) => [i + 1, course(i / n) + noise(i)]);
          const falling = (x) => 0.3 - 0.15 * x, flat = () => 0.14, bent = (x) => 0.14 + 0.2 * Math.exp(-12 * x);
          return [
            verdict(run(falling, 20), 0.1), verdict(run(falling, 400), 0.5),
            verdict(run((x) => 0.1 + 0.1 * x, 400), 0.5),
            verdict(run(flat, 51), 0.2), verdict(run(flat, 400), 0.9), verdict(run(bent, 400), 0.6), verdict([], 0),
          ];
        }""",
        root.replace("main.js", "chart.js"),
    )
    assert [key.removeprefix("verdict.") for key in got] == [
        "early",
        "learning",
        "rising",
        "noisy",
        "flat",
        "slowly",
        "early",
    ]


def test_the_notebook_stays_quick_when_it_is_long(page: Page) -> None:
    """200 cells; one more stands there within a second."""
    page.fill("#prompt textarea", "1girl")
    page.evaluate(
        """async () => {
          const post = (name, data) => fetch('/studio/call/' + name, {method: 'POST', body: JSON.stringify(data)});
          const id = () => crypto.randomUUID().replaceAll('-', '');
          for (let n = 0; n < 200; n += 1) {
            const job = id();
            await post('make', {cell: id(), job, form: {prompt: 'cell ' + n, seed: String(n)}});
            await post('stop', {job});
          }
        }"""
    )
    page.reload()
    ready(page)
    expect(page.locator(OWN)).to_have_count(200)
    took = page.evaluate(
        """async () => {
          const before = performance.now();
          document.querySelector('#go').click();
          const own = () => document.querySelectorAll('.cell:not([data-sample])').length;
          while (own() < 201) await new Promise(requestAnimationFrame);
          return performance.now() - before;
        }"""
    )
    assert took < 1000
