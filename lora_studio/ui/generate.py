"""The Generate tab: words, LoRA stack and settings on one side, the picture on the other, the notebook below."""

from __future__ import annotations

import gradio as gr

from lora_studio.ui.components import Explain, LoraStack, NotebookCells, PictureSettings, PromptHelp, Recall, Stage


def build(words: dict[str, str]) -> tuple[gr.Tab, dict[str, gr.Component]]:
    """The tab, and its native widgets by the key of their words."""
    with gr.Tab(words["tab.generate"], id="generate", elem_id="tab-generate", render_children=True) as tab:
        with gr.Row(elem_id="bench", equal_height=False):
            with gr.Column(elem_id="form", min_width=320, scale=5):
                Recall()
                prompt = gr.Textbox(label=words["prompt.label"], lines=3, elem_id="prompt", interactive=True)
                PromptHelp()
                Explain("prompt")
                with gr.Row(elem_id="verbs"):
                    go = gr.Button(words["generate.go"], variant="primary", elem_id="go")
                    halt = gr.Button(words["generate.stop"], elem_id="halt")
                LoraStack()
                show = gr.Button(words["generate.show"], elem_id="show")
                negative = gr.Textbox(label=words["negative.label"], lines=1, elem_id="negative", interactive=True)
                Explain("negative")
                PictureSettings()
            with gr.Column(elem_id="easel", min_width=320, scale=6):
                Stage()
        NotebookCells()
        go.click(None, None, None, js="() => window.studio.act('generate')")
        halt.click(None, None, None, js="() => window.studio.act('stop')")
        show.click(None, None, None, js="() => window.studio.act('compare')")
    return tab, {
        "prompt": prompt,
        "negative": negative,
        "generate.go": go,
        "generate.stop": halt,
        "generate.show": show,
    }
