"""Where a LoRA acts: steps, words and parts of the model, by sliders under its row and by the options of its tag."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, add_lora, expect_done, generate
from tests.browser.driver import Server
from tests.browser.test_explain import SLIDE, write
from tests.browser.test_explain import prompt_is as expect_prompt
from tests.browser.test_look import PHONE


def opened(page: Page) -> None:
    page.locator(".stack .row .name").click()
    expect(page.locator(".stack .places")).to_be_visible()


def slide(page: Page, label: str, value: float) -> None:
    page.locator(".stack .places label", has_text=label).locator("input").evaluate(SLIDE, value)


def expect_where(page: Page, text: str) -> None:
    expect(page.locator(".stack .row .warn")).to_have_text(text)


def test_sliders_say_where_it_acts(page: Page) -> None:
    """They change the picture, are kept in its cell, and come back from there."""
    add_lora(page, "Cat ears")
    expect(page.locator(".stack .places")).to_be_hidden()
    opened(page)
    expect(page.locator(".stack .row .warn")).to_be_hidden()
    slide(page, "From step", 7)
    slide(page, "To step", 12)
    slide(page, "Up", 0.5)
    slide(page, "Words", 0.4)
    where = "Steps 7 to 12 of 18 · Text encoder: 0.4 · Up 0.5"
    expect_where(page, where)
    page.fill("#g-num_inference_steps", "36")
    expect_where(page, where.replace("7 to 12 of 18", "13 to 24 of 36"))
    page.fill("#g-num_inference_steps", "18")
    generate(page)
    expect_done(page)
    expect(page.locator(".cell .mark.lora small").first).to_have_text(where)
    page.get_by_role("button", name="Everywhere").click()
    expect(page.locator(".stack .row .warn")).to_be_hidden()
    page.locator(".cell").first.get_by_role("button", name="Edit").click()
    expect_where(page, where)
    page.reload()
    expect_where(page, where)


def test_the_end_does_not_come_before_the_beginning(page: Page) -> None:
    add_lora(page, "Cat ears")
    opened(page)
    slide(page, "To step", 4)
    slide(page, "From step", 9)
    expect_where(page, "Steps 9 to 9 of 18")
    slide(page, "To step", 3)
    expect_where(page, "Steps 3 to 3 of 18")


def test_a_tag_and_the_sliders_are_one(page: Page) -> None:
    write(page, "1girl <lora:cat_ears:0.8:start=7:stop=13:lbw=0.5,1,0,0>")
    expect(page.locator(".stack .row")).to_have_count(1)
    expect_where(page, "Steps 7 to 12 of 18 · Text encoder: 0.4 · Down mixed, Middle 0, Up 0")
    opened(page)
    slide(page, "From step", 1)
    slide(page, "Middle", 1)
    expect_prompt(page, "1girl <lora:cat_ears:0.4:0.8:stop=13:lbw=1,0,1,0,1,0,0>")
    expect_where(page, "Steps 1 to 12 of 18 · Text encoder: 0.4 · Down mixed, Up 0")
    generate(page, "1girl <lora:cat_ears:0.4:0.8:stop=13:lbw=1,0,1,0,1,0,0>")
    expect_done(page)
    expect(page.locator(".cell .remark")).to_have_count(0)
    expect(page.locator(".cell .mark.lora small").first).to_contain_text("Steps 1 to 12 of 18")
    page.get_by_role("button", name="Everywhere").click()
    expect_prompt(page, "1girl <lora:cat_ears:0.8>")
    expect(page.locator(".stack .row .warn")).to_be_hidden()


def test_a_tag_typed_for_a_row_takes_what_was_chosen_for_it(page: Page) -> None:
    """The sliders were set first: they would have gone back to everywhere without a word."""
    add_lora(page, "Cat ears")
    opened(page)
    slide(page, "To step", 9)
    write(page, "1girl <lora:cat_ears:0.7>")
    expect_prompt(page, "1girl <lora:cat_ears:0.7:stop=10>")
    expect_where(page, "Steps 1 to 9 of 18")


def test_a_recipe_with_a_tag_acts_the_same_when_it_is_edited(page: Page) -> None:
    """BASE of `lbw=` is in the cell's weights already; the words got it once more at each turn."""
    text = "1girl <lora:cat_ears:0.8:lbw=0.5,1,1,1>"
    where = "Text encoder: 0.4"
    for number in (1, 2, 3):
        if number == 1:
            write(page, text)
        else:
            page.locator(".cell").first.get_by_role("button", name="Edit").click()
        expect(page.locator(".stack .row .warn")).to_contain_text(where)
        page.wait_for_timeout(500)
        page.click("#go")
        expect_done(page, number)
        expect_prompt(page, text)
        expect(page.locator(".cell .mark.lora small").first).to_contain_text(where)
        expect(page.locator(".cell .remark")).to_have_count(0)


def test_what_was_not_moved_stays_as_it_is_written(page: Page) -> None:
    """Shares became numbers of steps, and a list for another base went away, when another slider was moved."""
    write(page, "1girl <lora:cat_ears:0.8:lbw=MYPRESET:stop=0.5:x=1>")
    expect_where(page, "Steps 1 to 9 of 18")
    opened(page)
    slide(page, "From step", 3)
    expect_prompt(page, "1girl <lora:cat_ears:0.8:lbw=MYPRESET:x=1:start=3:stop=10>")
    write(page, "1girl <lora:cat_ears:0.8:lbw=MIDD:stop=0.5>")
    expect_where(page, "Steps 1 to 9 of 18 · Down 0, Up 0")
    slide(page, "Words", 0.4)
    expect_prompt(page, "1girl <lora:cat_ears:0.4:0.8:stop=0.5:lbw=1,0,0,0,1,0,0>")
    expect_where(page, "Steps 1 to 9 of 18 · Text encoder: 0.4 · Down 0, Up 0")


def test_opening_the_panel_changes_nothing(page: Page) -> None:
    """It counted as a change of the stack, and a tag that was being typed went back to what it had been."""
    write(page, "1girl <lora:cat_ears:0.8>")
    expect(page.locator(".stack input.weight")).to_have_value("0.80")
    write(page, "1girl <lora:cat_ears:0.5>")
    page.locator(".stack .row .name").click()
    expect(page.locator(".stack input.weight")).to_have_value("0.50")
    expect_prompt(page, "1girl <lora:cat_ears:0.5>")


def test_the_words_slider_goes_into_a_tag_that_is_typed(page: Page) -> None:
    add_lora(page, "Cat ears")
    opened(page)
    slide(page, "Words", 0.4)
    write(page, "1girl <lora:cat_ears:0.7>")
    expect_prompt(page, "1girl <lora:cat_ears:0.4:0.7>")
    page.locator(".stack .places label", has_text="Words").locator("input").press("Delete")
    expect_prompt(page, "1girl <lora:cat_ears:0.7>")


def test_on_a_phone(visit: Visit, server: Server) -> None:
    page = visit(server, **PHONE)
    add_lora(page, "Cat ears")
    opened(page)
    box = page.locator(".stack .places").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    for label in page.locator(".stack .places label").all():
        height = (label.bounding_box() or {})["height"]
        assert height >= 44, "fingers need the room"
