"""What a workspace and a base make of two texts, answered without the base's weights: the tokenizer is enough.

It may be called from any thread while the worker works, and while there is no base: then nothing is counted. The
answer is `lora_studio.prompt.explain`'s for each text, and what a request with these texts would be completed to:

    steps       in which schedules are counted
    counted     False where there is no base and therefore no tokens
    prompt, negative    see `lora_studio.prompt.explain`
    adapters    [{sha256, name, weight, text_encoder_weight, start, stop, blocks}], those of the options first, then
                those of tags; where the options leave steps and blocks open, those of their tags
    embeddings  [{name, sha256}]

It does not know who asks why, nor what a sentence is in any language.
"""

from __future__ import annotations

from typing import Any

from lora_studio.engine.completion import look_up, shelves_of
from lora_studio.prompt.chunks import Tokenize
from lora_studio.prompt.explain import Known, Reading, explain, warning_json
from lora_studio.prompt.language import parse
from lora_studio.prompt.schedules import Counting
from lora_studio.prompt.styles import choose_styles
from lora_studio.store import Workspace
from lora_studio.types import BaseInfo, ExplainOptions, to_json
from lora_studio.types.generate import check_texts


def explain_texts(
    texts: tuple[str, str],
    options: ExplainOptions,
    workspace: Workspace,
    tokenize: Tokenize | None,
    base: BaseInfo | None = None,
) -> dict[str, Any]:
    """See the module's docstring.

    Args:
        texts: the prompt and the negative prompt; either may be empty.
        tokenize: the base's, None where there is no base.
        base: the loaded one; None where there is none.

    Raises:
        InvalidInput: a text is longer than prompts may be, or holds half a character.
    """
    check_texts(*texts)
    shelves = shelves_of(workspace, options.owner, base)
    shelves = shelves.beside(options.adapters)
    known = Known(tokenize, shelves.installed, shelves.named, shelves.styles, shelves.misfits)
    how = Reading(
        Counting(options.steps, old=options.old_scheduling),
        options.styles,
        "comfy" if options.emphasis == "comfy" else "a1111",
        options.backtrack,
    )
    told: dict[str, Any] = {
        "steps": options.steps,
        "counted": tokenize is not None,
        "prompt": explain(texts[0], known, how),
        "negative": explain(texts[1], known, how, negative=True),
    }
    styles, _ = choose_styles(shelves.styles, options.styles)  # put around what was typed, whose places are told
    parsed = (
        parse(texts[0], how.counting, styles=styles),
        parse(texts[1], how.counting, negative=True, styles=styles),
    )
    found = look_up(parsed, shelves, tokenize, (options.adapters, ()), options.steps)
    there = {str(warn) for warn in told["prompt"]["warnings"]}
    added = [warning_json(warn) for warn in found.warnings if warn.code.startswith("tag_")]
    told["prompt"]["warnings"] += [warn for warn in added if str(warn) not in there]
    return told | {"adapters": to_json(found.adapters), "embeddings": to_json(found.embeddings)}
