"""What somebody types, presses or reads stays as it is, whatever news come in meanwhile."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from lora_studio.ui.texts import strings
from tests.browser.conftest import (
    KIND,
    OWN,
    Visit,
    add_lora,
    expect_done,
    generate,
    goto,
    open_set,
    ready,
    start_training,
)
from tests.browser.driver import Server
from tests.browser.test_lasting import CUT_OFF
from tests.browser.test_train import SHORT

EN, ZH = strings("en"), strings("zh")
REFUSED = re.compile(r"Failed to load resource.*\b(404|422|507)\b")
held = pytest.mark.held
pretended = pytest.mark.skipif(KIND == "real", reason="needs the pretended engine's second base")


def module(page: Page, name: str) -> str:
    """The address of a script of the page."""
    root = page.locator("script[src*='/js/main.js']").first.get_attribute("src") or ""
    return root.replace("main.js", name)


def load_base(page: Page, ref: str) -> None:
    """Load another base by its name."""
    page.click(".tools .base")
    page.fill("#base-ref", ref)
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog", state="detached")


# ---------------------------------------------------------------- notes
@held
def test_a_note_keeps_what_was_typed_last(page: Page, server: Server) -> None:
    """A field held the cell of before the last answer: the next Generate put the old note back, and a click into the
    field and out of it wrote it over the new one."""
    generate(page)
    expect_done(page)
    page.locator(OWN).first.get_by_role("button", name="Note").click()
    with page.expect_response("**/call/note"):
        page.keyboard.type("first")
    generate(page, "1girl, another one")  # its end brings every cell anew
    expect_done(page, 2)
    note = page.locator(".cell .note")
    with page.expect_response("**/call/note"):
        note.fill("second")
    server.control(hold="step")
    page.click("#go")
    expect(page.locator(OWN)).to_have_count(3)
    page.wait_for_selector(".cell .progress")
    expect(note).to_have_value("second")
    calls: list[str] = []
    page.on("request", lambda request: calls.append(request.url) if "call/note" in request.url else None)
    note.focus()
    page.focus("#prompt textarea")
    page.wait_for_timeout(800)
    assert calls == [], "what was not typed is not saved"
    server.control()
    expect_done(page, 3)
    page.reload()
    expect(page.locator(".cell .note")).to_have_value("second")


def test_a_window_that_has_not_seen_a_note_does_not_erase_it(page: Page, server: Server) -> None:
    generate(page)
    expect_done(page)
    other = page.context.new_page()
    other.goto(server.address)
    ready(other)
    expect_done(other)
    page.locator(OWN).first.get_by_role("button", name="Note").click()
    with page.expect_response("**/call/note"):
        page.keyboard.type("from here")
    other.locator(OWN).first.get_by_role("button", name="Note").click()
    expect(other.locator(".cell .note")).to_be_focused()
    other.focus("#prompt textarea")
    other.wait_for_timeout(800)
    page.reload()
    expect(page.locator(".cell .note")).to_have_value("from here")


def test_of_two_notes_without_a_network_the_newer_stays(page: Page, complaints: list[re.Pattern[str]]) -> None:
    """Each save repeated itself at its own pace: the older one came last, and the page said that all was saved."""
    complaints.append(CUT_OFF)
    generate(page)
    expect_done(page)
    page.locator(OWN).first.get_by_role("button", name="Note").click()
    page.context.set_offline(True)
    page.keyboard.type("a cat")
    page.wait_for_timeout(1000)
    page.keyboard.type(", sitting")
    page.wait_for_timeout(6200)
    page.context.set_offline(False)
    expect(page.locator(".notestate")).to_have_text(EN["save.saved"])
    page.wait_for_timeout(4500)
    page.reload()
    expect(page.locator(".cell .note")).to_have_value("a cat, sitting")


def test_the_browser_asks_before_unsaved_words_are_left(page: Page, complaints: list[re.Pattern[str]]) -> None:
    complaints.append(CUT_OFF)
    generate(page)
    expect_done(page)
    leaving = "dispatchEvent(new Event('beforeunload', {cancelable: true}))"  # False where it was prevented
    assert page.evaluate(leaving) is True
    page.locator(OWN).first.get_by_role("button", name="Note").click()
    page.context.set_offline(True)
    page.keyboard.type("on a train")
    assert page.evaluate(leaving) is False
    page.context.set_offline(False)
    expect(page.locator(".notestate")).to_have_text(EN["save.saved"])
    assert page.evaluate(leaving) is True


# ---------------------------------------------------------------- pictures and cells
def test_all_pictures_of_an_older_cell_can_be_seen(page: Page) -> None:
    """The tenth and all after it were shown while the cell was the newest, and never again."""
    page.fill("#g-num_images", "12")
    generate(page)
    expect_done(page)
    page.fill("#g-num_images", "1")
    page.click("#go")
    expect_done(page, 2)
    expect(page.locator(".stage .frame img")).to_have_count(1)
    more = page.locator(".cell .more-pictures")
    expect(more).to_have_text("+3")
    more.click()
    expect(page.locator(".stage .frame img")).to_have_count(12)


@held
def test_a_picture_is_stopped_before_the_server_knows_of_it(
    page: Page, server: Server, complaints: list[re.Pattern[str]]
) -> None:
    complaints.append(CUT_OFF)
    server.control(hold="step")
    page.context.set_offline(True)
    generate(page)
    page.wait_for_selector(".cell .progress")
    page.locator(OWN).first.get_by_role("button", name="Stop").click()
    expect(page.locator(".cell .progress")).to_contain_text("Stopping")
    page.context.set_offline(False)
    page.wait_for_selector(".cell[data-state=stopped]")
    server.control()


def test_lists_keep_the_focus_behind_what_is_taken_out(page: Page) -> None:
    """Everything behind an element that went was taken out of the page and put in again."""
    kept = page.evaluate(
        """async (url) => {
          const { reconcile, h } = await import(url);
          const list = h('div', {});
          document.body.append(list);
          const draw = (names) => reconcile(list, names, { key: (name) => name, make: () => h('input', {}) });
          draw(['a', 'b', 'c']);
          const last = list.children[2];
          last.focus();
          draw(['b', 'c']);
          const first = document.activeElement === last && [...list.children].indexOf(last) === 1;
          draw(['d', 'b', 'c', 'e']);
          const order = [...list.children].map((child) => child.dataset.key).join('');
          const second = document.activeElement === last;
          list.remove();
          return [first, second, order];
        }""",
        module(page, "dom.js"),
    )
    assert kept == [True, True, "dbce"]


def test_lists_of_the_library_come_in_the_order_in_which_they_were_asked_for(page: Page) -> None:
    """Three answers to one import might come in any order, and the oldest might stay."""
    answers: list[Route] = []
    page.route("**/call/library", lambda route: answers.append(route))
    page.evaluate(
        """async (url) => {
          const { loadLibrary } = await import(url);
          window.lists = [loadLibrary(), loadLibrary(), loadLibrary()];
          window.heard = Promise.all(window.lists);
        }""",
        module(page, "library_data.js"),
    )
    page.wait_for_timeout(300)
    assert len(answers) == 1, "one more is asked for when this one is there"
    answers[0].continue_()
    page.wait_for_function("true")
    page.wait_for_timeout(300)
    assert len(answers) == 2
    answers[1].continue_()
    page.evaluate("window.heard")
    page.unroute("**/call/library")
    assert len(answers) == 2, "one for all who asked meanwhile"


# ---------------------------------------------------------------- trainings
@held
def test_the_steps_can_be_pressed_while_it_trains(page: Page, server: Server) -> None:
    """All five buttons were made anew twice a second: every fifth click was lost, and the focus always."""
    server.control(step_seconds=0.05)
    open_set(page)
    start_training(page)
    page.wait_for_selector(".chart path.course")
    first = page.locator(".stepper button").first
    made = first.element_handle()
    first.focus()
    page.wait_for_timeout(1500)
    expect(first).to_be_focused()
    assert made.evaluate("button => button.isConnected")
    page.keyboard.press("Enter")
    page.wait_for_selector(".thumb")
    expect(page.locator(".stepper [aria-current=step]")).to_contain_text(EN["step.pictures"])
    page.locator(".stepper button").nth(3).click()
    page.locator(".step .next").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Discard").click()
    expect(page.locator(".verdict")).to_have_text(EN["run.discarded"])


def test_a_training_begins_with_the_captions_as_they_stand(page: Page, server: Server) -> None:
    """Start overtook a caption that was still on its way, and the training learnt from the text before it."""
    order: list[str] = []
    waiting: list[Route] = []
    page.on("request", lambda request: order.append(request.url.rsplit("/", 1)[-1]))
    server.control(step_seconds=0.1)
    open_set(page)
    page.click(".step .next .primary")
    page.route("**/call/caption", lambda route: waiting.append(route))
    page.locator(".caption-card textarea").first.fill("cat ears, said late")
    page.click(".step .next .primary")
    page.click(".step .next .primary")
    page.wait_for_timeout(800)
    assert "caption" in order
    assert "train" not in order
    waiting[0].continue_()
    page.wait_for_selector(".verdict")
    assert "train" in order
    page.unroute("**/call/caption")
    page.locator(".step .next").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Discard").click()
    expect(page.locator(".verdict")).to_have_text(EN["run.discarded"])


def test_the_head_speaks_only_of_what_else_runs(page: Page, server: Server) -> None:
    """Its words changed with every percent, twice a second, and screen readers never came to an end."""
    server.control(step_seconds=0.05)
    open_set(page)
    start_training(page)
    expect(page.locator(".strip")).to_contain_text(re.compile(r"Training cat-ears \d+"))
    changes = page.evaluate(
        """() => new Promise((done) => {
          let spoken = 0, seen = 0;
          const watch = new MutationObserver((all) => all.forEach(({ target }) => {
            const element = target.nodeType === 1 ? target : target.parentElement;
            if (element && element.closest('[aria-hidden=true]')) seen += 1; else spoken += 1;
          }));
          watch.observe(document.querySelector('.strip'), { childList: true, characterData: true, subtree: true });
          setTimeout(() => { watch.disconnect(); done([spoken, seen > 0]); }, 2000);
        })"""
    )
    assert changes == [0, True]
    page.locator(".step .next").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Discard").click()
    expect(page.locator(".verdict")).to_have_text(EN["run.discarded"])


def test_a_result_is_there_after_a_reload(page: Page) -> None:
    """The stepper said Result, and the room beneath showed the pictures to choose from."""
    open_set(page)
    start_training(page, **SHORT)
    page.wait_for_selector(".result")
    page.evaluate("sessionStorage.setItem('seen', '')")
    page.context.add_init_script(
        """addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
          if (document.querySelector('.step .thumbs, .step .samples')) sessionStorage.setItem('seen', 'pictures');
        }).observe(document.body, { childList: true, subtree: true }));"""
    )
    page.reload()
    expect(page.locator(".result h3")).to_contain_text("cat-ears")
    expect(page.locator(".stepper [aria-current=step]")).to_contain_text(EN["step.result"])
    image = page.locator(".result img")
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0
    assert page.evaluate("sessionStorage.getItem('seen')") == "", "nothing else was shown meanwhile"


def test_a_run_that_is_not_there_is_no_dead_end(page: Page, server: Server) -> None:
    """It waited for its turn for ever, and what it offered was answered by: there is no such job."""
    other = page.context.new_page()
    other.add_init_script(
        """sessionStorage.setItem('studio.draft.1', JSON.stringify({ tab: 'train',
        train: { step: 'progress', set: null, run: '0'.repeat(32), form: {}, recipe: 'balanced' } }))"""
    )
    other.goto(server.address)
    expect(other.locator("#toasts")).to_contain_text(EN["run.gone"])
    expect(other.locator(".samples .tile").first).to_be_visible()
    expect(other.locator(".stepper [aria-current=step]")).to_contain_text(EN["step.pictures"])


# ---------------------------------------------------------------- another base
@pretended
def test_the_recipe_is_that_of_the_base_that_is_loaded(visit: Visit, own_server: Server) -> None:
    """The form showed the steps and the rate of the base before, and trained with those of the new one."""
    page = visit(own_server)
    open_set(page)
    page.click(".step .next .primary")
    page.click(".step .next .primary")
    assert page.input_value("#t-steps") != "900"
    load_base(page, "other")
    expect(page.locator("#t-steps")).to_have_value("900")
    expect(page.locator("#t-learning_rate")).to_have_value("0.0001")
    expect(page.locator(".recipe-card:has(input[value=balanced])")).to_contain_text("900 steps")


@pretended
def test_fields_that_somebody_is_in_show_what_is_sent(visit: Visit, own_server: Server) -> None:
    ann, ben = visit(own_server), visit(own_server)
    expect(ben.locator("#g-num_inference_steps")).to_have_value("18")
    ben.fill("#g-seed", "77")
    ben.focus("#g-num_inference_steps")
    load_base(ann, "other")
    expect(ben.locator("#g-num_inference_steps")).to_have_value("30")
    expect(ben.locator("#g-num_inference_steps")).to_be_focused()
    expect(ben.locator("#g-seed")).to_have_value("77")


@pretended
def test_the_same_base_read_otherwise_is_told(visit: Visit, own_server: Server) -> None:
    """Its weights are the same, so that pages went on telling how it had been read before."""
    page = visit(own_server)
    page.click(".tools .base")
    expect(page.locator("dialog .base-now")).to_contain_text("predicts v_prediction")
    page.click("dialog summary")
    page.select_option("#b-prediction_type", "epsilon")
    page.get_by_role("button", name=EN["base.embedded"]).click()
    page.wait_for_selector("dialog", state="detached")
    expect(page.locator(".strip")).to_contain_text("Ready")
    page.wait_for_timeout(500)
    page.click(".tools .base")
    expect(page.locator("dialog .base-now")).to_contain_text("predicts epsilon")


# ---------------------------------------------------------------- dialogs, messages, keys
def test_a_message_can_be_read_while_a_dialog_is_open(page: Page) -> None:
    """It lay dimmed beneath, could neither be closed nor read aloud, and was gone before the dialog was."""
    page.get_by_role("button", name=EN["styles.title"]).first.click()
    table = {"name": "styles.csv", "mimeType": "text/csv", "buffer": b"colour,size\nred,2\n"}
    page.set_input_files("dialog input[type=file]", files=[table])  # type: ignore[list-item]
    toast = page.locator("dialog #toasts .toast")
    expect(toast.last).to_contain_text("needs name and prompt")
    before = toast.count()
    toast.first.get_by_role("button", name=EN["close"]).click()
    expect(toast).to_have_count(before - 1)
    page.keyboard.press("Escape")
    expect(page.locator("body > #toasts .toast")).to_have_count(before - 1)


def test_the_keys_stand_in_the_page(page: Page) -> None:
    expect(page.locator("#go")).to_have_attribute("title", "Generate (Ctrl + Enter)")
    page.click(".tools .help")
    expect(page.locator("dialog .keys")).to_contain_text("Ctrl + Enter")
    page.keyboard.press("Escape")
    page.locator("body").press("?")
    expect(page.locator("dialog .keys")).to_contain_text(EN["keys.tabs"])
    page.keyboard.press("Escape")
    page.type("#prompt textarea", "why?")
    expect(page.locator("dialog")).to_have_count(0)


def test_an_enter_that_ends_a_word_of_an_input_method_adds_nothing(page: Page) -> None:
    page.click(".stack .add")
    page.wait_for_selector("dialog .pick")
    page.locator("dialog input[type=search]").evaluate(
        "field => field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    expect(page.locator("dialog")).to_have_count(1)
    page.locator("dialog input[type=search]").press("Enter")
    expect(page.locator(".stack .row")).to_have_count(1)


@pytest.mark.parametrize(
    ("locale", "words"), [("en", "a whole number, 1 to 1000"), ("zh-CN", "应为整数，范围 1 至 1000")]
)
def test_what_is_allowed_is_said_in_the_language(
    visit: Visit, server: Server, complaints: list[re.Pattern[str]], locale: str, words: str
) -> None:
    """Somebody who typed 1.5 steps was told that it must be a number, 1 to 1000; in Chinese half of it in English."""
    complaints.append(REFUSED)
    page = visit(server, locale=locale)
    page.fill("#g-num_inference_steps", "1.5")
    generate(page)
    expect(page.locator(".wrong:visible")).to_contain_text(words)


# ---------------------------------------------------------------- the server
def test_a_server_that_is_busy_at_first_is_asked_again(
    visit: Visit, server: Server, complaints: list[re.Pattern[str]]
) -> None:
    """One refused greeting left a page that said "Connecting" for ever."""
    complaints.append(REFUSED)
    page = visit(server)
    problem = {"type": "StorageError", "code": "database_busy", "message": "It is held.", "values": {"path": "it.db"}}
    refusals = [1, 2]

    def refuse(route: Route) -> None:
        if not refusals:
            route.continue_()
            return
        refusals.pop()
        route.fulfill(status=507, json={"error": problem})

    page.route("**/call/hello", refuse)
    page.reload()
    expect(page.locator("#toasts")).to_contain_text("it.db is held by another program")
    ready(page)
    add_lora(page, "ears")
    page.unroute("**/call/hello")


def test_another_version_of_the_server_is_told(page: Page) -> None:
    def other(route: Route) -> None:
        answer = route.fetch()
        data: dict[str, Any] = answer.json() | {"page": "0" * 16}
        route.fulfill(response=answer, json=data)

    page.fill("#prompt textarea", "half a thought")
    page.route("**/call/poll", other)
    expect(page.locator(".toast")).to_contain_text(EN["outdated"])
    page.unroute("**/call/poll", other)
    page.get_by_role("button", name=EN["reload"]).click()
    ready(page)
    expect(page.locator("#prompt textarea")).to_have_value("half a thought")


def test_the_language_of_an_older_page_can_still_be_changed(page: Page, complaints: list[re.Pattern[str]]) -> None:
    """Its files are not there any more after an update of the server; the button did nothing, without a word."""
    complaints.append(REFUSED)
    page.route("**/strings/zh.json", lambda route: route.fulfill(status=404, body="there is nothing"), times=1)
    page.click(".tools .lang")
    expect(page.locator("#go")).to_have_text(ZH["generate.go"])
    page.click(".tools .lang")
    expect(page.locator("#go")).to_have_text(EN["generate.go"])
    goto(page, "library")
