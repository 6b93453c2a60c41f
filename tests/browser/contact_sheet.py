"""Every state of the page on one sheet per width, language and theme: `python -m tests.browser.contact_sheet`.

Two defects of earlier screens, a blank chart and a tick that could not be seen, passed every assertion and were plain
in the pictures; so the sheets are looked at by a person. `--readme` takes the README's pictures on the real base.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, Page

from tests.browser.conftest import add_lora, expect_done, goto, open_set, ready, start_training
from tests.browser.driver import ROOT, Server, chromium
from tests.browser.test_explain import SLIDE
from tests.browser.test_recall import PASTE, TEXT
from tests.browser.test_workbench import card, filled

OUT = ROOT / "docs" / "screens"
WIDTHS = {1280: (4, 600), 390: (8, 300)}
"""For each width of the window: pictures in a row of the sheet, and how wide each is there."""

LOOKS = [f"{width}-{lang}-{theme}" for width in WIDTHS for lang in ("en", "zh") for theme in ("light", "dark")]

PROMPT = "1girl, brown hair, long hair, smile, cat ears, dragon wings"
READ = "1girl, (brown hair:1.3), ((smile)), [day:night:9], （faint：0.5）, badhandv4"

TALLEST = 2.2
"""A picture of a state is cut below this many window heights."""

MOVED = "range => { range.value = 30; range.dispatchEvent(new Event('input')); }"

Shot = Callable[[str], None]


def walk(page: Page, server: Server, shot: Shot) -> None:
    """Go through every state, saying its name where it is to be seen."""
    _generate(page, server, shot)
    _train(page, server, shot)
    _library(page, server, shot)
    _interrupted(page, server, shot)


def _generate(page: Page, server: Server, shot: Shot) -> None:
    shot("first visit")
    page.type("#prompt textarea", "1girl, bro")
    page.wait_for_selector(".suggestions li")
    shot("suggestions")
    page.fill("#prompt textarea", READ)
    page.click("#explain-prompt-block .disclose")
    page.wait_for_selector("#reading-prompt .notices")
    shot("how it is read")
    page.click("#explain-prompt-block .disclose")
    page.fill("#prompt textarea", PROMPT)
    page.click(".stack .add")
    page.wait_for_selector("dialog .pick img")
    shot("adding a LoRA")
    page.keyboard.press("Escape")
    add_lora(page, "ears")
    server.control(hold="step")
    page.click("#go")
    page.wait_for_selector(".stage .glimpse[src^=data]", state="attached")
    shot("a picture is made")
    server.control()
    expect_done(page)
    add_lora(page, "aper")
    page.fill(".stack .row:nth-child(2) input.weight", "0.5")
    page.click("#show")
    page.wait_for_selector(".stage .compare")
    expect_done(page, 2)
    shot("what the LoRAs do")
    _places_and_grid(page, shot)
    page.fill("#g-num_images", "4")
    page.click("#go")
    expect_done(page, 4)
    page.locator(".cell").first.locator(".verbs button").nth(3).click()
    page.keyboard.type("0.5 is enough paper")
    shot("notebook")
    page.fill("#g-num_images", "none")
    page.fill(".stack .row:nth-child(2) input.weight", "1.8")
    page.click("#go")
    page.wait_for_selector(".wrong:visible")
    shot("bad input")
    page.fill("#g-num_images", "1")
    page.locator("#tab-generate details.more summary").first.click()
    page.fill("#g-guidance_rescale", "2")
    page.click("#go")
    page.wait_for_selector("#g-guidance_rescale[aria-invalid=true]")
    shot("how words and guidance act")
    page.fill("#g-guidance_rescale", "0.7")
    page.evaluate(PASTE, TEXT)
    page.wait_for_selector(".recalled:visible")
    shot("taken over from A1111")
    page.locator(".recalled button").first.click()
    page.locator(".cell").last.locator(".frame").click()
    shot("large")
    page.keyboard.press("Escape")
    page.locator(".cell").nth(1).locator(".verbs .far").click()
    page.wait_for_selector(".toast")
    shot("deleted, with undo")
    page.locator(".toast .square").click()
    page.click(".tools .base")
    page.fill("#base-ref", "/no/such/folder")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog .wrong:visible")
    shot("choosing a base")
    page.keyboard.press("Escape")
    page.context.set_offline(True)
    page.wait_for_selector(".strip[data-kind=bad]")
    shot("no connection")
    page.context.set_offline(False)
    page.wait_for_selector(".strip:not([data-kind=bad])")


def _places_and_grid(page: Page, shot: Shot) -> None:
    page.locator(".stack .row .name").first.click()
    page.locator(".stack .places input").nth(1).evaluate(SLIDE, 9)
    shot("where a LoRA acts")
    page.locator(".stack .places:visible footer button").click()
    page.locator(".stack .row .name").first.click()
    page.click(".stack .gridopen")
    page.locator("dialog .axis select").nth(1).select_option(index=7)
    shot("asking for a grid")
    page.click("dialog .primary")
    page.wait_for_selector(".stage .gridsheet")
    expect_done(page, 3)
    shot("a grid")


def _train(page: Page, server: Server, shot: Shot) -> None:
    goto(page, "train")
    page.wait_for_selector(".samples .tile")
    shot("pictures: choosing")
    open_set(page)
    broken: list[Any] = [{"name": "holiday.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\nhalf"}]
    page.set_input_files(".dropzone input", files=broken)
    page.wait_for_selector(".refused li")
    shot("pictures: a set")
    page.click(".step .next .primary")
    page.wait_for_selector(".caption-card")
    shot("captions")
    page.click(".step .next .primary")
    page.wait_for_selector(".recipe-card")
    page.locator("#tab-train details.more summary").first.click()
    shot("recipe")
    page.locator(".stepper button").nth(1).click()
    page.locator(".stepper button").first.click()
    start_training(page, steps="200", preview_every="20")
    page.wait_for_selector(".preview-step >> nth=5")
    server.control(hold="step")
    shot("training")
    page.locator(".step .next button").click()
    page.wait_for_selector("dialog")
    shot("stopping")
    page.keyboard.press("Escape")
    server.control()
    page.wait_for_selector(".result")
    shot("result")
    page.locator(".run .ghost").last.click()
    page.wait_for_selector("dialog")
    shot("deleting a run")
    page.keyboard.press("Escape")
    page.locator(".result .verbs button").first.click()
    page.wait_for_selector("#tab-generate-button[aria-selected=true]")
    shot("trying it")


def _interrupted(page: Page, server: Server, shot: Shot) -> None:
    """A training that the end of the server cut off, and what goes on from it."""
    server.control(step_seconds=0.05)
    goto(page, "train")
    page.locator(".stepper button").first.click()
    start_training(page, steps="120", preview_every="10", checkpoint_every="50")
    page.wait_for_selector(".preview-step >> nth=5")
    server.kill()
    server.start()
    page.wait_for_selector(".verdict:visible")
    page.wait_for_selector(".strip:not([data-kind=bad])")
    shot("interrupted")


def _library(page: Page, server: Server, shot: Shot) -> None:
    goto(page, "library")
    page.wait_for_selector(".card")
    shot("library")
    page.locator("#tab-library input[type=search]").first.fill("dragon")
    page.wait_for_selector(".loras .card", state="detached")
    shot("nothing found")
    page.locator("#tab-library input[type=search]").first.fill("")
    page.wait_for_selector(".loras .card")
    page.locator(".loras .card .picture").first.click()
    page.wait_for_selector("dialog .detail")
    shot("one LoRA")
    page.keyboard.press("Escape")
    page.locator(".loras .card .verbs .ghost").last.click()
    page.wait_for_selector("dialog")
    shot("deleting a LoRA")
    page.keyboard.press("Escape")
    _workbench(page, server, shot)


def _workbench(page: Page, server: Server, shot: Shot) -> None:
    """The tools of one LoRA and the making of new ones, on files that can be worked on."""
    filled(page, server.workspace.parent, "ash", "birch")
    card(page, "ash").locator(".verbs button").nth(1).click()
    page.wait_for_selector("dialog .bench-facts", timeout=240_000)
    for name in ("inspect", "convert", "resize", "combine", "bake", "meta"):
        page.click(f"#bench-{name}")
        page.wait_for_selector("dialog .bench-facts" if name == "inspect" else "dialog form")
        shot(f"workbench: {name}")
    page.keyboard.press("Escape")
    page.locator("#tab-library header button").first.click()
    page.wait_for_selector("dialog form")
    shot("making a LoRA of others")
    page.click("#bench-extract")
    shot("extracting a LoRA")
    page.keyboard.press("Escape")


def take(browser: Browser, server: Server, width: int, lang: str, theme: str) -> Iterator[tuple[str, Image.Image]]:
    """The states in one look."""
    height = 800 if width > 800 else 844
    phone = {"has_touch": True, "is_mobile": True} if width < 800 else {}
    context = browser.new_context(
        viewport={"width": width, "height": height},
        locale="zh-CN" if lang == "zh" else "en-GB",
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        **phone,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(server.address)
    ready(page)
    taken: list[tuple[str, Image.Image]] = []

    def shot(name: str) -> None:
        page.wait_for_timeout(450)
        # What hangs at the window's edge would be lost in a picture of the whole page.
        whole = not page.locator("dialog[open], .toast").count()
        data = page.screenshot(full_page=whole)
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        taken.append((name, picture.crop((0, 0, width, min(picture.height, int(height * TALLEST))))))

    server.control()
    walk(page, server, shot)
    context.close()
    yield from taken


def sheet(shots: list[tuple[str, Image.Image]], width: int) -> Image.Image:
    """All states side by side with their names."""
    columns, wide = WIDTHS[width]
    font = ImageFont.load_default(18)
    rows = [shots[start : start + columns] for start in range(0, len(shots), columns)]
    scaled = [[(name, _scaled(picture, wide)) for name, picture in row] for row in rows]
    heights = [max(picture.height for _, picture in row) + 40 for row in scaled]
    made = Image.new("RGB", (columns * (wide + 16) + 16, sum(heights) + 16), (120, 120, 128))
    pen, top = ImageDraw.Draw(made), 16
    for row, height in zip(scaled, heights, strict=True):
        for column, (name, picture) in enumerate(row):
            left = 16 + column * (wide + 16)
            pen.text((left, top), name, fill="white", font=font)
            made.paste(picture, (left, top + 26))
        top += height
    return made


def _scaled(picture: Image.Image, wide: int) -> Image.Image:
    return picture.resize((wide, picture.height * wide // picture.width), Image.Resampling.LANCZOS)


def sheets(browser: Browser, folder: Path, looks: list[str]) -> None:
    """One sheet for each look, a width, language and theme."""
    for look in looks:
        width, lang, theme = look.split("-")
        server = Server(folder / look / "workspace")
        server.control()
        server.start()
        try:
            shots = list(take(browser, server, int(width), lang, theme))
        finally:
            server.stop()
        path = OUT / f"sheet-{look}.webp"
        sheet(shots, int(width)).save(path, quality=72, method=6)
        print(path.relative_to(ROOT), len(shots), "states", flush=True)


def readme(browser: Browser, folder: Path) -> None:
    """The README's two pictures, on the real base and with a short training."""
    server = Server(folder / "real", "real")
    server.start()
    try:
        context = browser.new_context(viewport={"width": 1280, "height": 1180}, locale="en-GB", color_scheme="light")
        page = context.new_page()
        page.set_default_timeout(600_000)
        page.goto(server.address)
        ready(page)
        page.fill("#prompt textarea", "1girl, purple hair, long hair, green eyes, smile, cat ears, school uniform, sky")
        for name, weight in (("ears", "1"), ("paper", "0.4"), ("miko", "0.2")):
            add_lora(page, name)
            page.fill(".stack .row:last-child input.weight", weight)
        page.fill("#g-seed", "11")
        page.click("#show")
        page.wait_for_selector(".stage .compare")
        page.locator(".stage .compare input").evaluate(MOVED)
        page.wait_for_timeout(800)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=OUT / "generate.png")
        open_set(page)
        start_training(page)
        page.wait_for_selector(".preview-step >> nth=4")
        page.wait_for_timeout(800)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=OUT / "train.png")
        context.close()
    finally:
        server.stop()


def main() -> None:
    """Write the sheets, or the README's pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=LOOKS, action="append", help="this look alone; may be repeated")
    parser.add_argument("--readme", action="store_true", help="take the README's pictures on the real base")
    given = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        if given.readme:
            readme(browser, Path(folder))
        else:
            sheets(browser, Path(folder), given.only or LOOKS)


if __name__ == "__main__":
    main()
