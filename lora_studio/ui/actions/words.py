"""What is understood of the texts while they are typed, and styles: named pieces of prompt, in and out of a file.

The file is A1111's `styles.csv` (`lora_studio.prompt.styles`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from lora_studio.prompt.dynamic import draw_alternatives
from lora_studio.prompt.explain import warning_json
from lora_studio.prompt.styles import Style, put_styles, read_styles, write_styles
from lora_studio.types import ExplainOptions, GenerateRequest, StyleEntry, from_json, to_json
from lora_studio.ui.studio import Ask

MOST_STEPS = 1000


def explain(ask: Ask) -> dict[str, Any]:
    """What `prompt` and `negative` say (`lora_studio.engine.explain`); steps that are no number yet are the base's."""
    given = ask.data.get("steps")
    if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= MOST_STEPS:
        steps = given
    else:
        base = ask.studio.engine.info().base
        steps = 20 if base is None else base.defaults.num_inference_steps
    options = ExplainOptions(
        owner=ask.owner,
        steps=steps,
        styles=ask.names("styles"),
        emphasis=ask.text("emphasis", "original"),
        old_scheduling=ask.flag("old_scheduling"),
    )
    return ask.studio.engine.explain(ask.text("prompt", ""), ask.text("negative", ""), options)


def with_named(ask: Ask, request: GenerateRequest) -> GenerateRequest:
    """The request with the LoRAs and embeddings that its texts name; the texts stay as they were typed.

    Where alternatives are drawn, those that are drawn count.
    """
    read = _drawn(ask, request) if request.dynamic else request
    options = ExplainOptions(
        owner=ask.owner,
        steps=request.num_inference_steps,
        styles=read.styles,
        old_scheduling=request.old_scheduling,
        adapters=request.adapters,
    )
    told = ask.studio.engine.explain(read.prompt, read.negative_prompt, options)
    named = {key: told[key] for key in ("adapters", "embeddings")}
    return from_json(GenerateRequest, to_json(request) | named)


def _drawn(ask: Ask, request: GenerateRequest) -> GenerateRequest:
    """The request with its styles and with one of each of its alternatives, as the engine will draw them."""
    read = styled(ask, request)
    lines = ask.studio.workspace.wildcards.lines
    (prompt, negative), _ = draw_alternatives((read.prompt, read.negative_prompt), lines, read.seed)
    return dataclasses.replace(read, prompt=prompt.strip() or read.prompt, negative_prompt=negative)


def styled(ask: Ask, request: GenerateRequest) -> GenerateRequest:
    """The request with its styles put around its texts; names that mean no style stay, and are told when it is made."""
    known = [Style(one.name, one.prompt, one.negative_prompt) for one in ask.studio.workspace.styles.list(ask.owner)]
    (prompt, negative), _ = put_styles((request.prompt, request.negative_prompt), request.styles, known)
    there = {style.name for style in known}
    left = tuple(name for name in request.styles if name not in there)
    return dataclasses.replace(request, prompt=prompt, negative_prompt=negative, styles=left)


def without_adapters(request: GenerateRequest) -> GenerateRequest:
    """The request with all its LoRAs at 0: one that was left out would be put in again where its tag stands."""
    silent = tuple(dataclasses.replace(used, weight=0.0, text_encoder_weight=None) for used in request.adapters)
    return dataclasses.replace(request, adapters=silent)


def styles(ask: Ask) -> dict[str, Any]:
    """The styles that the caller sees; those of the command line cannot be changed here."""
    return {
        "styles": [
            {"name": s.name, "prompt": s.prompt, "negative_prompt": s.negative_prompt, "mine": s.owner == ask.owner}
            for s in ask.studio.workspace.styles.list(ask.owner)
        ]
    }


def save_style(ask: Ask) -> dict[str, Any]:
    """Keep prompt and negative prompt under a name; the caller's own style of that name is replaced."""
    made = StyleEntry(ask.text("name"), ask.owner, ask.text("prompt", ""), ask.text("negative_prompt", ""))
    ask.studio.workspace.styles.save([made])
    return styles(ask)


def delete_style(ask: Ask) -> dict[str, Any]:
    """Remove a style of the caller."""
    ask.studio.workspace.styles.delete(ask.text("name"), ask.owner)
    return styles(ask)


def import_styles(ask: Ask) -> dict[str, Any]:
    """Take the styles of a CSV file's `text`; how many there were, and what could not be read."""
    found, warnings = read_styles(ask.text("text"))
    made = [StyleEntry(style.name, ask.owner, style.prompt, style.negative_prompt) for style in found]
    ask.studio.workspace.styles.save(made)
    return styles(ask) | {"count": len(found), "warnings": [warning_json(warn) for warn in warnings]}


def export_styles(ask: Ask) -> dict[str, Any]:
    """The caller's styles as the text of a CSV file, without its byte order mark."""
    listed = ask.studio.workspace.styles.list(ask.owner)
    return {"text": write_styles(Style(s.name, s.prompt, s.negative_prompt) for s in listed)}


ACTIONS = (explain, styles, save_style, delete_style, import_styles, export_styles)
