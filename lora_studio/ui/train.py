"""The Train tab."""

from __future__ import annotations

import gradio as gr

from lora_studio.ui.components import TrainRoom


def build(words: dict[str, str]) -> gr.Tab:
    """The tab with the five steps and the list of past runs."""
    with gr.Tab(words["tab.train"], id="train", elem_id="tab-train", render_children=True) as tab:
        TrainRoom()
    return tab
