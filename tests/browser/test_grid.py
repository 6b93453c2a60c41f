"""Grids of pictures: asked for in a dialog, shown as a table, saved as one picture."""

from __future__ import annotations

import re

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, add_lora, expect_done
from tests.browser.driver import Server
from tests.browser.test_look import PHONE

REFUSED = re.compile(r"Failed to load resource.*\b422\b")


def ask(page: Page, across: str, values: str, down: str = "", more: str = "") -> None:
    """Fill the dialog and send it."""
    page.get_by_role("button", name="Grid", exact=True).click()
    axes = page.locator("dialog .axis")
    for number, (what, text) in enumerate(((across, values), (down, more))):
        if what:
            axes.nth(number).locator("select").select_option(label=what)
            axes.nth(number).locator("input").fill(text)
    page.get_by_role("button", name="Make the grid").click()


def test_weights_by_seeds(page: Page) -> None:
    add_lora(page, "Cat ears")
    page.fill("#prompt textarea", "1girl, smile")
    ask(page, "Weight of Cat ears", "0, 0.5, 1", "Seed", "3, 5")
    expect(page.locator("dialog")).to_have_count(0)
    expect_done(page)
    sheet = page.locator(".stage .gridsheet")
    expect(sheet.locator(".axes")).to_have_text("→ Weight of Cat ears↓ Seed")
    expect(sheet.locator("th[scope=col]")).to_have_text(["0", "0.5", "1"])
    expect(sheet.locator("th[scope=row]")).to_have_text(["3", "5"])
    expect(sheet.locator("td .frame img")).to_have_count(6)
    labels = [image.get_attribute("alt") for image in sheet.locator("td .frame img").all()]
    assert labels[1] == "Weight of Cat ears 0.5, Seed 3"
    expect(page.locator(".cell .mark").filter(has_text="Grid 3 × 2")).to_have_count(1)
    page.reload()
    expect(page.locator(".cell .mark").filter(has_text="Grid 3 × 2")).to_have_count(1)
    expect(sheet.locator("td .frame img")).to_have_count(6)
    with page.expect_download() as saved:
        page.get_by_role("button", name="As one picture").click()
    with Image.open(saved.value.path()) as picture:
        assert (picture.format, picture.size) == ("PNG", (150 + 3 * 128, 56 + 2 * 128))


def test_what_is_wrong_is_said_in_the_dialog(page: Page, complaints: list[re.Pattern[str]]) -> None:
    complaints.append(REFUSED)
    page.fill("#prompt textarea", "1girl, smile")
    ask(page, "Seed", "many")
    expect(page.locator("dialog .wrong")).to_contain_text('"many"')
    expect(page.locator(".cell:not(.sample)")).to_have_count(0)
    page.locator("dialog .axis input").first.fill("1-2")
    page.get_by_role("button", name="Make the grid").click()
    expect(page.locator("dialog")).to_have_count(0)
    expect_done(page)


def test_on_a_phone(visit: Visit, server: Server) -> None:
    """The table scrolls within itself; the page does not."""
    page = visit(server, **PHONE)
    page.fill("#prompt textarea", "1girl, smile")
    ask(page, "Seed", "1-8")
    expect_done(page)
    expect(page.locator(".stage .gridsheet td .frame img")).to_have_count(8)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "(() => { const s = document.querySelector('.gridsheet .scroll'); return s.scrollWidth > s.clientWidth; })()"
    )
