"""The embeddings in the Library tab: adding by drop and by button, using, renaming, deleting with undo, refusals."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lora_studio.ui.texts import strings
from tests.browser.conftest import KIND, Visit, goto
from tests.browser.driver import Server
from tests.browser.test_look import PHONE, SMALL, UNNAMED
from tests.support import embeddings as made

pytestmark = pytest.mark.skipif(KIND == "real", reason="the files are made for the pretended engine's width")

WIDTH = 768
LOADING = 240_000
"""Milliseconds for what loads torch, here or in another process, on a machine that is busy with trainings."""
REFUSED = re.compile(r"Failed to load resource.*\b422\b")
SECTION = "#tab-library .embeddings"

DROP = """([name, bytes, where]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
  const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
  const target = document.querySelector(where);
  for (const kind of ['dragenter', 'dragover', 'drop']) target.dispatchEvent(new DragEvent(kind, options));
}"""


def drop(page: Page, path: Path, where: str) -> None:
    """Drop a file onto an element of the page."""
    page.evaluate(DROP, [path.name, base64.b64encode(path.read_bytes()).decode(), where])


def names(page: Page) -> list[str]:
    return page.locator(f"{SECTION} .card h3").all_inner_texts()


def filled(page: Page, folder: Path) -> None:
    """Three embeddings: a file where embeddings are, a picture, and a file among the LoRAs."""
    goto(page, "library")
    drop(page, made.write_safetensors(folder / "EasyNegative.safetensors", 8, WIDTH), SECTION)
    expect(page.locator(f"{SECTION} .card")).to_have_count(1, timeout=LOADING)
    drop(page, made.write_text_picture(folder / "ng_deepnegative_v1_75t.png", made.vectors(75, WIDTH)), SECTION)
    expect(page.locator(f"{SECTION} .card")).to_have_count(2, timeout=LOADING)
    drop(page, made.write_safetensors(folder / "坏手.safetensors", 1, WIDTH), "#tab-library .cards")
    expect(page.locator(f"{SECTION} .card")).to_have_count(3, timeout=LOADING)


def test_files_dropped_anywhere_become_embeddings(page: Page, tmp_path: Path) -> None:
    goto(page, "library")
    expect(page.locator(f"{SECTION} .nothing")).to_have_text(strings("en")["embedding.empty"])
    goto(page, "generate")
    drop(page, made.write_pt(tmp_path / "on the page.pt", 3, WIDTH), "#prompt")
    expect(page.locator("#toasts")).to_contain_text("on the page is in the library", timeout=LOADING)
    drop(page, made.write_pt(tmp_path / "on the stack.pt", 4, WIDTH), ".stack")
    expect(page.locator("#toasts")).to_contain_text("on the stack is in the library", timeout=LOADING)
    assert page.locator(".stack .row").count() == 0, "an embedding is no LoRA"
    goto(page, "library")
    page.set_input_files(
        f"{SECTION} input[type=file]", made.write_safetensors(tmp_path / "chosen.safetensors", 5, WIDTH)
    )
    expect(page.locator(f"{SECTION} .card")).to_have_count(3, timeout=LOADING)
    assert names(page) == ["chosen", "on the stack", "on the page"]
    expect(page.locator(f"{SECTION} .card").first).to_contain_text("5 vectors · SD 1.x")


def test_a_picture_among_the_loras_is_an_embedding_where_it_says_nothing_else(
    page: Page, tmp_path: Path, complaints: list[re.Pattern[str]]
) -> None:
    """Elsewhere than where embeddings are, a picture is first asked how it was made."""
    complaints.append(REFUSED)
    goto(page, "library")
    sent: list[str] = []
    page.on("request", lambda request: "/upload/" in request.url and sent.append(request.url))
    drop(page, made.write_text_picture(tmp_path / "p.png", made.vectors(1, WIDTH)), "#tab-library .cards")
    expect(page.locator(f"{SECTION} .card")).to_have_count(1, timeout=LOADING)
    drop(page, made.write_pt(tmp_path / "q.pt", 1, WIDTH), "#tab-library .cards")
    expect(page.locator(f"{SECTION} .card")).to_have_count(2, timeout=LOADING)
    assert [url.partition("?")[0].rpartition("/")[2] for url in sent] == ["recall", "embedding", "adapter"]


def test_names_go_into_the_texts(page: Page, tmp_path: Path) -> None:
    goto(page, "library")
    drop(page, made.write_safetensors(tmp_path / "bad (v2).safetensors", 2, WIDTH), SECTION)
    expect(page.locator(f"{SECTION} .card")).to_have_count(1, timeout=LOADING)
    goto(page, "generate")
    page.fill("#prompt textarea", "1girl, ")
    page.fill("#negative textarea", "")
    goto(page, "library")
    page.get_by_role("button", name="Add bad (v2) to the prompt").click()
    expect(page.locator("#prompt textarea")).to_be_focused()
    assert page.input_value("#prompt textarea") == "1girl, bad \\(v2\\)", "its brackets are letters"
    goto(page, "library")
    page.get_by_role("button", name="Add bad (v2) to the negative prompt").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#negative textarea")).to_be_focused()
    assert page.input_value("#negative textarea") == "bad \\(v2\\)"


def test_rename_delete_undo_and_search(page: Page, tmp_path: Path) -> None:
    filled(page, tmp_path)
    page.get_by_role("button", name="Rename EasyNegative").click()
    page.fill("dialog input", "坏手")
    page.keyboard.press("Enter")
    expect(page.locator(f"{SECTION} .card h3", has_text="坏手 2")).to_have_count(1)
    page.get_by_role("button", name="Delete 坏手 2").click()
    expect(page.locator(f"{SECTION} .card")).to_have_count(2, timeout=LOADING)
    expect(page.locator(f"{SECTION} .add-embedding")).to_be_focused()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(f"{SECTION} .card")).to_have_count(3, timeout=LOADING)
    page.reload()
    expect(page.locator(f"{SECTION} .card")).to_have_count(3, timeout=LOADING)
    page.fill("#tab-library input[type=search]", "DEEP")
    expect(page.locator(f"{SECTION} .card")).to_have_count(1, timeout=LOADING)
    page.fill("#tab-library input[type=search]", "no such thing")
    expect(page.locator(f"{SECTION} .nothing")).to_have_text(strings("en")["stack.none_found"])
    page.fill("#tab-library input[type=search]", "")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download ng_deepnegative_v1_75t").click()
    assert waiting.value.suggested_filename == "ng_deepnegative_v1_75t.png"


def test_refusals_are_said(page: Page, tmp_path: Path, complaints: list[re.Pattern[str]]) -> None:
    complaints.append(REFUSED)
    goto(page, "library")
    drop(page, made.write_code(tmp_path / "evil.pt", tmp_path / "ran"), SECTION)
    expect(page.locator(".toast.bad")).to_contain_text("evil holds program code", timeout=LOADING)
    drop(page, made.write_safetensors(tmp_path / "wide.safetensors", width=1024), "#tab-library .cards")
    expect(page.locator(".toast.bad").last).to_contain_text("width 1024, the loaded base takes 768", timeout=LOADING)
    photo = tmp_path / "photo.png"
    made.picture().save(photo)
    drop(page, photo, SECTION)
    expect(page.locator(".toast.bad").last).to_contain_text(
        "photo is a picture that carries no embedding", timeout=LOADING
    )
    page.set_input_files(f"{SECTION} input[type=file]", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"x"})
    expect(page.locator(".toast.bad").last).to_contain_text('"a.txt" is no embedding', timeout=LOADING)
    assert page.locator(f"{SECTION} .card").count() == 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "locale"), [(1280, "en"), (390, "zh-CN")])
def test_the_section_looks_right(
    visit: Visit, server: Server, tmp_path: Path, scheme: str, width: int, locale: str
) -> None:
    """Nothing wider than the page, no control without a name, and on a phone none too small for a finger."""
    phone = PHONE if width == 390 else {"viewport": {"width": width, "height": 900}}
    page = visit(server, color_scheme=scheme, locale=locale, **phone)
    goto(page, "library")
    expect(page.locator(f"{SECTION} .nothing")).to_be_visible()
    look(page, f"empty-{width}-{scheme}")
    filled(page, tmp_path)
    expect(page.locator(".toast")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(UNNAMED) == []
    if width == 390:
        assert page.evaluate(SMALL) == []
    look(page, f"filled-{width}-{scheme}")


def look(page: Page, name: str) -> None:
    """Keep a picture of the section where somebody asks for pictures."""
    folder = os.environ.get("STUDIO_BROWSER_SHOTS")
    if folder:
        page.locator(SECTION).scroll_into_view_if_needed()
        page.screenshot(path=f"{folder}/embeddings-{name}.png", full_page=True)
