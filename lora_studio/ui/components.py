"""Custom components: each is a `gr.HTML` whose DOM belongs to one of our scripts.

The template is a constant: Gradio evaluates it as a JavaScript template literal, so a text of a person in it would be
run as code. Texts reach the page as JSON by our own calls and are set as `textContent`. Why not native widgets with
`gr.render`: one more cell among 200 took 0.4 s this way and 11 s that way.
"""

from __future__ import annotations

import gradio as gr


class Panel(gr.HTML):  # type: ignore[misc]
    """A place on the page that the script `static/js/<name>.js` fills; `name` is also its id."""

    def __init__(self, name: str) -> None:
        super().__init__(
            html_template=f'<div class="panel" data-panel="{name}"></div>',
            js_on_load=f"window.studio.mount('{name}', element.querySelector('[data-panel]'))",
            apply_default_css=False,
            elem_id=f"{name}-block",
            elem_classes=["studio-panel"],
        )


class Header(Panel):
    """Name of the app, status strip, base, language and theme."""

    def __init__(self) -> None:
        super().__init__("header")


class Recall(Panel):
    """Taking over what made a picture: the button for it, and what was not taken over, with a way back."""

    def __init__(self) -> None:
        super().__init__("recall")


class PromptHelp(Panel):
    """Suggestions while typing, trigger words as chips, and the words that the base never saw."""

    def __init__(self) -> None:
        super().__init__("prompt-help")


class Explain(Panel):
    """How one of the two texts is read: tokens, weights, schedules, remarks; for the prompt also styles and copying."""

    def __init__(self, text: str) -> None:
        super().__init__(f"explain-{text}")


class LoraStack(Panel):
    """The LoRAs of the next picture: toggle, slider, number, solo, remove; add from the library or by dropping."""

    def __init__(self) -> None:
        super().__init__("stack")


class PictureSettings(Panel):
    """The fields of `GenerateRequest` that are not words: size, seed, steps, guidance, sampler, count."""

    def __init__(self) -> None:
        super().__init__("settings")


class Stage(Panel):
    """The newest picture, or the one that is being made, with its progress."""

    def __init__(self) -> None:
        super().__init__("stage")


class NotebookCells(Panel):
    """The cells of the notebook."""

    def __init__(self) -> None:
        super().__init__("notebook")


class TrainRoom(Panel):
    """The five steps of a training and the list of past runs."""

    def __init__(self) -> None:
        super().__init__("train")


class LibraryRoom(Panel):
    """The LoRAs of the library as cards."""

    def __init__(self) -> None:
        super().__init__("library")


class Words(gr.HTML):  # type: ignore[misc]
    """Nothing to see: fires 'language' when the native widgets must be given their words in another language."""

    def __init__(self) -> None:
        super().__init__(
            html_template="<span hidden></span>",
            js_on_load="window.studio.onLanguage(() => trigger('language'))",
            apply_default_css=False,
            elem_id="words-block",
        )
