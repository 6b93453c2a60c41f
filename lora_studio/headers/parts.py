"""Tensor names, cut into the module that they speak of and the part of it that they hold.

Every trainer has its own words for the same part; here they become one. What a module's name means is `dialects`'
business, what its parts come to is `algebra`'s.

Sources: kohya-ss/sd-scripts networks/lora.py; KohakuBlueleaf/LyCORIS lycoris/modules (`weight_list` of each);
huggingface/diffusers loaders/lora_base.py and lora_conversion_utils.py; huggingface/peft utils/save_and_load.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

_PARTS = (
    # peft puts the name of the adapter between, which may hold dots and hyphens.
    # LoRA: kohya, OneTrainer; diffusers before 0.20 (with the attention processors' `_lora`), after it, and peft
    (r"\.lora_(down|up|mid)\.weight", r"lora_\1"),
    (r"\.lora_(down|up)\.bias", r"bias_\1"),
    (r"(?:\.lora|_lora|\.lora_linear_layer)\.(down|up)\.weight", r"lora_\1"),
    (r"(?:\.lora|_lora|\.lora_linear_layer)(?:\.(?:down|up)\.weight)?\.alpha", "alpha"),
    (r"\.lora_A(?:\.[\w.-]+)?\.weight", "lora_down"),
    (r"\.lora_B(?:\.[\w.-]+)?\.weight", "lora_up"),
    (r"\.lora_B(?:\.[\w.-]+)?\.bias", "bias_up"),
    (r"\.lora_A", "lora_down"),
    (r"\.lora_B", "lora_up"),
    (r"\.alpha", "alpha"),
    (r"\.scalar", "scalar"),
    # DoRA
    (r"\.dora_scale", "dora_scale"),
    (r"\.lora_magnitude_vector(?:\.[\w.-]+)?", "magnitude"),
    # LyCORIS; peft writes the same names with the adapter's between
    (r"\.(hada_(?:w1_a|w1_b|w2_a|w2_b|t1|t2))(?:\.(?!weight)[\w-]+)?", r"\1"),
    (r"\.(lokr_(?:w1|w1_a|w1_b|w2|w2_a|w2_b|t1|t2))(?:\.(?!weight)[\w-]+)?", r"\1"),
    (r"\.(diff|diff_b|w_norm|b_norm|on_input|oft_blocks|oft_diag|rescale)", r"\1"),
    (r"\.([ab][12m])\.weight", r"\1"),
    (r"\.oft_[rR](?:\.[\w.-]+)?", "oft_r"),
    (r"\.boft_([Rs])(?:\.\w+)?", r"boft_\1"),
    (r"\.ia3_l(?:\.[\w.-]+)?", "ia3_l"),
    (r"\.weight", "weight"),
)

BESIDE = frozenset({"weight", "alpha", "scalar", "rescale", "oft_terms", "boft_R", "boft_s"})
"""Parts that change nothing by themselves: a model's own weight, numbers that stand beside factors, and peft's BOFT,
which is not read."""

_LONGEST = 64
"""Characters at a name's end that are looked at: no ending is longer, and names may be very long."""


def endings() -> list[tuple[re.Pattern[str], str]]:
    """The endings of names with the part that each means, in the order in which they are to be tried."""
    return [(re.compile(rf"{ending}\Z"), part) for ending, part in _PARTS]


def split_names(names: Iterable[str]) -> tuple[dict[str, dict[str, str]], list[str], list[str]]:
    """Modules with the tensor name of each of their parts.

    Returns:
        {module: {part: tensor name}}, the names that are no part of anything known, and the names that are a second one
        for a part that is there.
    """
    known = endings()
    modules: dict[str, dict[str, str]] = {}
    unknown: list[str] = []
    twice: list[str] = []
    for name in sorted(names):
        tail = name[-_LONGEST:]
        for ending, part in known:
            found = ending.search(tail)
            module = name[: len(name) - len(tail) + found.start()] if found else ""
            if found and module:
                parts = modules.setdefault(module, {})
                if found.expand(part) in parts:
                    twice.append(name)
                else:
                    parts[found.expand(part)] = name
                break
        else:
            unknown.append(name)
    return modules, unknown, twice


def changes(parts: Collection[str]) -> bool:
    """True where parts of a module change its layer."""
    return not BESIDE.issuperset(parts)


def trained_rank(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The rank that a module was trained with by the shapes of its parts, 0 where it has none."""
    for part in ("lora_down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b"):
        if shapes.get(part):
            return shapes[part][0]
    # Older GLoRA exchanges a1 and a2: the rank is the shorter side in both.
    return min(shapes["a2"][:2]) if shapes.get("a2") else 0


def glora_sides(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Outputs and inputs of a GLoRA's layer by the shapes of its parts, () where they do not tell."""
    a2, b1, b2 = (shapes.get(part, ()) for part in ("a2", "b1", "b2"))
    if min(len(a2), len(b1), len(b2)) < 2:
        return ()
    return (b2[0], a2[0]) if a2[0] > a2[1] else (b1[0], a2[1])  # older files: the outer side stands first
