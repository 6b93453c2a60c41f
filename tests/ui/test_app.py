"""The page as Gradio is told of it: few native widgets, no Python handler, no text of a person in a template."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from lora_studio.ui import build_app
from lora_studio.ui.texts import FOLDER
from tests.support.loops import in_own_loop

STATIC = FOLDER.parent / "static"


@pytest.fixture(scope="module")
def page() -> gr.Blocks:
    return in_own_loop(build_app)


def test_few_native_widgets(page: gr.Blocks) -> None:
    layout = (gr.Row, gr.Column, gr.Tab, gr.Tabs, gr.HTML)
    native = [block for block in page.blocks.values() if not isinstance(block, layout)]
    assert {type(block).__name__ for block in native} <= {"Textbox", "Button", "Form"}
    assert len(native) < 10


def test_no_event_runs_python(page: gr.Blocks) -> None:
    """Gradio cancels running events on a reload and empties the form after an outage; ours have nothing to lose."""
    events = list(page.fns.values())
    assert len(events) >= 4
    assert [event.fn for event in events if event.fn is not None] == []
    assert all(event.js for event in events)


def test_templates_are_constants(page: gr.Blocks) -> None:
    """Gradio evaluates a template as a JavaScript literal: `${...}` in a prompt ran in every viewer's browser."""
    panels = [block for block in page.blocks.values() if isinstance(block, gr.HTML)]
    assert len(panels) >= 9
    for panel in panels:
        assert "${" not in panel.html_template
        assert "{{" not in panel.html_template
        assert panel.value is None


def test_scripts_make_no_markup_of_texts() -> None:
    """Every text goes into the page by `textContent` or as an attribute; nothing is parsed as HTML."""
    for path in sorted((STATIC / "js").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert word not in text, f"{path.name}: {word}"


@pytest.mark.parametrize("path", sorted(STATIC.rglob("*.*")), ids=lambda path: str(path.name))
def test_nothing_is_fetched_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text
    assert text.count("\n") <= 400
