"""The Library tab."""

from __future__ import annotations

import gradio as gr

from lora_studio.ui.components import LibraryRoom


def build(words: dict[str, str]) -> gr.Tab:
    """The tab with the cards of all LoRAs."""
    with gr.Tab(words["tab.library"], id="library", elem_id="tab-library", render_children=True) as tab:
        LibraryRoom()
    return tab
