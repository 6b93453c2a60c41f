"""Kinds written by peft and diffusers themselves, whose own models say what the outputs become."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.adapters.corpus import Kind, Made
from tests.support.tiny_models import TinyModels

TARGETS = ["to_q", "to_k", "to_out.0", "proj_in", "conv1"]
LINEAR = ["to_q", "to_v", "ff.net.2"]


def by_peft(
    config: Callable[[], Any], component: str = "unet", size: float = 0.1, keep_config: bool = True
) -> Callable[[TinyModels, Path], Made]:
    """A folder as `save_pretrained` writes it, of a copy of one component."""

    def make(models: TinyModels, folder: Path) -> Made:
        import peft

        tree = copy.deepcopy(models.trees[component])
        with torch.random.fork_rng():
            torch.manual_seed(3)
            wrapped = peft.get_peft_model(tree, config())
            with torch.no_grad():
                for name, parameter in wrapped.named_parameters():
                    if "magnitude" in name:
                        parameter.mul_(1 + 0.2 * torch.randn_like(parameter))
                    elif "ia3_l" in name:
                        parameter.add_(0.3 * torch.randn_like(parameter))
                    elif any(part in name for part in ("lora_", "hada_", "lokr_", "oft_R")):
                        parameter.copy_(size * torch.randn_like(parameter))
        wrapped.eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft takes a bias of B for a factor of the wrong shape
            wrapped.save_pretrained(folder, safe_serialization=True)
        if not keep_config:
            (folder / "adapter_config.json").unlink()
        trees = {**models.trees, component: _inner(wrapped)}
        outputs = models.run(trees=trees)
        kept = () if keep_config else ("adapter_no_config",)
        return Made(outputs=outputs, path=folder / "adapter_model.safetensors", warns=kept, says=("peft",))

    return make


def _inner(wrapped: nn.Module) -> nn.Module:
    """The model within peft's shell, its layers replaced by peft's."""
    inner: nn.Module = wrapped.base_model.model  # type: ignore[union-attr,assignment]
    return inner


def in_header(models: TinyModels, folder: Path) -> Made:
    """The peft layout with its config in the header, as some exporters write it: no folder is needed."""
    made = by_peft(_lora(), keep_config=True)(models, folder)
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text())
    facts = {f"unet.{key}": config[key] for key in ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora")}
    assert made.path is not None
    return Made(load_file(made.path), outputs=made.outputs, metadata={"lora_adapter_metadata": json.dumps(facts)})


def by_diffusers(models: TinyModels, folder: Path) -> Made:
    """What diffusers' training scripts leave: `save_lora_weights` of UNet and text encoder, with its own metadata."""
    from diffusers import StableDiffusionPipeline
    from diffusers.training_utils import _collate_lora_metadata
    from peft.utils import get_peft_model_state_dict

    unet, text = (copy.deepcopy(models.trees[name]) for name in ("unet", "text_encoder"))
    with torch.random.fork_rng():
        torch.manual_seed(4)
        unet.add_adapter(_lora(rank_pattern={"to_k": 2}, alpha_pattern={"to_k": 8})())  # type: ignore[operator]
        text.add_adapter(_lora(target_modules=["q_proj", "fc2"], use_rslora=True)())  # type: ignore[operator]
        with torch.no_grad():
            for tree in (unet, text):
                for name, parameter in tree.named_parameters():
                    if "lora_" in name:
                        parameter.copy_(0.1 * torch.randn_like(parameter))
    StableDiffusionPipeline.save_lora_weights(
        folder,
        unet_lora_layers=get_peft_model_state_dict(unet),
        text_encoder_lora_layers=get_peft_model_state_dict(text),
        **_collate_lora_metadata({"unet": unet, "text_encoder": text}),
    )
    outputs = models.run(trees={**models.trees, "unet": unet.eval(), "text_encoder": text.eval()})
    return Made(outputs=outputs, path=folder / "pytorch_lora_weights.safetensors", says=("diffusers",))


def _lora(**options: Any) -> Callable[[], Any]:
    def config() -> Any:
        from peft import LoraConfig

        return LoraConfig(**({"r": 3, "lora_alpha": 5, "target_modules": TARGETS} | options))

    return config


def _other(name: str, **options: Any) -> Callable[[], Any]:
    def config() -> Any:
        import peft

        return getattr(peft, name)(**options)

    return config


def kinds() -> list[Kind]:
    """The rows."""

    def peft(name: str, group: str, says: str, make: Callable[[TinyModels, Path], Made], base: str = "sd") -> Kind:
        return Kind(name, group, says, make, base, writer="peft")

    patterns = {"rank_pattern": {"to_k": 2, "conv1": 5}, "alpha_pattern": {"to_k": 7}}
    text = _lora(target_modules=["q_proj", "fc1"])
    same = _lora(lora_alpha=3)
    twice = {"r": 2, "alpha": 6, "target_modules": TARGETS, "init_weights": False}
    linear = {"r": 2, "alpha": 6, "target_modules": LINEAR, "init_weights": False}
    return [
        peft("peft", "layout", "`save_pretrained` of a UNet with its config", by_peft(_lora())),
        peft("peft, patterns", "layout", "`rank_pattern`, `alpha_pattern`", by_peft(_lora(**patterns))),
        peft("peft, rsLoRA", "layout", "alpha/√rank", by_peft(_lora(use_rslora=True))),
        peft("peft, text encoder", "layout", "a text encoder saved alone", by_peft(text, "text_encoder")),
        peft(
            "peft, second text encoder",
            "layout",
            "SDXL's second one saved alone: told from the first by its width",
            by_peft(_lora(target_modules=["q_proj", "fc1"]), "text_encoder_2"),
            "sdxl",
        ),
        peft("peft without config", "layout", "alpha is taken as the rank, and said", by_peft(same, keep_config=False)),
        peft("peft, config in the header", "layout", "`lora_adapter_metadata`", in_header),
        Kind(
            "diffusers, save_lora_weights",
            "layout",
            "UNet and text encoder of a training script, patterns and rsLoRA in the header",
            by_diffusers,
            writer="diffusers",
        ),
        peft("peft, DoRA", "arithmetic", "`lora_magnitude_vector`, convolutions too", by_peft(_lora(use_dora=True))),
        peft(
            "peft, bias of B",
            "arithmetic",
            "`lora_B.bias`",
            by_peft(_lora(lora_bias=True, target_modules=["conv1", "proj_in", "to_out.0"])),
        ),
        peft(
            "peft, LoHa",
            "arithmetic",
            "`hada_w1_a` …, alpha in the config",
            by_peft(_other("LoHaConfig", **twice), size=0.3),
        ),
        peft(
            "peft, LoKr",
            "arithmetic",
            "`lokr_w1` …, scaled where whole too",
            by_peft(_other("LoKrConfig", **twice), size=0.3),
        ),
        peft(
            "peft, LoKr both",
            "arithmetic",
            "`decompose_both`",
            by_peft(_other("LoKrConfig", decompose_both=True, decompose_factor=4, **(linear | {"r": 1})), size=0.3),
        ),
        peft(
            "peft, IA3",
            "arithmetic",
            "`ia3_l` of outputs and, in feed-forward layers, of inputs",
            by_peft(_other("IA3Config", target_modules=LINEAR, feedforward_modules=["ff.net.2"])),
        ),
        peft(
            "peft, OFT",
            "arithmetic",
            "`oft_R`, rotations of the inputs by a series",
            by_peft(_other("OFTConfig", oft_block_size=4, r=0, target_modules=LINEAR)),
        ),
        peft(
            "peft, OFT exact",
            "arithmetic",
            "`oft_R`, rotations of the inputs by an inverse",
            by_peft(_other("OFTConfig", oft_block_size=4, r=0, target_modules=LINEAR, use_cayley_neumann=False)),
        ),
        peft(
            "peft SDXL",
            "layout",
            "`save_pretrained` of an SDXL UNet",
            by_peft(_lora()),
            "sdxl",
        ),
    ]
