"""A server for all tests, one of its own for those that end it, and a fresh browser profile for each.

`STUDIO_BROWSER_ENGINE=real` runs the same tests on the embedded base; what needs the pretended engine's control
(being held at a chosen place) is left out there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.driver import Server, Watch, chromium

KIND = os.environ.get("STUDIO_BROWSER_ENGINE", "fake")
PATIENCE = 15_000 if KIND == "fake" else 240_000
"""Milliseconds to wait for what must come to pass."""

OWN = ".cell:not([data-sample])"
"""Cells that a person made, not those that come with the app."""

QUICK = (
    "test_generate_makes_a_cell",
    "test_show_me_what_the_loras_do",
    "test_the_whole_way",
    "test_a_reload_at_any_moment_loses_no_picture",
)
"""The tests that run among the quick ones; all others are slow, being many."""

Visit = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here drives Chromium; on the real engine nothing can be held."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if KIND == "real" or item.originalname not in QUICK:  # type: ignore[attr-defined]
                item.add_marker(pytest.mark.slow)
            if KIND == "real" and "held" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="the real engine cannot be held at a chosen place"))


@pytest.fixture(scope="session")
def _browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("shared") / "ws", KIND)
    server.control()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(_shared: Server) -> Iterator[Server]:
    """The shared server; the engine goes at its usual pace again afterwards."""
    _shared.control()
    yield _shared
    _shared.control()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may end."""
    server = Server(tmp_path / "ws", KIND)
    server.control()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def contexts(_browser: Browser) -> Iterator[list[BrowserContext]]:
    """Browser profiles that are closed in the end."""
    opened: list[BrowserContext] = []
    yield opened
    for context in opened:
        context.close()


@pytest.fixture
def complaints() -> list[re.Pattern[str]]:
    """What pages are expected to complain of; a test adds to it."""
    return []


@pytest.fixture
def visit(_browser: Browser, contexts: list[BrowserContext], complaints: list[re.Pattern[str]]) -> Iterator[Visit]:
    """visit(server, locale=..., viewport=...): the page in a new profile; afterwards it has nothing to complain of."""
    watches: list[Watch] = []

    def open_page(server: Server, **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        context = _browser.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        watches.append(Watch(page))
        page.goto(server.address)
        ready(page)
        return page

    yield open_page
    for watch in watches:
        assert watch.elsewhere == [], "the page asked somebody else"
        unexpected = [text for text in watch.complaints if not any(known.search(text) for known in complaints)]
        assert unexpected == []


@pytest.fixture
def page(visit: Visit, server: Server) -> Page:
    """The page, just opened for the first time."""
    return visit(server)


expect.set_options(timeout=PATIENCE)


def ready(page: Page) -> None:
    """Wait until the page has heard from the server."""
    page.wait_for_selector(".strip[data-kind]:not([data-kind=bad])")
    page.wait_for_selector("#prompt textarea:enabled", state="attached")
    page.wait_for_function("document.querySelector('.stage').childElementCount > 0")


def goto(page: Page, tab: str) -> None:
    """Choose a tab."""
    page.click(f"#tab-{tab}-button")
    page.wait_for_selector(f"#tab-{tab}-button[aria-selected=true]")


def add_lora(page: Page, name: str) -> None:
    """Add a LoRA from the library."""
    page.click(".stack .add")
    page.fill("dialog input[type=search]", name)
    page.locator("dialog .pick", has_text=name).first.click()
    page.wait_for_selector("dialog", state="detached")


def generate(page: Page, prompt: str = "1girl, brown hair, smile") -> None:
    """Write a prompt and press Generate."""
    page.fill("#prompt textarea", prompt)
    page.click("#go")


def expect_done(page: Page, count: int = 1) -> None:
    """Wait until so many cells of one's own are finished."""
    page.wait_for_function(f"n => document.querySelectorAll('{OWN}[data-state=done]').length >= n", arg=count)


def open_set(page: Page, name: str = "cat-ears") -> None:
    """Choose a sample set in the Train tab."""
    goto(page, "train")
    page.locator(".samples .tile", has_text=name).click()
    page.wait_for_selector(".thumb")


def start_training(page: Page, **fields: str) -> None:
    """From the open set through captions and recipe to a quick training."""
    page.click(".step .next .primary")
    page.wait_for_selector(".caption-card")
    page.click(".step .next .primary")
    page.check("input[name=recipe][value=quick]")
    if fields:
        page.locator("#tab-train details.more").evaluate_all("folds => folds.forEach((fold) => { fold.open = true; })")
        for name, value in fields.items():
            page.fill(f"#t-{name}", value)
    page.click(".step .next .primary")
    page.wait_for_selector(".verdict")
