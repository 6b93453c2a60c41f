"""The Generate tab: pictures, cells and their verbs, the stack, help with words, bad input."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from lora_studio.prompt.infotext import CHUNK
from tests.browser.conftest import KIND, OWN, Visit, add_lora, expect_done, generate, goto
from tests.browser.driver import Server
from tests.support.fake_engine import safetensors

BAR = "document.querySelector('.stage [role=progressbar]')"
NOW = f"({BAR} ? Number({BAR}.getAttribute('aria-valuenow') ?? 0) : 101)"
REFUSED = re.compile(r"Failed to load resource.*\b422\b")


def prompt_of(page: Page) -> str:
    """What stands in the prompt."""
    return page.input_value("#prompt textarea")


# ---------------------------------------------------------------- pictures and cells
def test_generate_makes_a_cell(page: Page) -> None:
    generate(page)
    expect_done(page)
    cell = page.locator(".cell").first
    expect(cell.locator(".prompt")).to_have_text("1girl, brown hair, smile")
    picture = cell.locator("img").first
    assert picture.get_attribute("alt") == "1girl, brown hair, smile"
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [128, 128], "its true size"
    shown = page.locator(".stage .frame img").bounding_box()
    assert shown is not None
    assert shown["width"] > 256, "small pictures are shown enlarged"


def test_glimpse_and_progress_move(page: Page, server: Server) -> None:
    server.control(step_seconds=0.15)
    generate(page)
    bar = page.locator(".stage [role=progressbar]")
    bar.wait_for()
    page.wait_for_function(f"{NOW} > 0")
    first, words = page.evaluate(NOW), bar.get_attribute("aria-valuetext") or ""
    assert re.match(r"Step \d+ of \d+", words)
    page.wait_for_selector(".stage .glimpse[src^=data]", state="attached")
    look = page.locator(".stage .glimpse").get_attribute("src")
    page.wait_for_function(f"{NOW} > {first}")
    page.wait_for_function("look => document.querySelector('.stage .glimpse')?.src !== look", arg=look)
    expect_done(page)


def test_four_clicks_are_four_pictures(page: Page, server: Server) -> None:
    """Gradio's own `once` dropped the clicks that came while a picture was made."""
    server.control(step_seconds=0.05)
    page.fill("#prompt textarea", "1girl")
    for _ in range(4):
        page.click("#go")
    expect_done(page, 4)
    seeds = page.locator(f"{OWN} .mark:nth-child(1)").all_inner_texts()
    assert len(set(seeds)) == 4, "each with a seed of its own"


@pytest.mark.skipif(KIND == "real", reason="needs a slow picture")
def test_stop_ends_the_picture_and_keeps_the_cell(page: Page, server: Server) -> None:
    server.control(step_seconds=0.4)
    generate(page)
    page.wait_for_selector(".stage .glimpse[src^=data]", state="attached")
    page.click("#halt")
    page.wait_for_selector(".cell[data-state=stopped]")
    expect(page.locator(".cell .remark").first).to_contain_text("Stopped")
    server.control()
    generate(page)
    expect_done(page)


def test_again_new_seed_edit_note_delete(page: Page) -> None:
    generate(page, "1girl, red hair")
    expect_done(page)
    first = page.locator(".cell").first.locator("img").first.get_attribute("src")
    page.locator(".cell").first.get_by_role("button", name="Again").click()
    expect_done(page, 2)
    assert page.locator(".cell").first.locator("img").first.get_attribute("src") == first, "the same pixels"
    page.locator(".cell").first.get_by_role("button", name="New seed").click()
    expect_done(page, 3)
    assert page.locator(".cell").first.locator("img").first.get_attribute("src") != first

    page.fill("#prompt textarea", "something else")
    page.locator(OWN).last.get_by_role("button", name="Edit").click()
    assert prompt_of(page) == "1girl, red hair"
    seed = page.input_value("#g-seed")
    expect(page.locator(OWN).last.locator(".marks")).to_contain_text(seed)

    page.locator(OWN).last.get_by_role("button", name="Note").click()
    with page.expect_response("**/call/note"):
        page.keyboard.type("ears too small")
    page.reload()
    expect(page.locator(".cell .note")).to_have_value("ears too small")

    page.locator(OWN).last.get_by_role("button", name="Delete").click()
    expect(page.locator(OWN)).to_have_count(2)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(OWN)).to_have_count(3)


def test_a_download_is_the_stored_file(page: Page) -> None:
    generate(page, "1girl, green eyes")
    expect_done(page)
    with page.expect_download() as waiting:
        page.locator(".cell").first.get_by_role("button", name="Download").click()
    path = waiting.value.path()
    assert waiting.value.suggested_filename.startswith("1girl-green-eyes-")
    picture = Image.open(io.BytesIO(Path(path).read_bytes()))
    assert picture.size == (128, 128)
    assert "1girl, green eyes" in picture.info[CHUNK]


def test_show_me_what_the_loras_do(page: Page) -> None:
    add_lora(page, "ears")
    page.fill("#prompt textarea", "1girl, blue hair, cat ears")
    page.click("#show")
    slider = page.locator(".stage .compare input[type=range]")
    slider.wait_for()
    sources = page.locator(".stage .compare img").evaluate_all("all => all.map(image => image.src)")
    assert len(set(sources)) == 2
    before = page.locator(".stage .compare").evaluate("box => box.style.getPropertyValue('--cut')")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    after = page.locator(".stage .compare").evaluate("box => box.style.getPropertyValue('--cut')")
    assert (before, after) == ("50%", "55%")
    assert "55" in (slider.get_attribute("aria-valuetext") or "")


def test_show_me_without_loras_says_why_not(page: Page, complaints: list[re.Pattern[str]]) -> None:
    complaints.append(REFUSED)
    page.fill("#prompt textarea", "1girl")
    page.click("#show")
    expect(page.locator(".toast.bad")).to_contain_text("at least 1 is needed")
    expect(page.locator(OWN)).to_have_count(0)


def test_several_pictures(page: Page) -> None:
    page.fill("#g-num_images", "3")
    generate(page)
    expect_done(page)
    expect(page.locator(".cell").first.locator(".sight img")).to_have_count(3)
    page.locator(".cell").first.locator(".frame").nth(1).click()
    expect(page.locator("dialog img.large")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


# ---------------------------------------------------------------- prompts as they are written
@pytest.mark.parametrize(
    "prompt",
    [
        "${alert(1)} `${document.title='x'}`",
        "<img src=x onerror=\"document.title='x'\"><script>document.title='x'</script>",
        r"\(a\) \\ (b:1.2) [c]",
        r"C:\users\new",
        "long " * 400,
        "一个女孩，棕色头发，微笑",
        "שלום \u202eevil\u202c, ‏مرحبا",
        "a\nb, \"quoted\" & 'so' &amp; {x} {{y}} %s \\u0041",
    ],
    ids=["template", "markup", "escapes", "path", "2000", "chinese", "rtl", "mixed"],
)
def test_prompts_are_shown_as_written(page: Page, prompt: str) -> None:
    title = page.title()
    page.fill("#negative textarea", prompt)
    generate(page, prompt)
    expect_done(page)
    cell = page.locator(".cell").first
    assert cell.locator(".prompt").evaluate("element => element.textContent") == prompt
    assert prompt in str(cell.locator(".negative").evaluate("element => element.textContent"))
    assert cell.locator("img").first.get_attribute("alt") == prompt
    page.reload()
    page.wait_for_selector(".cell[data-state=done]")
    assert page.locator(".cell").first.locator(".prompt").evaluate("element => element.textContent") == prompt
    assert prompt_of(page) == prompt
    assert page.title() == title
    assert page.locator("main script, main img[src=x]").count() == 0


# ---------------------------------------------------------------- the stack
def test_the_stack(page: Page) -> None:
    for name in ("ears", "aper", "iko"):
        add_lora(page, name)
    rows = page.locator(".stack .row")
    expect(rows).to_have_count(3)
    rows.nth(0).locator(".weight-slider").focus()
    page.keyboard.press("ArrowLeft")
    expect(rows.nth(0).locator("input.weight")).to_have_value("0.95")
    assert "0.95" in (rows.nth(0).locator(".weight-slider").get_attribute("aria-valuetext") or "")
    rows.nth(1).locator("input.weight").fill("1.7")
    expect(rows.nth(1).locator(".warn")).to_contain_text("Above 1.5")
    rows.nth(2).locator(".solo").click()
    expect(page.locator(".stack .row.off")).to_have_count(2)
    generate(page)
    expect_done(page)
    expect(page.locator(".cell").first.locator(".mark.lora")).to_have_count(1)
    rows.nth(2).locator(".solo").click()
    rows.nth(0).locator(".toggle").click()
    page.click("#go")
    expect_done(page, 2)
    marks = page.locator(".cell").first.locator(".mark.lora").all_inner_texts()
    assert [text.split()[-1] for text in marks] == ["1.7", "1"]
    rows.nth(0).get_by_role("button", name=re.compile("Take .* out of the stack")).click()
    expect(rows).to_have_count(2)
    page.reload()
    expect(page.locator(".stack .row")).to_have_count(2)
    expect(page.locator(".stack .row").nth(0).locator("input.weight")).to_have_value("1.7")


def test_a_file_dropped_on_the_stack(page: Page) -> None:
    if KIND == "real":
        pytest.skip("needs a file of the real base")
    drop(page, "My new one.safetensors", safetensors({"drop": "1"}))
    expect(page.locator(".stack .row .name")).to_have_text("My new one")


def test_a_damaged_file_is_one_sentence(page: Page) -> None:
    drop(page, "broken one.safetensors", b"this is no lora")
    expect(page.locator(".toast.bad")).to_contain_text("broken one")
    expect(page.locator(".stack .row")).to_have_count(0)


def drop(page: Page, name: str, data: bytes) -> None:
    """Drop a file onto the stack as a person does."""
    page.evaluate(
        """([name, bytes]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(bytes)], name));
          const box = document.querySelector('.stack');
          for (const type of ['dragenter', 'dragover', 'drop'])
            box.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        [name, list(data)],
    )


def test_trigger_words(page: Page) -> None:
    add_lora(page, "ears")
    page.fill("#prompt textarea", "1girl, smile")
    chip = page.locator(".chip", has_text="cat ears")
    assert "not in the prompt" in (chip.get_attribute("aria-label") or "")
    chip.click()
    assert prompt_of(page) == "1girl, smile, cat ears"
    expect(chip).to_have_class(re.compile("there"))


def test_words_that_the_base_never_saw(page: Page) -> None:
    page.fill("#prompt textarea", "1girl, (cat ears:1.2), dragon_wings, SMILE")
    expect(page.locator(".unknown")).to_contain_text('"cat ears", "dragon wings"')
    add_lora(page, "ears")
    expect(page.locator(".unknown")).not_to_contain_text("cat ears")
    page.fill("#prompt textarea", "1girl, smile")
    expect(page.locator(".unknown")).to_be_hidden()


@pytest.mark.parametrize(("typed", "word"), [("brown h", "brown hair"), ("微笑", "smile"), ("棕发", "brown hair")])
def test_suggestions_by_both_names(page: Page, typed: str, word: str) -> None:
    page.fill("#prompt textarea", "")
    page.type("#prompt textarea", "1girl, " + typed)
    option = page.locator(".suggestions li", has_text=word).first
    option.wait_for()
    for _ in range(20):
        page.keyboard.press("ArrowDown")
        if option.get_attribute("aria-selected") == "true":
            break
    page.keyboard.press("Enter")
    assert prompt_of(page) == f"1girl, {word}, "
    expect(page.locator(".suggestions")).to_be_hidden()


def test_suggestions_give_way(page: Page) -> None:
    page.type("#prompt textarea", "bro")
    page.wait_for_selector(".suggestions li")
    page.keyboard.press("Escape")
    expect(page.locator(".suggestions")).to_be_hidden()
    page.type("#prompt textarea", "w")
    page.wait_for_selector(".suggestions li")
    page.keyboard.press("Tab")
    assert prompt_of(page).startswith("brown")
    page.type("#negative textarea", "blue e")
    page.wait_for_selector("#negative .suggestions li")
    page.keyboard.press("Tab")
    assert page.input_value("#negative textarea").startswith("blue e")


# ---------------------------------------------------------------- keys
def test_keys(page: Page, server: Server) -> None:
    server.control(step_seconds=0.3)
    page.fill("#prompt textarea", "1girl")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".stage [role=progressbar]")
    if KIND == "fake":
        page.wait_for_selector(".cell .glimpse[src^=data]", state="attached")
        page.keyboard.press("Escape")
        page.wait_for_selector(".cell[data-state=stopped]")
    page.keyboard.press("Alt+2")
    expect(page.locator("#tab-train-button")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Alt+1")
    expect(page.locator("#tab-generate-button")).to_have_attribute("aria-selected", "true")


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("#g-seed", "abc"),
        ("#g-seed", "-3"),
        ("#g-width", "broad"),
        ("#g-width", "100"),
        ("#g-height", "9999"),
        ("#g-num_images", "none"),
        ("#g-num_inference_steps", "1.5"),
        ("#g-guidance_scale", "0"),
        ("#prompt textarea", "   "),
    ],
)
def test_bad_input_is_told_at_its_field(page: Page, complaints: list[re.Pattern[str]], field: str, given: str) -> None:
    complaints.append(REFUSED)
    page.fill("#prompt textarea", "1girl")
    page.fill(field, given)
    page.click("#go")
    wrong = page.locator(".wrong:visible")
    expect(wrong).to_have_count(1)
    expect(wrong).to_contain_text(given)
    assert page.locator(field).get_attribute("aria-invalid") == "true"
    page.fill(field, "128" if "width" in field or "height" in field else "4")
    expect(wrong).to_have_count(0)
    page.click("#go")
    expect_done(page)


def test_a_bad_weight_is_told_at_its_row(page: Page, complaints: list[re.Pattern[str]]) -> None:
    complaints.append(REFUSED)
    add_lora(page, "ears")
    page.fill(".stack input.weight", "strong")
    generate(page)
    expect(page.locator(".stack .wrong:visible")).to_contain_text("strong")


# ---------------------------------------------------------------- base and library
def test_a_base_that_is_not_there(page: Page) -> None:
    page.click(".tools .base")
    page.fill("#base-ref", "/no/such/base")
    page.keyboard.press("Enter")
    expect(page.locator("dialog .wrong:visible")).to_contain_text("/no/such/base")
    page.keyboard.press("Escape")
    generate(page)
    expect_done(page)


@pytest.mark.skipif(KIND == "real", reason="there is one embedded base")
def test_another_base_waits_and_says_so(visit: Visit, own_server: Server) -> None:
    page = visit(own_server)
    add_lora(page, "ears")
    own_server.control(hold="step")
    generate(page)
    page.wait_for_selector(".cell[data-state=running], .cell .progress")
    page.click(".tools .base")
    page.fill("#base-ref", "other")
    page.keyboard.press("Enter")
    expect(page.locator("#base-news")).to_contain_text("Waits for 1 running job")
    own_server.control()
    page.wait_for_selector("dialog", state="detached")
    expect(page.locator(".tools .base")).to_contain_text("Another base")
    expect(page.locator(".cell .remark")).to_contain_text("another base")
    expect(page.locator(".stack .warn")).to_contain_text("another base")


def test_a_lora_that_is_deleted(page: Page, server: Server) -> None:
    if KIND == "real":
        pytest.skip("needs a file of the real base")
    drop(page, "short lived.safetensors", safetensors({"which": str(time.time())}))
    expect(page.locator(".stack .row")).to_have_count(1)
    generate(page)
    expect_done(page)
    goto(page, "library")
    card = page.locator(".card", has_text="short lived")
    card.get_by_role("button", name="Delete").click()
    expect(page.locator("dialog")).to_contain_text("1 cell of your notebook uses it")
    page.locator("dialog .danger").click()
    expect(card).to_have_count(0)
    goto(page, "generate")
    expect(page.locator(".cell .remark")).to_contain_text("short lived is not in the library any more")
    expect(page.locator(".stack .warn")).to_contain_text("Not in the library")


def test_the_library(page: Page) -> None:
    goto(page, "library")
    expect(page.locator(".card")).to_have_count(3)
    page.fill(".library input[type=search]", "ears")
    expect(page.locator(".card")).to_have_count(1)
    page.locator(".card .primary").click()
    page.wait_for_selector("#tab-generate-button[aria-selected=true]")
    expect(page.locator(".stack .row")).to_have_count(1)


def test_two_people_see_nothing_of_each_other(visit: Visit, server: Server) -> None:
    ann, ben = visit(server), visit(server)
    generate(ann, "1girl, ann was here")
    expect_done(ann)
    generate(ben, "1girl, ben was here")
    expect_done(ben)
    for person, other in ((ann, "ben"), (ben, "ann")):
        assert f"{other} was here" not in person.locator("body").inner_text()
    cookies = json.dumps([person.context.cookies() for person in (ann, ben)])
    assert cookies.count("lora_studio_browser") == 2
