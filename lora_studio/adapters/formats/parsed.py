"""What stands in a LoRA file, before any base is asked.

It does not know how the parts of a module are reckoned with (`algebra`) or what they are called in files (`parts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ModuleParts:
    """One layer's part of a file.

    Attributes:
        name: as the file calls it, e.g. `lora_unet_mid_block_attentions_0_proj_in`.
        component: unet, text_encoder, text_encoder_2, transformer ..., "" where the name does not tell.
        path: within the component as the file spells it, the component's prefix cut off.
        kind: algebra: lora, dora, loha, lokr, full, norm, ia3, glora, oft, boft; "" for none that is known.
        tensors: by the words of `parts`: lora_down, lora_up, alpha, hada_w1_a ...; as they lie in the file.
    """

    name: str
    component: str
    path: str
    kind: str
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Ignored:
    """What of a file is not used.

    Attributes:
        name: of a tensor or module.
        why: code: not_in_base (the base has no such layer), unknown (no part of a format that is read here),
            duplicate (a second name for something that is there), other_component (a part of the model that the base
            has not, e.g. its second text encoder), no_shape (without a base: its parts do not tell how large the layer
            is).
    """

    name: str
    why: str


@dataclass(frozen=True, eq=False)
class ParsedFile:
    """A LoRA file, read; its numbers are as they lie in the file.

    Attributes:
        layout: who writes names so: kohya, diffusers, diffusers-old, peft, onetrainer, ai-toolkit, comfyui, bfl,
            xlabs.
        family: sd1, sd2, sdxl, flux, flux2, sd3 ... (`headers.adapter.TITLES`), "" where neither header nor tensors
            tell.
        said_family: what the header alone says, "" where it says nothing that is known.
        modules: by name.
        metadata: `__metadata__` of the header.
        ignored: tensors that are no part of any module.
        embeddings: bundled textual-inversion embeddings by name: {clip_l: (n, width), clip_g: ...}.
        config: sha256 of the adapter_config.json that was read beside the file, "" for none: with another one the same
            tensors are another adapter.
        converted: True where the file was a pickle, read by another process.
        dtypes: of the tensors, safetensors' words, e.g. ("BF16", "F32").
        folded: alphas of the file that a converter of diffusers' has multiplied into the factors.
    """

    layout: str
    family: str
    said_family: str
    modules: Mapping[str, ModuleParts]
    metadata: Mapping[str, str]
    ignored: tuple[Ignored, ...] = ()
    embeddings: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    config: str = ""
    converted: bytes | None = None
    dtypes: tuple[str, ...] = ()
    folded: tuple[float, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """The different algebras of its modules."""
        return tuple(sorted({module.kind for module in self.modules.values() if module.kind}))

    @property
    def format(self) -> str:
        """Layout and algebra in words, e.g. "kohya LoRA", "kohya LoHa + norm"."""
        words = {
            "lora": "LoRA",
            "dora": "DoRA",
            "loha": "LoHa",
            "lokr": "LoKr",
            "full": "full",
            "norm": "norm",
            "ia3": "IA3",
            "glora": "GLoRA",
            "oft": "OFT",
            "boft": "BOFT",
        }
        kinds = sorted(self.kinds, key=list(words).index)
        return f"{self.layout} {' + '.join(words[kind] for kind in kinds)}".strip()
