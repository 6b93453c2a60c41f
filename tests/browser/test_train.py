"""The Train tab: from pictures to a LoRA, every step of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import KIND, Visit, goto, open_set, start_training
from tests.browser.driver import Server
from tests.web.test_uploads import png

SHORT = {"steps": "60", "preview_every": "15"} if KIND == "fake" else {"steps": "20", "preview_every": "5"}


def test_the_whole_way(page: Page, server: Server) -> None:
    """Train the example set, watch chart and previews move, see the result, try it."""
    server.control(step_seconds=0.05)
    open_set(page)
    start_training(page, **SHORT)
    page.wait_for_selector(".chart path.course")
    before = page.locator(".chart path.course").get_attribute("d")
    page.wait_for_selector(".preview")
    first = page.locator(".preview").count()
    page.wait_for_function("n => document.querySelectorAll('.preview').length > n", arg=first)
    assert page.locator(".chart path.course").get_attribute("d") != before, "the chart moves"
    bar = page.locator("[role=progressbar][aria-label='Progress of the training']")
    assert 0 < int(bar.get_attribute("aria-valuenow") or 0) <= 100
    assert "left" in (bar.get_attribute("aria-valuetext") or "")
    expect(page.locator(".strip")).to_contain_text("Training cat-ears")
    server.control()
    page.wait_for_selector(".result")
    expect(page.locator(".result h3")).to_contain_text("cat-ears")
    expect(page.locator(".result dd").first).to_have_text(SHORT["steps"])
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download .safetensors").click()
    assert waiting.value.suggested_filename.startswith("cat-ears")
    page.get_by_role("button", name="Try it").click()
    page.wait_for_selector("#tab-generate-button[aria-selected=true]")
    expect(page.locator(".stack .row .name")).to_contain_text("cat-ears")
    expect(page.locator(".stack input.weight")).to_have_value("1.00")
    assert "cat ears" in page.input_value("#prompt textarea")
    page.click("#go")
    page.wait_for_selector(".cell[data-state=done]:not([data-sample])")
    expect(page.locator(".cell").first.locator(".mark.lora")).to_contain_text("cat-ears")


def test_a_new_word_of_its_own(page: Page, complaints: list[re.Pattern[str]]) -> None:
    """The fold of the recipe; a name that prompts would not find is told at its field; the word is in the library, its
    file can be saved, and its name cannot be given twice."""
    complaints.append(re.compile(r"Failed to load resource.*\b422\b"))
    open_set(page)
    page.click(".step .next .primary")
    page.click(".step .next .primary")
    page.check("input[name=recipe][value=quick]")
    page.get_by_text("A new word of its own").click()
    expect(page.locator("#t-embedding_vectors")).to_have_value("2")
    page.get_by_text("More settings").click()
    for name, value in (SHORT | {"embedding": "zxq ears", "embedding_words": "cat ears"}).items():
        page.fill(f"#t-{name}", value)
    page.click(".step .next .primary")
    expect(page.locator(".entry .wrong:visible")).to_contain_text("zxq ears")
    page.fill("#t-embedding", "zxqears")
    page.click(".step .next .primary")
    page.wait_for_selector(".result")
    expect(page.locator(".result .words")).to_contain_text("zxqears")
    expect(page.locator(".result dl")).to_contain_text("zxqears, 2 vectors")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the word").click()
    assert waiting.value.suggested_filename == "zxqears.safetensors"
    page.get_by_role("button", name="Use as recipe").click()
    expect(page.locator("#t-embedding")).to_have_value("zxqears")
    page.click(".step .next .primary")
    expect(page.locator(".entry .wrong:visible")).to_contain_text('has an embedding "zxqears" already')
    goto(page, "library")
    expect(page.locator(".embeddings")).to_contain_text("zxqears")


def test_stop_and_keep(page: Page, server: Server) -> None:
    server.control(step_seconds=0.1)
    open_set(page)
    start_training(page)
    page.wait_for_selector(".chart path.course")
    page.locator(".step .next").get_by_role("button", name="Stop").click()
    expect(page.locator("dialog")).to_contain_text("keep what it has learnt so far")
    page.get_by_role("button", name="Stop and keep").click()
    page.wait_for_selector(".result")
    steps = int(page.locator(".result dd").first.inner_text().replace(",", ""))
    assert 0 < steps < 250
    expect(page.locator(".run .state")).to_have_text("finished")


def test_stop_and_discard(page: Page, server: Server) -> None:
    server.control(step_seconds=0.1)
    open_set(page)
    start_training(page)
    page.wait_for_selector(".chart path.course")
    page.locator(".step .next").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Go on training").click()
    page.locator(".step .next").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Discard").click()
    expect(page.locator(".verdict")).to_have_text("Stopped and discarded.")
    expect(page.locator(".run .state")).to_have_text("discarded")
    goto(page, "library")
    expect(page.locator(".card")).to_have_count(3)


def test_pictures(page: Page) -> None:
    goto(page, "train")
    files = [
        {"name": "red.png", "mimeType": "image/png", "buffer": png((220, 40, 40), 128)},
        {"name": "red.txt", "mimeType": "text/plain", "buffer": b"a red square"},
        {"name": "tiny.png", "mimeType": "image/png", "buffer": png((40, 40, 220), 32)},
        {"name": "<img src=x>.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\nhalf"},
    ]
    page.set_input_files(".dropzone input", files=files)  # type: ignore[arg-type]
    expect(page.locator(".thumb")).to_have_count(2)
    expect(page.locator(".badge.small")).to_have_count(1)
    expect(page.locator(".refused li")).to_contain_text("<img src=x>.png")
    page.locator(".thumb").first.hover()
    page.locator(".thumb button").first.click()
    expect(page.locator(".thumb")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".thumb")).to_have_count(2)
    page.get_by_role("button", name="Rename the set").click()
    page.fill("dialog input", "squares")
    page.keyboard.press("Enter")
    expect(page.locator(".set-name")).to_have_text("squares")
    page.reload()
    expect(page.locator(".set-name")).to_have_text("squares")
    expect(page.locator(".thumb")).to_have_count(2)
    page.get_by_role("button", name="Delete the set").click()
    page.locator("dialog .danger").click()
    page.wait_for_selector(".samples .tile")
    expect(page.locator(".own .tile")).to_have_count(0)


def test_captions_are_saved_at_each_edit(page: Page) -> None:
    open_set(page)
    page.click(".step .next .primary")
    box = page.locator(".caption-card textarea").first
    with page.expect_response("**/call/caption"):
        box.fill("cat ears, ${x} C:\\users <b>")
    expect(page.locator(".saved")).to_have_text("Saved")
    page.reload()
    expect(page.locator(".caption-card textarea").first).to_have_value("cat ears, ${x} C:\\users <b>")
    page.fill("input[placeholder=Find]", "cat ears")
    page.fill("input[placeholder='Replace with']", "kitty ears")
    page.get_by_role("button", name="Replace").click()
    expect(page.locator(".toast")).to_contain_text("16 captions changed")
    expect(page.locator(".caption-card textarea").first).to_have_value("kitty ears, ${x} C:\\users <b>")
    page.fill("#trigger", "kitty")
    page.click(".step .next .primary")
    expect(page.locator("#t-trigger")).to_have_value("kitty")


def replace_all(page: Page, find: str, replace: str) -> None:
    """Replace a text in all captions."""
    page.fill("input[placeholder=Find]", find)
    page.fill("input[placeholder='Replace with']", replace)
    page.get_by_role("button", name="Replace").click()


def test_replacing_is_undone_and_what_is_typed_after_it_is_saved(page: Page) -> None:
    """Whoever typed back what had stood before "Replace" saw "Saving" for ever; the training learnt the other word."""
    open_set(page)
    page.click(".step .next .primary")
    boxes = page.locator(".caption-card textarea")
    expect(boxes).to_have_count(16)
    before = [box.input_value() for box in boxes.all()]
    replace_all(page, "cat ears", "dog ears")
    expect(page.locator(".toast")).to_contain_text("16 captions changed")
    expect(boxes.first).to_have_value(before[0].replace("cat ears", "dog ears"))
    boxes.first.fill(before[0])
    expect(page.locator(".saved")).to_have_text("Saved")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".toast")).to_contain_text("15 captions are as they were")
    expect(boxes.last).to_have_value(before[-1])
    page.reload()
    expect(boxes).to_have_count(16)
    assert [box.input_value() for box in boxes.all()] == before


def test_captions_arrive_in_the_order_in_which_they_were_typed(page: Page) -> None:
    """Each save repeated itself through an outage on its own: the older text could come last, and stayed."""
    asked: list[str] = []
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        asked.append(route.request.post_data_json["caption"])
        if len(asked) == 1:
            held.append(route)
        else:
            route.continue_()

    def note(route: Route) -> None:
        asked.append("replace")
        route.continue_()

    open_set(page)
    page.click(".step .next .primary")
    page.route("**/call/caption", hold_the_first)
    page.route("**/call/replace_captions", note)
    box = page.locator(".caption-card textarea").first
    with page.expect_request("**/call/caption"):
        box.fill("zq")
    box.fill("zqx")
    replace_all(page, "zqx", "zqxy")
    page.wait_for_timeout(800)
    assert asked == ["zq"], "one save at a time, and what counts on it waits"
    held[0].continue_()
    expect(page.locator(".toast")).to_contain_text("1 caption changed")
    assert asked == ["zq", "zqx", "replace"]
    expect(box).to_have_value("zqxy")
    page.reload()
    expect(box).to_have_value("zqxy")


# ---------------------------------------------------------------- folders
@pytest.fixture
def cats(tmp_path: Path) -> Path:
    """A folder as people have them: numbered names, a folder within, captions, and what lies about."""
    folder = tmp_path / "cats"
    (folder / "in").mkdir(parents=True)
    for number in range(150):
        (folder / f".a{number}").write_bytes(b"more than what a folder's reader gives at a time")
    for index, name in enumerate(("10", "2", "in/2")):
        (folder / f"{name}.png").write_bytes(png((80 * index, 40, 200 - 80 * index), 128))
        (folder / f"{name}.txt").write_text(f"caption of {name}")
    (folder / "Thumbs.db").write_bytes(b"junk")
    for number in range(150):
        (folder / f".b{number}").write_bytes(b"more than what a folder's reader gives at a time")
    return folder


def expect_cats(page: Page) -> None:
    """The set is that folder: its name, its pictures in their order, their captions, and nothing to complain of."""
    expect(page.locator(".thumb figcaption")).to_have_count(3)
    expect(page.locator(".set-name")).to_have_text("cats")
    names = [thumb.get_attribute("title") for thumb in page.locator(".thumb figcaption").all()]
    assert names == ["cats/2.png", "cats/10.png", "cats/in/2.png"]
    page.click(".step .next .primary")
    boxes = page.locator(".caption-card textarea")
    for index, name in enumerate(("2", "10", "in/2")):
        expect(boxes.nth(index)).to_have_value(f"caption of {name}")
    page.locator(".stepper button").first.click()
    expect(page.locator(".refused")).to_be_hidden()


def test_a_folder_is_dropped(page: Page, cats: Path) -> None:
    """It was sent as one file that cannot be read, and the page said for minutes that the server was gone."""
    goto(page, "train")
    page.wait_for_selector(".samples .tile")
    box = page.locator(".dropzone").bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(cats)], "dragOperationsMask": 1}
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 20, "y": box["y"] + 20, "data": data})
    expect_cats(page)


def test_a_folder_is_chosen(page: Page, cats: Path) -> None:
    goto(page, "train")
    page.wait_for_selector(".samples .tile")
    with page.expect_file_chooser() as waiting:
        page.get_by_role("button", name="Choose a folder").click()
    waiting.value.set_files(cats)
    expect_cats(page)


def test_a_file_that_cannot_be_read_is_named_at_once(
    page: Page, complaints: list[re.Pattern[str]], tmp_path: Path
) -> None:
    """fetch fails in one way for a server that is gone and for a file that is: it was tried for two minutes, and the
    files behind it waited."""
    complaints.append(re.compile(r"net::ERR_"))
    gone, good = tmp_path / "gone.png", tmp_path / "good.png"
    for path, colour in ((gone, (220, 40, 40)), (good, (40, 40, 220))):
        path.write_bytes(png(colour, 128))

    def take_away(route: Route) -> None:
        gone.unlink()
        route.continue_()

    goto(page, "train")
    page.wait_for_selector(".samples .tile")
    page.route("**/call/new_set", take_away)
    page.set_input_files(".dropzone input", [gone, good])
    expect(page.locator(".toast.bad")).to_contain_text('"gone.png" cannot be read')
    expect(page.locator(".thumb")).to_have_count(1)
    expect(page.locator(".strip[data-kind=bad]")).to_have_count(0)


@pytest.mark.parametrize(
    ("field", "given"), [("name", " "), ("steps", "lots"), ("rank", "0"), ("learning_rate", "0,001"), ("alpha", "big")]
)
def test_a_bad_recipe_is_told_at_its_field(
    page: Page, complaints: list[re.Pattern[str]], field: str, given: str
) -> None:
    complaints.append(re.compile(r"Failed to load resource.*\b422\b"))
    open_set(page)
    page.click(".step .next .primary")
    page.click(".step .next .primary")
    for summary in page.locator("#tab-train details.more summary").all():
        summary.click()
    page.fill(f"#t-{field}", given)
    page.click(".step .next .primary")
    wrong = page.locator(".entry .wrong:visible")
    expect(wrong).to_have_count(1)
    expect(wrong).to_contain_text(given)
    expect(page.locator(".run")).to_have_count(0)


def test_a_run_as_recipe_and_its_end(page: Page) -> None:
    open_set(page)
    start_training(page, **SHORT, seed="5")
    page.wait_for_selector(".result")
    page.get_by_role("button", name="Rename").first.click()
    page.fill("dialog input", "kitty")
    page.keyboard.press("Enter")
    expect(page.locator(".result h3")).to_have_text("kitty")
    page.get_by_role("button", name="Use as recipe").click()
    expect(page.locator("#t-seed")).to_have_value("5")
    expect(page.locator("#t-steps")).to_have_value(SHORT["steps"])
    page.locator(".run").get_by_role("button", name="Delete the run").click()
    for box in page.locator("dialog input[type=checkbox]").all():
        box.check()
    page.locator("dialog .danger").click()
    expect(page.locator(".run")).to_have_count(0)
    page.wait_for_selector(".samples .tile")
    expect(page.locator(".own .tile")).to_have_count(0)
    goto(page, "library")
    expect(page.locator(".card", has_text="kitty")).to_have_count(0)


@pytest.mark.skipif(KIND == "real", reason="needs the pretended engine's pace")
def test_others_see_that_somebody_trains(visit: Visit, server: Server) -> None:
    server.control(step_seconds=0.1)
    ann, ben = visit(server), visit(server)
    open_set(ann)
    start_training(ann)
    expect(ben.locator(".strip")).to_contain_text("Somebody's training")
    ann.locator(".step .next").get_by_role("button", name="Stop").click()
    ann.get_by_role("button", name="Discard").click()
