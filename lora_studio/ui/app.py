"""The page: three tabs, put together from native widgets and our own components.

Native are the tabs, the two texts and the buttons; their words come from the same files as everybody's, by an event
that runs in the browser alone. No event here has a Python handler (see `web.app` for why).
"""

from __future__ import annotations

import gradio as gr

from lora_studio.ui import generate, library, train
from lora_studio.ui.components import Header, Words
from lora_studio.ui.texts import strings

TITLE = "LoRA Studio"


def build_app() -> gr.Blocks:
    """The Blocks of the page. Nothing of an engine or a workspace is baked into it: pages ask when they open."""
    words = strings("en")
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        Header()
        with gr.Tabs(elem_id="tabs"):
            generate_tab, named = generate.build(words)
            train_tab = train.build(words)
            library_tab = library.build(words)
        named = {"tab.generate": generate_tab, "tab.train": train_tab, "tab.library": library_tab} | named
        keys = ", ".join(f"'{key}'" for key in named)
        Words().language(None, None, list(named.values()), js=f"() => window.studio.words([{keys}])")
    page.queue(api_open=False)
    return page
