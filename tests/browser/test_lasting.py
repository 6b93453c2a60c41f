"""Nothing that was shown is lost: by a reload, an outage, or the end of the server, at any moment."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OWN, Visit, add_lora, expect_done, generate, open_set, ready, start_training
from tests.browser.driver import Server

CUT_OFF = re.compile(r"ERR_INTERNET_DISCONNECTED|ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|Failed to fetch")

SHOWN = {"step": ".stage .glimpse[src^=data]", "saving": ".cell .frame img[src*=picture]"}
held = pytest.mark.held


def fill(page: Page) -> None:
    """A form with something in every part of it."""
    add_lora(page, "ears")
    page.fill(".stack input.weight", "0.65")
    page.fill("#prompt textarea", "1girl, cat ears, purple hair")
    page.fill("#negative textarea", "hat")
    page.fill("#g-num_inference_steps", "9")
    page.fill("#g-seed", "77")


def expect_filled(page: Page) -> None:
    """Everything that `fill` set stands there."""
    expect(page.locator("#prompt textarea")).to_have_value("1girl, cat ears, purple hair")
    expect(page.locator("#negative textarea")).to_have_value("hat")
    expect(page.locator("#g-num_inference_steps")).to_have_value("9")
    expect(page.locator("#g-seed")).to_have_value("77")
    expect(page.locator(".stack input.weight")).to_have_value("0.65")


def test_a_reload_keeps_the_draft(page: Page) -> None:
    fill(page)
    page.reload()
    ready(page)
    expect_filled(page)


def test_closing_the_tab_keeps_the_draft_and_the_picture(page: Page, server: Server) -> None:
    fill(page)
    page.click("#go")
    page.wait_for_selector(".cell")
    context = page.context
    page.close()
    again = context.new_page()
    again.goto(server.address)
    ready(again)
    expect_filled(again)
    expect_done(again)


@held
@pytest.mark.parametrize("place", ["queued", "step", "saving"])
def test_a_reload_at_any_moment_loses_no_picture(page: Page, server: Server, place: str) -> None:
    server.control(hold=place)
    fill(page)
    page.click("#go")
    expect(page.locator(".cell .progress")).to_be_visible()
    if place != "queued":
        page.wait_for_selector(SHOWN[place], state="attached")
    page.reload()
    ready(page)
    expect_filled(page)
    cell = page.locator(".cell").first
    expect(cell.locator(".prompt")).to_have_text("1girl, cat ears, purple hair")
    expect(cell.locator(".progress")).to_be_visible()
    if place == "saving":
        expect(cell.locator(".frame img")).to_be_visible()
    server.control()
    expect_done(page)
    expect(page.locator(OWN)).to_have_count(1)


@held
@pytest.mark.parametrize("place", ["queued", "step", "saving"])
def test_the_end_of_the_server_at_any_moment_loses_no_picture(
    visit: Visit, own_server: Server, complaints: list[re.Pattern[str]], place: str
) -> None:
    complaints.append(CUT_OFF)
    page = visit(own_server)
    own_server.control(hold=place)
    fill(page)
    page.click("#go")
    expect(page.locator(".cell .progress")).to_be_visible()
    if place != "queued":
        page.wait_for_selector(SHOWN[place], state="attached")
    own_server.kill()
    expect(page.locator(".strip")).to_contain_text("No connection")
    own_server.control()
    own_server.start()
    expect_done(page)
    expect(page.locator(OWN)).to_have_count(1)
    expect(page.locator(".strip")).to_contain_text("Ready")
    expect_filled(page)
    page.reload()
    ready(page)
    expect_filled(page)
    expect(page.locator(".cell[data-state=done]")).to_have_count(1)


def test_four_seconds_without_a_network(page: Page, complaints: list[re.Pattern[str]]) -> None:
    """Gradio's own way was to load the whole page again, with every field empty."""
    complaints.append(CUT_OFF)
    fill(page)
    page.evaluate("window.stillTheSamePage = true")
    page.context.set_offline(True)
    expect(page.locator(".strip")).to_contain_text("No connection")
    page.fill("#prompt textarea", "1girl, written meanwhile")
    page.click("#go")
    page.wait_for_selector(".cell .progress")
    time.sleep(4)
    page.context.set_offline(False)
    expect_done(page)
    expect(page.locator(OWN)).to_have_count(1)
    expect(page.locator(".cell .prompt").first).to_have_text("1girl, written meanwhile")
    expect(page.locator("#prompt textarea")).to_have_value("1girl, written meanwhile")
    expect(page.locator(".strip")).to_contain_text("Ready")
    assert page.evaluate("window.stillTheSamePage") is True, "the page was not loaded again"


def test_an_outage_while_a_picture_is_made(page: Page, server: Server, complaints: list[re.Pattern[str]]) -> None:
    complaints.append(CUT_OFF)
    server.control(step_seconds=0.1)
    generate(page)
    page.wait_for_selector(".cell .progress")
    page.context.set_offline(True)
    time.sleep(4)
    page.context.set_offline(False)
    expect_done(page)


def test_captions_written_without_a_network_arrive(page: Page, complaints: list[re.Pattern[str]]) -> None:
    complaints.append(CUT_OFF)
    open_set(page)
    page.click(".step .next .primary")
    page.context.set_offline(True)
    page.locator(".caption-card textarea").first.fill("written on a train")
    time.sleep(1.5)
    with page.expect_response("**/call/caption"):
        page.context.set_offline(False)
    page.reload()
    expect(page.locator(".caption-card textarea").first).to_have_value("written on a train")


@held
def test_a_training_outlives_a_reload(page: Page, server: Server) -> None:
    server.control(step_seconds=0.05)
    open_set(page)
    start_training(page, steps="100", preview_every="10")
    page.wait_for_selector(".preview-step >> nth=1")
    page.reload()
    page.wait_for_selector(".chart path.course")
    page.wait_for_selector(".preview-step >> nth=2")
    server.control()
    expect(page.locator(".result dd").first).to_have_text("100")


@held
def test_a_training_goes_on_after_the_end_of_the_server(
    visit: Visit, own_server: Server, complaints: list[re.Pattern[str]]
) -> None:
    complaints.append(CUT_OFF)
    page = visit(own_server)
    own_server.control(step_seconds=0.05)
    open_set(page)
    start_training(page, steps="120", preview_every="10", checkpoint_every="50")
    page.wait_for_selector(".preview-step >> nth=5")
    own_server.kill()
    own_server.start()
    expect(page.locator(".verdict")).to_contain_text("Interrupted; continues from step 50")
    expect(page.locator(".preview")).not_to_have_count(0)
    page.locator(".step .next").get_by_role("button", name="Continue").click()
    own_server.control()
    page.wait_for_selector(".result")
    expect(page.locator(".result dd").first).to_have_text("120")
    page.locator(".run").get_by_role("button", name="Look").click()
    expect(page.locator(".run .state")).to_have_text("finished")


@held
def test_a_training_that_failed_goes_on_from_its_checkpoint(page: Page, server: Server) -> None:
    """Its words said to free some space and try again, and there was no button that did."""
    server.control(full=70)
    open_set(page)
    start_training(page, steps="100", preview_every="10", checkpoint_every="50")
    words = page.locator(".verdict")
    expect(words).to_contain_text("the disk is full; free some space and try again. Continue goes on from step 50.")
    run = page.locator(".run")
    expect(run.locator(".state")).to_have_text("failed")
    expect(run).to_contain_text("continues from step 50")
    expect(run.get_by_role("button", name="Continue")).to_be_visible()
    server.control()
    page.locator(".step .next").get_by_role("button", name="Continue").click()
    page.wait_for_selector(".result")
    expect(page.locator(".result dd").first).to_have_text("100")
    expect(run.locator(".state")).to_have_text("finished")
    expect(run.get_by_role("button", name="Continue")).to_have_count(0)


@held
def test_a_queued_training_outlives_the_end_of_the_server(
    visit: Visit, own_server: Server, complaints: list[re.Pattern[str]]
) -> None:
    complaints.append(CUT_OFF)
    page = visit(own_server)
    own_server.control(hold="queued")
    open_set(page)
    start_training(page, steps="40", preview_every="10")
    expect(page.locator(".run .state")).to_have_text("waiting")
    own_server.kill()
    own_server.control()
    own_server.start()
    page.wait_for_selector(".result")


def test_a_second_window_sees_the_same_notebook(page: Page, server: Server) -> None:
    generate(page)
    expect_done(page)
    other = page.context.new_page()
    other.goto(server.address)
    ready(other)
    expect_done(other)
