"""The workbench in the Library tab: opened from a card, by keyboard, in both languages and on a phone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from lora_studio.ui.texts import strings
from tests.browser.conftest import KIND, Visit, goto
from tests.browser.driver import Server
from tests.browser.test_look import PHONE, UNNAMED

pytestmark = pytest.mark.skipif(KIND == "real", reason="it counts on the samples of the pretended engine")
LOADING = 240_000
"""Milliseconds for what loads torch on a machine that is busy with trainings."""


@pytest.mark.parametrize(("lang", "options"), [("en", {}), ("zh", PHONE)], ids=["en", "zh on a phone"])
def test_the_tools_of_a_lora(visit: Visit, server: Server, lang: str, options: dict[str, Any]) -> None:
    words = strings(lang)
    page = visit(server, locale="zh-CN" if lang == "zh" else "en-US", **options)
    goto(page, "library")
    page.get_by_role("button", name=re.compile(words["bench.open"].replace("{name}", ".*"))).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".bench-facts, .wrong:not([hidden])").first).to_be_visible(timeout=LOADING)
    dialog.get_by_role("tab", name=words["bench.inspect"]).focus()
    for name in ("convert", "resize", "combine", "meta"):
        page.keyboard.press("ArrowRight")
        expect(dialog.get_by_role("tab", name=words[f"bench.{name}"])).to_have_attribute("aria-selected", "true")
        expect(dialog.locator("form").first).to_be_visible()
        assert page.evaluate(UNNAMED) == []
    dialog.get_by_label(words["bench.new"]).fill("猫")
    dialog.get_by_role("button", name=words["bench.preview"]).click()
    expect(dialog.locator(".meta-list")).to_contain_text("猫", timeout=LOADING)
    width = page.evaluate(
        "document.querySelector('dialog.bench').scrollWidth - document.querySelector('dialog.bench').clientWidth"
    )
    assert width <= 0
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
