"""Why a file cannot be read: clauses of sentences, with codes, so that a page can say them in its own language.

The English words stand here and, as `why.<code>`, beside the other languages' in `lora_studio/ui/strings/*.json`. An
error that carries a clause has it as `why` among its values, its code as `why_code`, its own values as `why_values`.
It does not know which sentences the clauses stand in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST = 80
"""Characters of a name that a clause shows."""

REASONS: Mapping[str, str] = {
    # the file
    "file_empty": "it is empty",
    "file_page": "it is a web page, which a download that needs a login or an agreement gives",
    "file_lfs": "it is Git LFS' pointer to a file and not the file itself",
    "file_gguf": "it is a GGUF file",
    "file_end": "it cannot be read to its end",
    "file_unreadable": "it cannot be read",
    "file_cut": "it is cut off, {missing} bytes are missing",
    "file_cut_within": "it is cut off, {missing} bytes of {name} are missing",
    # its header
    "header_size": "its header does not fit into the file",
    "header_count": "it names {count} tensors, at most {allowed} are allowed",
    "header_twice": "a name stands twice in its header",
    "header_json": "its header is not JSON",
    "header_table": "its header is not a table",
    "header_metadata": "its metadata is not text",
    "name_long": "the name of the tensor {name} has {count} characters",
    "name_hidden": "the name of the tensor {name} holds signs that cannot be shown",
    "tensor_shape": "the tensor {name} has no shape of at most {allowed} dimensions",
    "tensor_place": "the tensor {name} has no place in the file",
    "tensor_outside": "the tensor {name} lies outside the file",
    "tensor_filled": "the bytes of the tensor {name} do not fill its shape",
    "tensor_over": "the tensor {name} lies over another one",
    "tensor_impossible": "the tensor {name} has an impossible shape",
    "bytes_before": "{count} bytes before the tensor {name} are no tensor's",
    "bytes_behind": "{count} bytes behind its last tensor are no tensor's",
    # its numbers
    "number_kind": "{name} holds numbers of an unknown kind ({found})",
    "not_floats": "{name} holds {found}, not floating-point numbers",
    "number_value": "{name} holds {found}",
    "number_none": "{name} is empty",
    "alpha_number": "the alpha of {layer} is not one number of 0 or more",
    "alpha_large": "the alpha of {layer} is {found} at rank {rank}",
    "scale_number": "the scale {name} of its 8-bit weights is not one number",
    "scale_twice": "its 8-bit weight {name} has two scales",
    "scale_unknown": "{name} scales its 8-bit weights in a way that is not known here",
    "scale_lacking": "its 8-bit weight {name} lacks the scale that others have",
    "vectors": "its embedding {name} holds {found} numbers where vectors must stand",
    "vectors_apart": "its two text encoders have different numbers of vectors",
    "vectors_many": "it holds {count} embeddings, at most {allowed} are allowed",
    # what stands beside it
    "config_large": "its {name} has {count} bytes",
    "config_json": "its {name} is not JSON",
    "config_table": "its {name} is not a table",
    "config_value": "its config says {name} {found}",
    # the parts of one layer
    "parts_lack": "the layer {layer} lacks {parts}",
    "parts_shapes": "the layer {layer} has parts of the shapes {shapes}, which do not go together",
    "parts_ranks": "the layer {layer} has factors of different ranks, {first} and {second}",
    "parts_alpha": "the layer {layer} has an alpha that is not one number of 0 or more",
    "parts_scalar": "the layer {layer} has a scalar that is not one number",
    "parts_stages": "the layer {layer} has {count} butterfly stages, more than {outputs} outputs allow",
    "parts_norm": "the layer {layer} is a norm in the file and none in the base",
    "parts_unknown": "the layer {layer} holds no kind of change that is read here ({parts})",
}


class Reason(str):
    """One clause in English, with what it takes to say it in another language.

    Attributes:
        code: key of `REASONS`, "" where the words are not ours (an operating system's).
        values: what fills its blanks.
    """

    __slots__ = ("code", "values")
    code: str
    values: dict[str, Any]

    def __new__(cls, text: str, code: str = "", **values: Any) -> Reason:
        """`text` as a clause."""
        made = super().__new__(cls, text)
        made.code, made.values = code, values
        return made


class ReasonError(ValueError):
    """A file that cannot be read; `reason` says why."""

    def __init__(self, code: str, **values: Any) -> None:
        self.reason = reason(code, **values)
        super().__init__(str(self.reason))


def reason(code: str, **values: Any) -> Reason:
    """The clause of a code. Raises `KeyError` for a code or a value that is missing."""
    return Reason(REASONS[code].format(**values), code, **values)


def shown(name: str) -> str:
    """A name in quotation marks, cut, without signs that cannot be shown."""
    return repr(name[:LONGEST])


def coded(clause: str) -> dict[str, Any]:
    """What an error has beside its `why`: the clause's code and values, nothing for words that are not ours."""
    if not isinstance(clause, Reason) or not clause.code:
        return {}
    return {"why_code": clause.code, "why_values": clause.values}
