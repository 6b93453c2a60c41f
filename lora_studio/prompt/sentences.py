"""The parser's warnings as English sentences, for logs, terminals and events.

A page says each code in its own language; the codes and their values stand in `lora_studio.prompt.notices`.
"""

from __future__ import annotations

from lora_studio.prompt.notices import PromptWarning

_SENTENCES = {
    "style_unknown": "There is no style {name}; nothing was put around the words for it.",
    "style_too_long": "The style {name} would make the text {length} characters long; at most {allowed} are allowed; "
    "it was not applied.",
    "style_file_columns": "The styles file has the columns {columns}; it needs name and prompt; no style was read.",
    "style_file_row": "Line {line} of the styles file cannot be read ({problem}); it was left out.",
    "tag_not_applied": "{tag} was not applied: '{part}' is no number, or the name is missing.",
    "tag_option_inactive": "{option} in {tag} is read but does nothing yet.",
    "tag_option_unknown": "{option} in {tag} is not known; it was ignored.",
    "tag_option_unreadable": "{option} in {tag} is no number; it was ignored.",
    "tag_unsupported": "{tag} was taken out of the text and not applied: {kind} is not supported.",
    "tag_unknown": "{tag} was taken out of the text and not applied: {kind} is not known.",
    "tag_in_negative": "{tag} stands in the negative prompt, where it is read as words; move it to the prompt.",
    "weight_clamped": "The weight {given} is too large; {used} was used.",
    "weight_not_number": "{number} in {text} is no number; it was read as words and the bracket counts 1.1.",
    "bracket_unclosed": "{count} bracket(s) {bracket} are never closed; each weighs everything after it.",
    "bracket_stray": "{count} bracket(s) {bracket} were never opened; they were read as characters.",
    "break_weighted": "BREAK stands in brackets of weight {weight}; it was read as a word and breaks nothing.",
    "schedule_literal": "{text} is no schedule; it was read as words.",
    "schedule_number": "{number} in {text} is beyond all steps; it was read as words.",
    "schedule_off": "A stray {because} turns every schedule of the text, like {text}, into words.",
    "schedule_never": "{text} would change after step {step}, and there are {steps} steps; it never does.",
    "full_width": "The text has {count} full-width characters ({characters}), which are read as words; convert them if "
    "they are meant as brackets, colons or commas.",
    "embedding_too_long": "The embedding {name} has {vectors} vectors and a chunk holds {allowed}; its name was "
    "read as words.",
    "more_alike": "{count} further notes of the kind {code} were left out.",
}


def sentence(found: PromptWarning) -> str:
    """The sentence of a warning; for a code without one, its values."""
    values = {name: f"{value:g}" if isinstance(value, float) else value for name, value in found.values.items()}
    template = _SENTENCES.get(found.code)
    if template is None:
        return f"{found.code}: " + ", ".join(f"{name} {value}" for name, value in values.items())
    return template.format(**values)
