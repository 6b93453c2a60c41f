"""How the texts are read, under them while they are typed; tags and stack; styles; full-width signs; copying."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from lora_studio.ui.texts import strings
from tests.browser.conftest import Visit, add_lora, expect_done
from tests.browser.driver import Server
from tests.browser.test_look import PHONE

SLIDE = "(range, value) => { range.value = value; range.dispatchEvent(new Event('input')); }"
SELECTED = "name => { const f = document.querySelector(`#${name} textarea`); return f.value.slice(f.selectionStart, f.selectionEnd); }"  # noqa: E501


def write(page: Page, text: str, name: str = "prompt") -> None:
    """Write a text as a person would paste it."""
    page.fill(f"#{name} textarea", text)


def opened(page: Page, name: str = "prompt") -> Locator:
    """The reading of one text, unfolded."""
    page.click(f"#explain-{name}-block .disclose")
    return page.locator(f"#reading-{name}")


def prompt_is(page: Page, text: str) -> None:
    expect(page.locator("#prompt textarea")).to_have_value(text)


# ---------------------------------------------------------------- the reading
def test_the_reading_follows_the_typing(page: Page) -> None:
    reading = page.locator("#reading-prompt")
    expect(reading).to_be_hidden()
    write(page, "a (red cat:1.3), [day:night:9], (faint:0.5), badhandv4")
    pills = page.locator("#explain-prompt-block .pill")
    expect(pills.first).to_have_text(re.compile(r"^\d+/75$"))
    expect(pills.last).to_have_text("1 remark")
    opened(page)
    expect(reading.locator(".weighed.strong")).to_have_text(re.compile("red cat.*1.3"))
    expect(reading.locator(".weighed.weak")).to_have_text(re.compile("faint.*0.5"))
    texts = reading.locator(".text")
    expect(texts).to_have_count(2)
    expect(texts.first).to_contain_text("Steps 1 to 9")
    expect(reading.locator(".tokens")).to_contain_text("day")
    texts.last.click()
    expect(reading.locator(".tokens")).to_contain_text("night")
    expect(reading.locator(".notices li")).to_contain_text('"badhandv4" looks like the name of an embedding')
    reading.locator(".notices button").click()
    assert page.evaluate(SELECTED, "prompt") == "badhandv4"
    for length in range(1, 30):
        write(page, "x" * length)
    expect(reading.locator(".token").last).to_have_text(re.compile("x"))
    expect(reading.locator(".notices")).to_have_count(0)
    page.wait_for_function("document.querySelector('#reading-prompt .tokens').textContent === 'x'.repeat(29)")


def test_chunks_are_counted_and_parts_are_told(page: Page) -> None:
    write(page, ", ".join(["cat"] * 50) + " AND dog :0.5 <lora:nowhere:1>")
    reading = opened(page)
    expect(reading.locator(".part")).to_have_count(2)
    expect(reading.locator(".part h3").last).to_have_text("Part 2, weight 0.5")
    expect(reading.locator(".chunk")).to_have_count(3)
    expect(reading.locator(".chunk .count").nth(1)).to_have_text(re.compile(r"of 75 tokens"))
    expect(reading.locator(".named-one.missing")).to_contain_text("nowhere at 1")
    page.reload()
    expect(reading.locator(".chunk")).to_have_count(3)  # it stays open


def test_the_things_to_avoid_are_read_too(page: Page) -> None:
    row = page.locator("#explain-negative-block .readrow")
    expect(row).to_be_hidden()
    write(page, "(bad hands, EasyNegativeV2", "negative")
    expect(row).to_be_visible()
    reading = opened(page, "negative")
    expect(reading.locator(".notices li")).to_have_count(2)
    write(page, "", "negative")
    expect(row).to_be_hidden()


def test_too_long_a_text_is_one_sentence(page: Page, complaints: list[re.Pattern[str]]) -> None:
    complaints.append(re.compile(r"Failed to load resource.*\b422\b"))
    write(page, "cat " * 2600)
    expect(opened(page).locator(".wrong")).to_contain_text("at most 10000 are allowed")


def test_full_width_signs_are_turned_by_one_click(page: Page) -> None:
    line = page.locator("#explain-prompt-block .fullwidth")
    write(page, "（red：1.3），cat")
    expect(line).to_contain_text("（ ： ） ，")
    line.locator("button").click()
    prompt_is(page, "(red:1.3),cat")
    expect(line).to_be_hidden()


# ---------------------------------------------------------------- tags and stack
def test_a_tag_and_its_row_are_one(page: Page) -> None:
    rows = page.locator(".stack .row")
    page.locator("#prompt textarea").press_sequentially("1girl, smile <lora:cat_ears:0.8>")
    expect(rows).to_have_count(1)
    expect(rows.locator("input.weight")).to_have_value("0.80")
    rows.locator(".weight-slider").evaluate(SLIDE, 0.35)
    prompt_is(page, "1girl, smile <lora:cat_ears:0.35>")
    write(page, "1girl, smile <lora:cat_ears:0.25:0.6>")
    expect(rows.locator("input.weight")).to_have_value("0.60")
    rows.locator(".weight-slider").evaluate(SLIDE, 1)
    prompt_is(page, "1girl, smile <lora:cat_ears:0.25:1>")
    add_lora(page, "aper")
    expect(rows).to_have_count(2)
    prompt_is(page, "1girl, smile <lora:cat_ears:0.25:1>")
    rows.first.get_by_role("button", name=re.compile("Take .* out")).click()
    prompt_is(page, "1girl, smile")
    expect(rows).to_have_count(1)
    write(page, "1girl, smile <lora:Papercut style:0.5>")
    expect(rows.locator("input.weight")).to_have_value("0.50")
    write(page, "1girl, smile")
    expect(rows).to_have_count(0)


def test_lyco_is_another_word_for_lora(page: Page) -> None:
    """A1111 knows both; here such a tag did nothing."""
    rows = page.locator(".stack .row")
    write(page, "1girl <lyco:cat_ears:0.8>")
    expect(rows.locator("input.weight")).to_have_value("0.80")
    rows.locator(".weight-slider").evaluate(SLIDE, 0.35)
    prompt_is(page, "1girl <lyco:cat_ears:0.35>")


def test_the_weight_of_a_whole_prompt_is_shown(page: Page) -> None:
    """ "16:9" at its end multiplied guidance by nine, and the panel showed the text without its 9 and no reason."""
    write(page, "😺 portrait, aspect ratio 16:9")  # two UTF-16 units for one character: another place was selected
    reading = opened(page)
    expect(reading.locator(".part h3")).to_have_text("Part 1, weight 9")
    expect(reading.locator(".notices li")).to_contain_text('":9" at the end is read as the weight of the whole prompt')
    reading.locator(".notices button").click()
    assert page.evaluate(SELECTED, "prompt") == ":9"
    write(page, "portrait, aspect ratio 16:9,")
    expect(reading.locator(".part h3")).to_have_count(0)


def test_what_is_typed_last_is_what_is_made(page: Page) -> None:
    """Generate is pressed before the page has heard what the tag means; a row that is off stays off."""
    write(page, "1girl <lora:cat_ears:0.7>")
    page.click("#go")
    expect_done(page)
    mark = page.locator(".cell").first.locator(".mark.lora")
    expect(mark).to_have_text(re.compile("Cat ears.*0.7"))
    expect(page.locator(".stack .row")).to_have_count(1)
    page.click(".stack .row .toggle")
    page.click("#go")
    expect_done(page, 2)
    expect(mark.locator("b")).to_have_text("0")
    prompt_is(page, "1girl <lora:cat_ears:0.7>")


def test_a_prompt_is_copied_with_its_tags(visit: Visit, server: Server) -> None:
    page = visit(server, permissions=["clipboard-read", "clipboard-write"])
    write(page, "1girl <lora:cat_ears:0.5>")
    expect(page.locator(".stack .row")).to_have_count(1)
    add_lora(page, "aper")
    page.locator(".stack .row").last.locator("input.weight").fill("0.4")
    page.locator(".prompttools button").last.click()
    expect(page.locator(".toast.good")).to_contain_text("copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "1girl <lora:cat_ears:0.5> <lora:Papercut style:0.4>"


# ---------------------------------------------------------------- styles
def test_styles_are_saved_picked_and_come_in_files(page: Page, tmp_path: Path) -> None:
    write(page, "{prompt}, (ink:1.2)")
    page.locator("#prompt textarea").blur()  # the suggestions close
    page.locator(".prompttools button").first.click()
    page.locator("dialog .primary").click()
    page.locator("dialog input[type=text]").fill("Ink")
    page.keyboard.press("Enter")
    expect(page.locator(".stylerow")).to_have_text(re.compile("Ink"))
    file = tmp_path / "styles.csv"
    file.write_text("\ufeffname,prompt,negative_prompt\nSoft,pastel,hard\n", encoding="utf-8")
    page.set_input_files("dialog input[type=file]", file)
    expect(page.locator(".stylerow")).to_have_count(2)
    for box in page.locator(".stylerow input").all():
        box.check()
    with page.expect_download() as download:
        page.locator("dialog footer button").nth(1).click()
    assert download.value.suggested_filename == "styles.csv"
    assert download.value.path().read_text(encoding="utf-8-sig").splitlines()[1:] == [
        'Ink,"{prompt}, (ink:1.2)",',
        "Soft,pastel,hard",
    ]
    page.keyboard.press("Escape")
    expect(page.locator(".picked")).to_have_text(["Ink", "Soft"])
    write(page, "cat")
    reading = opened(page)
    expect(reading.locator(".tokens")).to_have_text(re.compile(r"cat, ?ink.*1.2.*pastel"))
    page.click("#go")
    expect_done(page)
    expect(page.locator(".cell").first.locator(".prompt")).to_have_text("cat")
    page.locator(".picked").first.click()
    expect(page.locator(".picked")).to_have_text(["Soft"])
    expect(reading.locator(".tokens")).not_to_contain_text("ink")


# ---------------------------------------------------------------- everybody
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shaded_words_can_be_read(visit: Visit, server: Server, scheme: str) -> None:
    """At the deepest shade text still has a contrast of 4.5:1 (WCAG 2.2, 1.4.3)."""
    page = visit(server, color_scheme=scheme)
    write(page, "(cat:9)")
    opened(page)
    contrast = page.locator(".weighed.strong").evaluate(
        """run => {
          const canvas = document.createElement('canvas').getContext('2d');
          const light = (colour) => {
            canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
            const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255)
              .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
          };
          const style = getComputedStyle(run);
          const [high, low] = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
          return (high + 0.05) / (low + 0.05);
        }"""
    )
    assert contrast >= 4.5


def test_on_a_phone_it_is_folded_and_stays_in_its_place(visit: Visit, server: Server) -> None:
    page = visit(server, locale="zh-CN", **PHONE)
    write(page, ", ".join(["(long hair:1.2)"] * 60) + ", [day|night]")
    expect(page.locator("#explain-prompt-block .what")).to_have_text(strings("zh")["explain.title"])
    expect(page.locator("#reading-prompt")).to_be_hidden()
    reading = opened(page)
    expect(reading.locator(".chunk").first).to_be_visible()
    box = reading.bounding_box()
    assert box is not None
    assert box["height"] <= 0.5 * 844, "it scrolls inside of itself"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
