"""The library in a browser: a folder read in place, cards, details, undo, side files, fetching, a thousand files."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from lora_studio.ui.texts import strings
from tests.browser.conftest import KIND, Visit, add_lora, expect_done, generate, goto
from tests.browser.driver import Server
from tests.browser.test_look import PHONE, SMALL, UNNAMED
from tests.support import lora_files as made

pytestmark = pytest.mark.skipif(KIND == "real", reason="the files are made for the pretended engine")

EN = strings("en")
CARDS = ".loras .card"
REFUSED = re.compile(r"Failed to load resource.*\b(403|422)\b")

DROP = """([files, where]) => {
  const transfer = new DataTransfer();
  for (const [name, type, bytes] of files)
    transfer.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type }));
  const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
  const target = document.querySelector(where);
  for (const kind of ['dragenter', 'dragover', 'drop']) target.dispatchEvent(new DragEvent(kind, options));
}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two LoRAs as A1111 keeps them, and a file that is none."""
    found = tmp_path / "Lora"
    made.write(found / "cat.safetensors", "none", {"note": "${alert(1)} <img src=x onerror=alert(1)>"}, seed=1)
    made.write_json(
        found / "cat.json", {"activation text": "cat ears, tail", "preferred weight": 0.65, "notes": "soft"}
    )
    made.write_picture(found / "cat.preview.png", "orange")
    made.write(found / "style" / "ink.safetensors", "sdxl", seed=2)
    (found / "broken.safetensors").write_bytes(b"nothing")
    return found


@pytest.fixture
def reading(tmp_path: Path, folder: Path) -> Iterator[Server]:
    """A server of the test's own that reads the folder and may fetch."""
    server = Server(tmp_path / "ws", KIND, "--loras", str(folder), "--fetch")
    server.control()
    server.start()
    yield server
    server.stop()


def card(page: Page, name: str) -> Locator:
    return page.locator(CARDS).filter(has=page.locator("h3", has_text=re.compile(f"^{re.escape(name)}")))


def names(page: Page) -> list[str]:
    return page.locator(f"{CARDS} h3 > span:first-child").all_inner_texts()


def drop(page: Page, where: str, *paths: Path) -> None:
    """Drop files together onto an element."""
    types = {".png": "image/png"}
    files = [[p.name, types.get(p.suffix, ""), base64.b64encode(p.read_bytes()).decode()] for p in paths]
    page.evaluate(DROP, [files, where])


def opened(page: Page, count: int) -> Page:
    """The library with so many cards."""
    goto(page, "library")
    expect(page.locator(CARDS)).to_have_count(count)
    return page


def test_a_folder_is_shown_where_it_lies(visit: Visit, reading: Server, folder: Path) -> None:
    page = opened(visit(reading), 5)
    cat = card(page, "cat")
    expect(cat.locator(".words")).to_have_text("cat ears, tail")
    expect(cat).to_contain_text("weight 0.65")
    expect(cat.locator("img.cover")).to_have_js_property("complete", True)
    assert cat.locator("img.cover").evaluate("image => image.naturalWidth") > 0
    ink = card(page, "ink")
    expect(ink).to_contain_text("Made for SDXL; the loaded base is LoRA Studio's own small base")
    expect(ink.locator(".primary")).to_be_disabled()
    expect(page.locator(".folders")).to_contain_text("Folder Lora: 2 LoRAs, read in place")
    page.locator(".folders button").click()
    expect(page.locator("dialog .others")).to_contain_text("Lora/broken.safetensors")
    expect(page.locator("dialog .others")).to_contain_text(EN["library.file.damaged"])
    page.keyboard.press("Escape")
    made.write(folder / "new.safetensors", seed=9)
    expect(page.locator(CARDS)).to_have_count(6)
    away = folder.with_name("away")
    folder.rename(away)
    expect(page.locator(".folders .remark.bad")).to_contain_text("The folder Lora is not there")
    expect(cat).to_contain_text(EN["library.missing"])
    away.rename(folder)
    expect(cat).not_to_contain_text(EN["library.missing"])


def test_using_one_begins_with_its_weight_and_words(visit: Visit, reading: Server) -> None:
    page = opened(visit(reading), 5)
    card(page, "cat").locator(".primary").click()
    expect(page.locator(".stack .row input.weight")).to_have_value("0.65")
    expect(page.locator(".chips .chip")).to_have_text(["cat ears", "tail"])
    page.click(".stack .add")
    page.fill("dialog input[type=search]", "ink")
    expect(page.locator("dialog .pick")).to_be_disabled()
    expect(page.locator("dialog .pick")).to_contain_text("Made for SDXL")


def test_searching_filtering_and_sorting(visit: Visit, reading: Server) -> None:
    page = opened(visit(reading), 5)
    for words, count in (("tail", 1), ("soft", 1), ("style/ink", 1), ("ink sdxl", 1), ("nothing like it", 0)):
        page.fill(".library input[type=search]", words)
        expect(page.locator(CARDS)).to_have_count(count)
    expect(page.locator(".library > .nothing").first).to_have_text(EN["stack.none_found"])
    page.fill(".library input[type=search]", "")
    family, order = page.locator(".library > header select").all()
    family.select_option("sdxl")
    assert names(page) == ["ink"]
    family.select_option("fits")
    expect(page.locator(CARDS)).to_have_count(4)
    family.select_option("")
    order.select_option("name")
    expect(page.locator(CARDS).first).to_contain_text("cat")  # cards are filled as they come into view
    expect(page.locator(CARDS).nth(1)).to_contain_text("Cat ears")
    assert names(page) == ["cat", "Cat ears", "ink", "Miko Tsuki", "Papercut style"]
    page.reload()
    page.wait_for_selector(CARDS)
    expect(page.locator(CARDS).first).to_contain_text("cat")
    assert names(page)[0] == "cat", "the order is remembered"
    order.select_option("newest")


def test_details_are_changed_and_shown_as_text(
    visit: Visit, reading: Server, complaints: list[re.Pattern[str]]
) -> None:
    complaints.append(REFUSED)
    page = opened(visit(reading), 5)
    card(page, "cat").locator(".picture").click()
    dialog = page.locator("dialog.sheet")
    expect(dialog).to_contain_text("Lora/cat.safetensors")
    dialog.locator(".saying summary").click()
    expect(dialog.locator(".saying dd")).to_have_text("${alert(1)} <img src=x onerror=alert(1)>")
    dialog.get_by_label(EN["detail.name"]).fill("Kitty")
    dialog.get_by_label(EN["detail.notes"]).fill("${x} <b>")
    dialog.get_by_label(EN["detail.weight"]).fill("much")
    dialog.locator("button[type=submit]").click()
    expect(dialog.locator(".wrong")).to_contain_text("much")
    dialog.get_by_label(EN["detail.weight"]).fill("0.9")
    dialog.locator("button[type=submit]").click()
    expect(dialog.locator("h2")).to_have_text("Kitty")
    dialog.get_by_label("4 of 5 stars").check()
    expect(dialog.locator(".star .lit")).to_have_count(4)
    page.keyboard.press("Escape")
    kitty = card(page, "Kitty")
    expect(kitty.locator(".stars")).to_have_text("★★★★")
    expect(kitty).to_contain_text("${x} <b>")
    expect(kitty).to_contain_text("weight 0.9")
    page.locator(".library > header select").nth(1).select_option("stars")
    assert names(page)[0] == "Kitty"


def test_what_is_typed_about_a_lora_stays(visit: Visit, reading: Server) -> None:
    """A star, a cover, a check and a pointer that was let go outside each threw away what was typed and not saved."""
    page = opened(visit(reading), 5)
    card(page, "cat").locator(".picture").click()
    dialog = page.locator("dialog.sheet").first
    notes = dialog.get_by_label(EN["detail.notes"])
    notes.fill("half a thought")
    dialog.get_by_label("3 of 5 stars").check()
    expect(dialog.locator(".star .lit")).to_have_count(3)
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    expect(dialog.get_by_label("5 of 5 stars")).to_be_checked()
    expect(dialog.locator(".star .lit")).to_have_count(5)
    dialog.get_by_role("button", name=EN["detail.check"]).click()
    expect(dialog.locator(".check")).not_to_contain_text(EN["detail.checking"])
    expect(notes).to_have_value("half a thought")
    notes.scroll_into_view_if_needed()
    box = notes.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(3, 3)
    page.mouse.up()
    expect(notes).to_have_value("half a thought")
    expect(page.locator("dialog")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("dialog").last).to_contain_text(EN["dialog.unsaved_text"])
    page.get_by_role("button", name=EN["cancel"]).click()
    expect(notes).to_have_value("half a thought")
    page.mouse.click(3, 3)
    page.locator("dialog .danger").click()
    expect(page.locator("dialog")).to_have_count(0)
    card(page, "cat").locator(".picture").click()
    expect(page.locator("dialog").get_by_label(EN["detail.notes"])).to_have_value("soft")
    page.mouse.click(3, 3)
    expect(page.locator("dialog")).to_have_count(0)


def test_a_picture_of_a_cell_becomes_the_cover(visit: Visit, reading: Server) -> None:
    page = visit(reading)
    add_lora(page, "cat")
    generate(page)
    expect_done(page)
    opened(page, 5)
    card(page, "ink").locator(".picture").click()
    page.get_by_role("button", name=EN["detail.cover"], exact=True).click()
    page.locator("dialog .choices.pictures button").first.click()
    expect(page.locator("dialog .look img.cover")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(card(page, "ink").locator("img.cover")).to_have_count(1)


def test_hiding_with_undo_and_showing_again(visit: Visit, reading: Server, folder: Path) -> None:
    page = opened(visit(reading), 5)
    card(page, "cat").get_by_role("button", name="Hide cat").click()
    expect(page.locator("dialog")).to_contain_text(EN["library.hide_stays"])
    page.locator("dialog .danger").click()
    expect(page.locator(CARDS)).to_have_count(4)
    page.locator(".toast").get_by_role("button", name="Undo").click()
    expect(page.locator(CARDS)).to_have_count(5)
    card(page, "cat").get_by_role("button", name="Hide cat").click()
    page.locator("dialog .danger").click()
    expect(page.locator(CARDS)).to_have_count(4)
    page.locator(".folders button").click()
    page.locator("dialog .others").get_by_role("button", name=EN["library.show_again"]).click()
    expect(page.locator(CARDS)).to_have_count(5)
    assert (folder / "cat.safetensors").is_file()


def test_a_lora_is_dropped_with_what_lay_beside_it(visit: Visit, reading: Server, tmp_path: Path) -> None:
    page = opened(visit(reading), 5)
    lora = made.write(tmp_path / "d" / "dropped.safetensors", seed=30)
    text = made.write_json(tmp_path / "d" / "dropped.json", {"activation text": "new word", "preferred weight": 0.4})
    picture = made.write_picture(tmp_path / "d" / "dropped.preview.png", "teal")
    drop(page, "#tab-library .loras", lora, text, picture)
    dropped = card(page, "dropped")
    expect(dropped.locator(".words")).to_have_text("new word")
    expect(dropped).to_contain_text("weight 0.4")
    expect(dropped.locator("img.cover")).to_have_count(1)


def test_fetching_tells_how_far_it_is_and_can_be_stopped(
    visit: Visit, reading: Server, complaints: list[re.Pattern[str]]
) -> None:
    complaints.append(REFUSED)
    reading.control(step_seconds=0.3)
    page = opened(visit(reading), 5)
    page.locator(".fetch summary").click()
    field = page.get_by_label(EN["fetch.label"])
    field.fill("https://evil.com/x")
    page.locator(".fetch .primary").click()
    expect(page.locator(".fetch .wrong")).to_contain_text("evil.com")
    field.fill("owner/slow-lora")
    page.locator(".fetch .primary").click()
    expect(page.locator(".fetching .row")).to_contain_text("owner/slow-lora")
    expect(page.locator(".fetching .row")).to_contain_text("of 10 MB")
    page.get_by_role("button", name="Stop fetching owner/slow-lora").click()
    expect(page.locator(".fetching .row")).to_have_count(0)
    reading.control()
    field.fill("owner/quick-lora")
    page.locator(".fetch .primary").click()
    expect(card(page, "quick-lora")).to_have_count(1)
    expect(page.locator("#toasts")).to_contain_text("quick-lora is in the library")


def test_fetching_explains_itself_where_it_is_off(page: Page) -> None:
    goto(page, "library")
    page.locator(".fetch summary").click()
    expect(page.locator(".fetch .hint")).to_have_text(EN["fetch.off"])
    expect(page.locator(".fetch form")).to_be_hidden()


@pytest.mark.parametrize("window", [PHONE, {}], ids=["phone", "desk"])
def test_everything_has_a_name_and_fits(visit: Visit, reading: Server, window: dict[str, Any]) -> None:
    page = opened(visit(reading, **window), 5)
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    card(page, "cat").locator(".picture").click()
    page.wait_for_selector("dialog .detail")
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth")
    if window:
        assert page.evaluate(SMALL) == []


def test_a_thousand_cards_are_drawn_as_they_come_into_view(visit: Visit, reading: Server, folder: Path) -> None:
    """Counted, not timed: few are drawn at first, all are there for those who scroll, and the search finds any."""
    page = visit(reading)
    shutil.rmtree(folder / "style")
    for number in range(1000):
        (folder / f"n{number:04d}.safetensors").write_bytes(
            made.file_bytes({"a.lora_down.weight": (4, 4)}, seed=number)
        )
    goto(page, "library")
    expect(page.locator(".folders")).to_contain_text("1,001 LoRAs", timeout=300_000)
    assert page.locator(CARDS).count() <= 96
    page.fill(".library input[type=search]", "n0777")
    expect(page.locator(CARDS)).to_have_count(1)
    page.fill(".library input[type=search]", "")
    page.wait_for_function(
        """() => { scrollTo(0, document.body.scrollHeight);
        return document.querySelectorAll('.loras .card').length >= 1004; }""",
        timeout=60_000,
    )
