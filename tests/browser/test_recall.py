"""Taking over what made a picture: dropping, choosing, pasting, undoing, and LoRAs that are missing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

from tests.browser.conftest import OWN, add_lora, expect_done, generate, goto
from tests.support.fake_engine import safetensors

REFUSED = re.compile(r"Failed to load resource.*\b422\b")
MISSING, OTHER = (safetensors({})[:-4] + tensors for tensors in (b"mine", b"none"))
"""Two LoRA files whose tensors are no sample's."""
HASH = hashlib.sha256(b"mine").hexdigest()[:12]
TEXT = (
    "1girl, red hair <lora:nekomimi:0.6>\nNegative prompt: hat\nSteps: 12, Sampler: Euler a, CFG scale: 3, Seed: 99, "
    f'Size: 128x192, Lora hashes: "nekomimi: {HASH}", Version: v1.10.1'
)

DROP = """([place, name, type, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, {type}));
  const target = document.querySelector(place);
  for (const kind of ['dragenter', 'dragover', 'drop']) {
    target.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
  }
}"""

PASTE = """(text) => {
  const transfer = new DataTransfer();
  transfer.setData('text/plain', text);
  document.querySelector('#prompt textarea')
    .dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true, cancelable: true}));
}"""


def drop(page: Page, place: str, name: str, data: bytes, kind: str = "image/png") -> None:
    """Drop a file on the first element of that selector."""
    page.evaluate(DROP, [place, name, kind, base64.b64encode(data).decode()])


def png(**texts: str) -> bytes:
    """A picture with these texts."""
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def form(page: Page) -> dict[str, Any]:
    """What stands in the form."""
    return {
        "prompt": page.input_value("#prompt textarea"),
        "negative": page.input_value("#negative textarea"),
        "seed": page.input_value("#g-seed"),
        "steps": page.input_value("#g-num_inference_steps"),
        "size": f"{page.input_value('#g-width')}x{page.input_value('#g-height')}",
        "sampler": page.input_value("#g-sampler"),
        "locked": page.get_attribute(".lock", "aria-pressed"),
        "stack": page.locator(".stack .row .name").all_inner_texts(),
    }


def test_a_picture_dropped_on_any_tab_comes_back_whole_and_can_be_undone(page: Page) -> None:
    add_lora(page, "ears")
    page.fill(".stack .row input.weight", "0.35")
    page.fill("#g-seed", "4711")
    generate(page, "1girl, blue hair")
    expect_done(page)
    made = form(page)
    source = page.locator(f"{OWN} img").first.get_attribute("src")
    data = page.request.get(f"{page.url.rstrip('/')}{source}").body()

    page.fill("#prompt textarea", "something else")
    page.fill("#negative textarea", "words")
    page.fill("#g-seed", "")
    page.locator(".stack .row .square").last.click()
    add_lora(page, "aper")
    other = form(page)

    goto(page, "library")
    drop(page, "#tab-library .library", "mine.png", data)
    expect(page.locator(".recalled")).to_contain_text("Everything was taken over from mine.png (LoRA Studio).")
    assert form(page) == made | {"locked": "true"}
    assert page.input_value(".stack .row input.weight") == "0.35"

    page.reload()
    page.wait_for_selector(".recalled:not([hidden])")
    page.locator(".recalled").get_by_role("button", name="Undo").click()
    expect(page.locator(".recalled")).to_be_hidden()
    assert form(page) == other


def test_what_is_missing_is_listed_and_comes_with_its_file(page: Page, complaints: list[re.Pattern[str]]) -> None:
    drop(page, "#easel", "civitai.png", png(parameters=TEXT))
    card = page.locator(".recalled")
    expect(card).to_contain_text("Taken over from civitai.png (A1111)")
    expect(card.locator("code")).to_have_text(HASH)
    expect(card.locator(".said li")).to_have_count(1)
    found = form(page)
    assert (found["prompt"], found["negative"], found["sampler"]) == ("1girl, red hair", "hat", "euler_a")
    assert (found["seed"], found["steps"], found["size"], found["stack"]) == ("99", "12", "128x192", [])

    drop(page, ".recalled", "other.safetensors", OTHER, "")
    expect(page.locator("#toasts")).to_contain_text("none of the missing files")
    expect(card.locator(".lacking")).to_be_visible()
    drop(page, ".recalled", "renamed by me.safetensors", MISSING, "")
    expect(card.locator(".lacking")).to_have_count(0)
    expect(page.locator(".stack .row .name")).to_have_text(["renamed by me"])
    assert page.input_value(".stack .row input.weight") == "0.60"

    complaints.append(REFUSED)
    drop(page, "#form", "holiday.png", png(Comment="the sea"))
    expect(page.locator("#toasts")).to_contain_text("does not say how it was made")
    assert page.input_value("#prompt textarea") == "1girl, red hair"


def test_pasted_text_is_read_as_a1111_does_and_words_stay_words(page: Page) -> None:
    page.fill("#prompt textarea", "a cat")
    page.evaluate(PASTE, "just, some, words")
    page.wait_for_timeout(300)
    expect(page.locator(".recalled")).to_be_hidden()
    page.evaluate(PASTE, TEXT.replace("<lora:nekomimi:0.6>", "(smile:1.2)"))
    expect(page.locator(".recalled")).to_contain_text("Taken over from the pasted text (A1111)")
    assert page.input_value("#prompt textarea") == "1girl, red hair (smile:1.2)"
    page.locator(".recalled").get_by_role("button", name="Undo").click()
    expect(page.locator("#prompt textarea")).to_have_value("a cat")
    page.evaluate(PASTE, TEXT.replace("Size:", "Clip skip: 2, Size:"))
    expect(page.locator("#g-clip_skip")).to_have_value("2")
    page.evaluate(PASTE, json.dumps({"positive_prompt": 5, "seed": 3}))
    expect(page.locator(".recalled")).to_contain_text("InvokeAI")
    expect(page.locator("#g-clip_skip")).to_have_value("1")


def test_a_pasted_request_that_is_damaged_is_told_and_changes_nothing(page: Page) -> None:
    """Its JSON became the prompt."""
    add_lora(page, "ears")
    page.fill("#prompt textarea", "a cat")
    before = form(page)
    page.evaluate(PASTE, json.dumps({"format": 99, "request": {"prompt": "x"}}))
    expect(page.locator("#toasts")).to_contain_text("damaged or of another version")
    assert form(page) == before
    expect(page.locator(".recalled")).to_be_hidden()


def test_choosing_a_picture(page: Page, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(parameters=TEXT))
    with page.expect_file_chooser() as waiting:
        page.get_by_role("button", name="From a picture").click()
    waiting.value.set_files(tmp_path / "a.png")
    expect(page.locator(".recalled")).to_contain_text("a.png (A1111)")
    page.locator(".recalled").get_by_role("button", name="Close").click()
    expect(page.locator(".recalled")).to_be_hidden()
    assert page.input_value("#g-seed") == "99"


def test_a_chosen_text_of_words_alone_is_refused_and_a_graph_is_read(page: Page, tmp_path: Path) -> None:
    """Such a file was passed over without a word, and a .json was not taken at all."""
    (tmp_path / "words.txt").write_text("a cat, sitting")
    (tmp_path / "made.json").write_text(json.dumps({"positive_prompt": "a dog", "seed": 3}))
    for name in ("words.txt", "made.json"):
        with page.expect_file_chooser() as waiting:
            page.get_by_role("button", name="From a picture").click()
        waiting.value.set_files(tmp_path / name)
        if name == "words.txt":
            expect(page.locator("#toasts")).to_contain_text('"words.txt" does not say how it was made')
    expect(page.locator(".recalled")).to_contain_text("made.json (InvokeAI)")
    expect(page.locator("#prompt textarea")).to_have_value("a dog")


def test_pictures_for_a_training_stay_pictures_for_a_training(page: Page) -> None:
    goto(page, "train")
    page.wait_for_selector(".dropzone")
    drop(page, ".dropzone", "mine.png", png(parameters=TEXT))
    page.wait_for_selector(".thumb")
    expect(page.locator(".recalled")).to_be_hidden()
