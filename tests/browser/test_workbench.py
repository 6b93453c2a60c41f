"""The workbench in the Library tab: one LoRA's tools and new LoRAs, by keyboard, in both languages and on a phone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from safetensors.numpy import save_file

from lora_studio.ui.texts import strings
from tests.browser.conftest import KIND, Visit, goto
from tests.browser.driver import Server
from tests.browser.test_look import PHONE, SMALL, UNNAMED
from tests.support import lora_files

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
    for name in ("convert", "resize", "combine", "bake", "meta"):
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


def filled(page: Page, folder: Path, *names: str) -> None:
    """LoRAs that can be worked on, chosen by the button."""
    goto(page, "library")
    for name in names:
        rng = np.random.default_rng(sum(name.encode()))
        tensors = {key: rng.normal(size=shape).astype(np.float16) for key, shape in lora_files.kohya().items()}
        tensors |= {key: np.asarray(4, np.float16) for key in tensors if key.endswith(".alpha")}
        save_file(tensors, folder / f"{name}.safetensors")
    chooser = "#tab-library .library:not(.embeddings) input[type=file]"
    page.set_input_files(chooser, [folder / f"{name}.safetensors" for name in names])
    for name in names:
        expect(card(page, name)).to_have_count(1)


def card(page: Page, name: str) -> Locator:
    return page.locator(".loras .card").filter(has=page.get_by_role("heading", name=name, exact=True))


@pytest.mark.parametrize(("lang", "options"), [("en", {}), ("zh", PHONE)], ids=["en", "zh on a phone"])
def test_three_are_combined_and_it_is_undone(
    visit: Visit,
    server: Server,
    tmp_path: Path,
    complaints: list[re.Pattern[str]],
    lang: str,
    options: dict[str, Any],
) -> None:
    """The page took two; the result could not be taken back."""
    complaints.append(re.compile(r"Failed to load resource.*\b422\b"))
    words = strings(lang)
    page = visit(server, locale="zh-CN" if lang == "zh" else "en-US", **options)
    filled(page, tmp_path, "ash", "birch", "cedar")
    page.get_by_role("button", name=words["bench.make"]).click()
    dialog = page.get_by_role("dialog")
    choices = [dialog.get_by_label(words["bench.part"].replace("{n}", str(n)), exact=True) for n in (1, 2, 3)]
    expect(dialog.get_by_label(words["bench.part_remove"].replace("{n}", "1"))).to_be_disabled()
    dialog.get_by_role("button", name=words["bench.add_part"]).focus()
    page.keyboard.press("Enter")
    expect(choices[2]).to_be_focused()
    for choice, name in zip(choices, ("ash", "birch", "cedar"), strict=True):
        choice.select_option(option(choice, name))
    dialog.get_by_label(words["bench.part_weight"].replace("{n}", "2")).fill("-0.5")
    dialog.get_by_role("combobox", name=words["bench.method"], exact=True).select_option("svd")
    rank = dialog.get_by_label(words["bench.rank"], exact=True)
    rank.fill("many")
    dialog.get_by_role("button", name=words["bench.run"]).click()
    expect(dialog.get_by_role("alert")).to_contain_text("many")
    expect(rank).to_be_focused()
    expect(rank).to_have_attribute("aria-invalid", "true")
    rank.fill("3")
    expect(dialog.get_by_role("alert")).to_have_count(0)
    plan = words["bench.plan.named"].partition("{size}")[0].replace("{name}", "ash + birch + cedar")
    expect(dialog.locator(".bench-plan")).to_contain_text(plan.strip(), timeout=LOADING)
    assert page.evaluate(UNNAMED) == []
    if options:
        assert page.evaluate(SMALL) == []
    page.keyboard.press("Enter")
    expect(dialog.locator(".bench-entered")).to_contain_text("ash + birch + cedar", timeout=LOADING)
    dialog.get_by_role("button", name=words["undo"]).click()
    expect(dialog.get_by_role("button", name=words["bench.back"])).to_be_visible()
    expect(card(page, "ash + birch + cedar")).to_have_count(0)
    dialog.get_by_role("button", name=words["bench.back"]).click()
    expect(dialog.get_by_role("button", name=words["undo"])).to_be_visible()
    page.keyboard.press("Escape")
    expect(card(page, "ash + birch + cedar")).to_have_count(1)
    expect(card(page, "ash + birch + cedar")).to_contain_text(words["library.rank"].replace("{n}", "3"))


def option(choice: Locator, name: str) -> str:
    """The value of the option that says `name`, alone or before the family that it was made for."""
    return str(choice.locator("option").filter(has_text=re.compile(rf"^{name}( · .*)?$")).get_attribute("value"))


def test_a_long_tool_is_stopped(page: Page, server: Server, tmp_path: Path) -> None:
    filled(page, tmp_path, "elder", "fir")
    page.get_by_role("button", name="Workbench for elder").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".bench-facts")).to_be_visible(timeout=LOADING)
    dialog.get_by_role("tab", name="Bake a weight in").click()
    dialog.get_by_label("Weight that becomes 1").fill("0.25")
    expect(dialog.get_by_label("Name of the result")).to_have_value("elder × 0.25")
    server.control(hold="step")
    dialog.get_by_role("button", name="Make it").click()
    dialog.get_by_role("button", name="Stop").click()
    expect(dialog.get_by_role("alert")).to_have_text("Stopped; nothing was written.")
    server.control()
    dialog.get_by_role("button", name="Make it").click()
    expect(dialog.locator(".bench-entered")).to_contain_text("elder × 0.25 is in the library", timeout=LOADING)


def test_a_pickled_lora_is_chosen(page: Page, tmp_path: Path) -> None:
    """The server took it, the page's chooser showed no such file."""
    torch = pytest.importorskip("torch")
    goto(page, "library")
    chooser = page.locator("#tab-library .library:not(.embeddings) input[type=file]")
    assert str(chooser.get_attribute("accept")).startswith(".safetensors,.pt,.ckpt,.bin,")
    shapes = lora_files.kohya()
    torch.save({name: torch.ones(shape) for name, shape in shapes.items()}, tmp_path / "old.ckpt")
    chooser.set_input_files(tmp_path / "old.ckpt")
    expect(card(page, "old")).to_have_count(1, timeout=LOADING)


def test_without_a_second_model_the_page_says_who_can_help(page: Page) -> None:
    goto(page, "library")
    page.get_by_role("button", name="Combine or extract").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("tab", name="Combine").focus()
    page.keyboard.press("End")
    expect(dialog.get_by_role("tabpanel")).to_contain_text("by the setting checkpoints")


def test_a_rank_is_suggested(page: Page, tmp_path: Path) -> None:
    """Inspecting told how many directions are needed, and resizing did not know."""
    filled(page, tmp_path, "gorse")
    page.get_by_role("button", name="Workbench for gorse").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("tab", name="Resize").click()
    rank = dialog.get_by_label("Rank", exact=True)
    rank.fill("1")
    dialog.get_by_role("button", name="Suggest a rank").click()
    expect(rank).to_have_value("4", timeout=LOADING)
    expect(dialog.get_by_text("In half of the layers or more")).to_be_visible()
    expect(dialog.locator(".bench-plan")).to_contain_text("Will be called", timeout=LOADING)
