"""Which diffusion transformer a LoRA file was made for, by the names of its modules and the widths of its factors.

Names tell most families. FLUX.1, FLUX.2 and HunyuanVideo share them, and so do Z-Image and Lumina 2, LTX-Video, PixArt,
Sana and Cosmos: these are told by the widths of their layers and by how many blocks there are. It does not know numbers
and reads no metadata.

Sources: the configs and module names of huggingface/diffusers 0.42.1 models/transformers; black-forest-labs/flux and
flux2 (model.py: 19 + 38 blocks of width 3072; 8 + 48 of 6144, gated feed-forward layers); Tencent/HunyuanVideo
hyvideo/modules/models.py (20 + 40 blocks, `img_attn_qkv`, `img_mlp.fc1`); kohya-ss/musubi-tuner src/musubi_tuner/
networks (names of each); NVIDIA/Cosmos (`self_attn.q_proj`, `mlp.layer1`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from lora_studio.headers.parts import glora_sides

Sides = tuple[int, int]
"""Outputs and inputs of a layer, 0 where the file does not tell."""

_PREFIX = re.compile(
    r"(?:base_model\.model\.|lycoris_|model\.diffusion_model\.|diffusion_model\.|transformer\.|lora_unet[_.]"
    r"|lora_transformer[_.]|unet\.)+"
)
_TEXT = re.compile(
    r"(?:base_model\.model\.)?(?:lora_te\d?[_.]|text_encoders?[_.]|clip_[lg]\.|te\d_|text_model|encoder[._])"
)
_UNET = re.compile(
    r"(?:\A|[._])(?:(?:down|up|input|output)_blocks[._]\d|mid_block|middle_block)|\A(?:conv_in|conv_out|time_embed"
    r"|add_embedding|label_emb|out[._]\d)"
)
_PRIOR = ("lora_prior_unet", "prior_unet")
_OF_A_TRANSFORMER = re.compile(
    r"(?:base_model\.model\.)?(?:transformer\.|lora_transformer[_.]|diffusion_model\.|model\.diffusion_model\.)"
)

_CERTAIN = (
    ("chroma", r"distilled_guidance_layer"),
    ("flux2", r"(?:double|single)_stream_modulation|_attn_to_qkv_mlp_proj|_ff(?:_context)?_linear_(?:in|out)\Z"),
    ("hunyuan-video", r"individual_token_refiner|\Acontext_embedder_token_refiner"),
    ("hidream", r"(?:double|single)_stream_blocks"),
    ("auraflow", r"\Ajoint_transformer_blocks_\d|\A(?:double|single)_layers_\d"),
    ("sd3", r"joint_blocks_\d|_context_block_"),
    ("qwen-image", r"\Atransformer_blocks_\d+_(?:img|txt)_m(?:lp|od)_"),
    ("kandinsky", r"\A(?:visual|text)_transformer_blocks_"),
    ("ltx-video", r"_audio_attn|_audio_ff|audio_to_video|video_to_audio"),
    ("anima", r"\Allm_adapter_"),
    ("cosmos", r"\Ablocks_\d+_(?:(?:self|cross)_attn_(?:q|k|v|output)_proj|mlp_layer\d|adaln_modulation)"),
    ("wan", r"\Ablocks_\d+_(?:(?:self|cross)_attn_(?:[qkvo]|[kv]_img)\Z|ffn_)"),
    ("mochi", r"\Atransformer_blocks_\d+_attn1_add_[qkv]_proj|\Ablocks_\d+_attn_(?:qkv|proj)_[xy]\Z"),
    ("sana", r"_ff_conv_(?:inverted|depth|point)"),
)
"""Names that no other family has, with underscores for dots."""

_HUNYUAN = re.compile(
    r"blocks\.\d+\.(?:img|txt)_attn_(?:qkv|proj)|blocks[._]\d+[._](?:(?:img|txt)_mlp[._]fc|(?:img|txt)_mod[._]linear"
    r"|modulation[._]linear|(?:img|txt)_attn_[qkv]\Z)"
)
"""FLUX writes `img_attn.qkv`, `img_mlp.0`, `img_mod.lin`; in kohya's layout of the attentions both look alike."""
_FLUX_BLOCKS, _FLUX_SINGLES = 19, 38
_HUNYUAN_IMAGE = 3584
_FLUX2_WIDTHS = (4096, 6144)
_SD3_WIDTHS = (1536, 2432)
_SAME_TENSORS = (
    ("flux", "chroma"),
    ("flux", "hunyuan-video"),
    ("hunyuan-video", "flux"),
    ("cosmos", "anima"),
    ("lumina2", "z-image"),
    ("z-image", "lumina2"),
)
"""Found family and another one that the same names may mean."""


def may_be(found: str, said: str) -> bool:
    """True where tensors in which `found` was seen may be of the family `said` all the same."""
    return found == "transformer" or found == said or (found, said) in _SAME_TENSORS


def transformer_of(modules: Mapping[str, Sides]) -> str:
    """The family of a transformer's file; "transformer" for one that is not known, "" for a UNet's and for none.

    Args:
        modules: name of each module as the file has it, and its sides.
    """
    if any(name.startswith(_PRIOR) for name in modules):
        return "cascade"
    names = {name: _PREFIX.sub("", name, count=1) if _PREFIX.match(name) else name for name in modules}
    names = {name: rest for name, rest in names.items() if not _TEXT.match(name) and not _TEXT.match(rest)}
    if not names or any(_UNET.search(rest) for rest in names.values()):
        return ""
    seen = _Seen({rest: modules[name] for name, rest in names.items()})
    for family, pattern in _CERTAIN:
        if seen.has(pattern):
            return family
    if seen.has(r"\A(?:double|single)_blocks_\d"):
        return _double(seen)
    if seen.has(r"\Asingle_transformer_blocks_\d|\Atransformer_blocks_\d+_(?:attn_|ff_context_|norm1_context_)"):
        return _joint(seen)
    if seen.has(r"\Atransformer_blocks_\d+_attn[12]_"):
        return _crossed(seen)
    if seen.has(r"\Ablocks_\d+_attn[12]_to_"):
        return "transformer" if seen.width(r"_attn1_to_q\Z") == 1408 else "wan"
    if seen.has(r"\A(?:layers|noise_refiner|context_refiner)_\d+_(?:attention|attn|feed_forward|adaLN)_"):
        return _layered(seen)
    known = seen.has(r"\A(?:transformer_blocks|blocks|layers)_\d")
    return "transformer" if known or any(_OF_A_TRANSFORMER.match(name) for name in names) else ""


@dataclass(frozen=True)
class _Seen:
    """Modules without their prefixes."""

    modules: Mapping[str, Sides]

    @cached_property
    def plain(self) -> dict[str, Sides]:
        """Names with underscores for dots."""
        return {name.replace(".", "_"): sides for name, sides in self.modules.items()}

    def has(self, pattern: str) -> bool:
        """True where a name has it."""
        found = re.compile(pattern)
        return any(found.search(name) for name in self.plain)

    def sides(self, pattern: str) -> list[Sides]:
        """Of the modules whose names have it, where both are known."""
        found = re.compile(pattern)
        return [sides for name, sides in self.plain.items() if all(sides) and found.search(name)]

    def width(self, pattern: str) -> int:
        """Inputs of the first of them, 0 for none."""
        return next((inputs for _, inputs in self.sides(pattern)), 0)

    def last(self, blocks: str) -> int:
        """The highest number of a kind of blocks, -1 for none."""
        found = re.compile(rf"\A{blocks}_(\d{{1,4}})_")
        return max((int(match[1]) for name in self.plain if (match := found.match(name))), default=-1)

    def ratio(self, pattern: str, of_inputs: bool = False) -> float:
        """Outputs to inputs (or inputs to outputs) of the first of them, 0 for none."""
        out, inputs = next(iter(self.sides(pattern)), (0, 1))
        return (inputs / out if of_inputs else out / inputs) if out else 0.0


def _double(seen: _Seen) -> str:
    """`double_blocks`, `single_blocks`: FLUX.1, FLUX.2, HunyuanVideo or HunyuanImage."""
    width = seen.width(r"_(?:img|txt)_attn_(?:qkv|[qkv])\Z|_linear1\Z|_(?:img|txt)_mlp_(?:0|fc1)\Z|_mod_lin(?:ear)?\Z")
    if width == _HUNYUAN_IMAGE:
        return "hunyuan-image"
    if any(_HUNYUAN.search(name) for name in seen.modules):
        return "hunyuan-video"
    # FLUX.2's feed-forward layers are three times as wide and gated, FLUX.1's four times.
    gated = (
        seen.ratio(r"_linear1\Z") == 9
        or seen.ratio(r"_linear2\Z", of_inputs=True) == 4
        or seen.ratio(r"_mlp_0\Z") == 6
        or seen.ratio(r"_mlp_2\Z", of_inputs=True) == 3
    )
    if gated or width in _FLUX2_WIDTHS:
        return "flux2"
    more = seen.last("double_blocks") >= _FLUX_BLOCKS or seen.last("single_blocks") >= _FLUX_SINGLES
    return "hunyuan-video" if more else "flux"


def _joint(seen: _Seen) -> str:
    """diffusers' names of transformers whose texts and pictures attend to each other."""
    width = seen.width(r"_attn_(?:to_[qkv]|add_[qkv]_proj)\Z|_proj_mlp\Z|_net_0_proj\Z")
    last = seen.last("transformer_blocks")
    if width == _HUNYUAN_IMAGE:
        return "hunyuan-image"
    if seen.has(r"\Asingle_transformer_blocks_\d"):
        if seen.has(r"\Asingle_transformer_blocks_\d+_(?:attn_to_out_0|ff_linear_\d)\Z"):
            return "auraflow"
        if width in _FLUX2_WIDTHS or seen.has(r"\Asingle_transformer_blocks_\d+_attn_to_out\Z"):
            return "flux2"
        more = last >= _FLUX_BLOCKS or seen.last("single_transformer_blocks") >= _FLUX_SINGLES
        return "hunyuan-video" if more else "flux"
    if width in _SD3_WIDTHS:
        return "sd3"
    if width in _FLUX2_WIDTHS:
        return "flux2"
    if width == 2048 and last > _FLUX_SINGLES:
        return "hunyuan-video"  # 1.5: 54 blocks
    if width == 3072 and last > _FLUX_BLOCKS:
        return "qwen-image"
    if width == 3072 and (last == _FLUX_BLOCKS - 1 or seen.has("_ff_context_|_norm1_context_")):
        return "flux"
    return "transformer"


def _crossed(seen: _Seen) -> str:
    """diffusers' names of transformers that attend to pictures first and to texts then."""
    width, texts = seen.width(r"_attn1_to_[qkv]\Z"), seen.width(r"_attn2_to_[kv]\Z")
    crossed = seen.has("_attn2_")
    if (texts == 1024 and width != 1024) or seen.has("_norm1_linear_1"):
        return "cosmos"
    if width == 1152 and seen.has("_ff_net_"):
        return "pixart"
    if width in (1120, 2240):
        return "sana"
    if crossed and width in (2048, 4096) and texts in (0, width):
        return "ltx-video"
    if not crossed and width in (1920, 3072):
        return "cogvideox"
    return "transformer"


def _layered(seen: _Seen) -> str:
    """`layers`, `noise_refiner`, `context_refiner`: Z-Image or Lumina 2."""
    width = seen.width(r"_attention_(?:qkv|to_[qkv])\Z|_attn_to_q\Z|_feed_forward_(?:w1|w3|linear_1)\Z")
    known = {3840: "z-image", 2304: "lumina2"}.get(width)
    if known:
        return known
    if seen.has(r"_attention_to_[qkv]\Z"):
        return "z-image"
    return "transformer" if seen.has("_attn_to_") and not seen.has("_refiner_") else "lumina2"


def sides_of(parts: Mapping[str, tuple[int, ...]]) -> Sides:
    """Outputs and inputs by the shapes of a module's parts (`headers.parts`), 0 where they do not tell."""
    shapes = {part: shape for part, shape in parts.items() if shape}
    if "diff" in shapes:
        return shapes["diff"][0], shapes["diff"][1] if len(shapes["diff"]) > 1 else 0
    if "hada_w1_a" in shapes or "hada_w1_b" in shapes:
        core = "hada_t1" in shapes
        return _side(shapes.get("hada_w1_a"), int(core)), _side(shapes.get("hada_w1_b"), 1)
    if "a2" in shapes:
        out, inputs = glora_sides(shapes) or (0, 0)
        return out, inputs
    if any(part.startswith("lokr_") for part in shapes):
        first = _half(shapes, "lokr_w1")
        second = _half(shapes, "lokr_w2")
        return first[0] * second[0], first[1] * second[1]
    return _side(shapes.get("lora_up"), 0), _side(shapes.get("lora_down"), 1)


def _half(shapes: Mapping[str, tuple[int, ...]], name: str) -> Sides:
    whole = shapes.get(name)
    if whole is not None:
        return _side(whole, 0), _side(whole, 1)
    return _side(shapes.get(f"{name}_a"), int("lokr_t2" in shapes)), _side(shapes.get(f"{name}_b"), 1)


def _side(shape: tuple[int, ...] | None, axis: int) -> int:
    return shape[axis] if shape is not None and len(shape) > axis else 0
