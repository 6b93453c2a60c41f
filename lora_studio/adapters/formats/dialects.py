"""Module names to layers: what every trainer calls the same layer.

A module's name is a prefix that tells the component and a path. Paths come with dots or, in kohya's layout, with
underscores, from which the dots cannot be recovered; so the spellings of all layers that a base has are listed once and
names are looked up among them. It does not know what a module's tensors mean.

    lora_unet_down_blocks_0_...         kohya, LyCORIS, OneTrainer      lora_unet_input_blocks_4_1_...   kohya, SGM
    lora_te_, lora_te1_, lora_te2_      with and without text_model_    lora_unet.down_blocks.0....      dotted
    unet.down_blocks.0....              diffusers                       unet....attn1.processor.to_q     before 0.20
    base_model.model.<any of these>     peft                            down_blocks.0....                bare
    diffusion_model.input_blocks....    ComfyUI                         text_encoder.text_model....      diffusers

Sources: kohya-ss/sd-scripts networks/lora.py (LoRANetwork.create_modules); huggingface/diffusers
loaders/lora_conversion_utils.py; transformers >= 5.6 dropped `text_model.` from CLIPTextModel's module names, files go
on saying it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lora_studio.adapters.formats.ldm import LdmNames

UNET, TEXT, TEXT_2, TRANSFORMER = "unet", "text_encoder", "text_encoder_2", "transformer"

_PREFIXES = (
    ("base_model.model.", ""),
    ("lora_unet_", UNET),
    ("lora_unet.", UNET),
    ("lora_te1_", TEXT),
    ("lora_te1.", TEXT),
    ("lora_te2_", TEXT_2),
    ("lora_te2.", TEXT_2),
    ("lora_te_", TEXT),
    ("lora_te.", TEXT),
    ("lora_prior_unet_", "prior_unet"),
    ("oft_unet_", UNET),
    ("oft_te_", TEXT),
    ("lycoris_", ""),
    ("lora_transformer_", TRANSFORMER),
    ("lora_transformer.", TRANSFORMER),
    ("unet.", UNET),
    ("unet_", UNET),
    ("model.diffusion_model.", UNET),
    ("diffusion_model.", UNET),
    ("text_encoder_2.", TEXT_2),
    ("text_encoder_2_", TEXT_2),
    ("text_encoder.", TEXT),
    ("text_encoder_", TEXT),
    ("cond_stage_model.transformer.", TEXT),
    ("text_encoders.clip_l.transformer.", TEXT),
    ("text_encoders.clip_g.transformer.", TEXT_2),
    ("clip_l.transformer.", TEXT),
    ("clip_g.transformer.", TEXT_2),
    ("transformer.", TRANSFORMER),
)
_BARE = (
    (("down_blocks", "up_blocks", "mid_block", "conv_in", "conv_out", "time_embed", "add_embedding"), UNET),
    (("input_blocks", "middle_block", "output_blocks", "label_emb"), UNET),
    (("transformer_blocks.", "single_transformer_blocks."), TRANSFORMER),
    (("text_model", "encoder.layers", "encoder_layers", "text_projection"), TEXT),
)
_OLD_ATTENTION = re.compile(r"(?:\.processor)?\.(to_[qkv]|to_out)\Z")
_OLD_TEXT = (("to_q", "q_proj"), ("to_k", "k_proj"), ("to_v", "v_proj"), ("to_out", "out_proj"))


def component_of(module: str) -> tuple[str, str]:
    """Component and path of a module's name; component "" where the name does not tell."""
    path = module
    for prefix, found in _PREFIXES:
        if path.startswith(prefix):
            path = path[len(prefix) :]
            if found:
                return found, path.removeprefix("base_model.model.")
    for beginnings, found in _BARE:
        if path.startswith(beginnings):
            return found, path
    return "", path


class LayerIndex:
    """Every spelling of the layers that a base has.

    Attributes:
        components: those that the base has.
    """

    def __init__(self, layers: Iterable[str]) -> None:
        self._keys: dict[tuple[str, str], str] = {}
        paths: dict[str, list[str]] = {}
        for key in layers:
            component, _, path = key.partition(".")
            paths.setdefault(component, []).append(path)
        self.components = frozenset(paths)
        for component, own in paths.items():
            ldm = LdmNames(own) if component == UNET else None
            for path in own:
                self._keys[component, _spelled(component, path)] = f"{component}.{path}"
            for path in own if ldm else ():
                name = ldm.of(path) if ldm else None
                if name is not None:
                    self._keys.setdefault((component, _spelled(component, name)), f"{component}.{path}")

    def find(self, component: str, path: str) -> str | None:
        """The layer key of a module, None where the base has no such layer."""
        return self._keys.get((component, _spelled(component, path)))


def _spelled(component: str, path: str) -> str:
    """One spelling for all: underscores for dots, old attention names as new ones, no `text_model`."""
    old = _OLD_ATTENTION.search(path)
    if component == UNET and old is not None and (old[0].startswith(".processor") or old[1] == "to_out"):
        path = path[: old.start()] + "." + ("to_out.0" if old[1] == "to_out" else old[1])
    if component in (TEXT, TEXT_2):
        for written, meant in _OLD_TEXT:
            if path.endswith("self_attn." + written):
                path = path[: -len(written)] + meant
        path = path.removeprefix("text_model.").removeprefix("text_model_")
    return path.replace(".", "_")


def kohya_name(layer: str, numbered: bool = False) -> str:
    """kohya's module name of a layer key, e.g. `lora_unet_mid_block_attentions_0_proj_in`.

    Args:
        numbered: the base has two text encoders (SDXL), so that the first is `lora_te1_`.
    """
    component, path = layer.split(".", 1)
    prefixes = {UNET: "lora_unet_", TEXT: "lora_te1_" if numbered else "lora_te_", TEXT_2: "lora_te2_"}
    if component in (TEXT, TEXT_2) and not path.startswith(("text_model.", "text_projection")):
        path = "text_model." + path
    return prefixes.get(component, f"lora_{component}_") + path.replace(".", "_")


def sdxl_name(layer: str, ldm: LdmNames) -> str:
    """kohya's module name of a layer of Stable Diffusion XL: the UNet's by its original name, as `ldm` has it."""
    component, path = layer.split(".", 1)
    original = ldm.of(path) if component == UNET else None
    return kohya_name(f"{component}.{original or path}", numbered=True)
