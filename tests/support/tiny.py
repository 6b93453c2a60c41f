"""Real models of tiny size with random weights, in diffusers' layout: every numeric truth is tested on these."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lora_studio.adapters.canonical import CanonicalAdapter, LowRank
from lora_studio.adapters.kohya import to_kohya
from lora_studio.generate import generate
from lora_studio.pipeline import ModelCall, NeedPreview, Precision, Report, SharedBase, load_base
from lora_studio.pipeline.source import find_base
from tests.support.tiny_models import tiny_xl_unet

ASSETS = Path(__file__).resolve().parents[2] / "assets"
EXACT = Precision(torch.device("cpu"), torch.float32, None)


def write_tiny_base(
    folder: Path, prediction_type: str = "epsilon", zero_snr: bool = False, seed: int = 0, width: int = 32
) -> Path:
    """A Stable-Diffusion-architecture base of some 0.3 million random parameters; pictures of 32x32, f = 2."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 32),
        latent_channels=4,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=32,
        mid_block_add_attention=False,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=1290,
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            bos_token_id=1288,
            eos_token_id=1289,
            pad_token_id=1289,
        )
    )
    # Rescaled betas and trailing steps are what a base with zero terminal SNR declares.
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction_type,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing" if zero_snr else "leading",
        steps_offset=1,
        clip_sample=False,
    )
    for module, name in ((unet, "unet"), (vae, "vae"), (text, "text_encoder"), (scheduler, "scheduler")):
        module.save_pretrained(folder / name)
    shutil.copytree(ASSETS / "base" / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    shutil.copy(ASSETS / "base" / "model_index.json", folder / "model_index.json")
    return folder


def write_tiny_xl(folder: Path, prediction_type: str = "epsilon", zero_snr: bool = False, zeros: bool = True) -> Path:
    """A Stable-Diffusion-XL-architecture base of some 0.5 million random parameters; pictures of 32x32, f = 2."""
    torch.manual_seed(0)
    unet = tiny_xl_unet(
        sample_size=16,
        block_out_channels=(32, 64),
        attention_head_dim=(2, 4),
        cross_attention_dim=32 + 48,
        norm_num_groups=8,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=40 + 6 * 8,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 32),
        latent_channels=4,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=32,
        scaling_factor=0.13025,
        force_upcast=True,
        mid_block_add_attention=False,
    )
    shared = {"vocab_size": 1290, "bos_token_id": 1288, "eos_token_id": 1289, "pad_token_id": 1289}
    small = CLIPTextConfig(
        **shared, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, projection_dim=32
    )
    large = CLIPTextConfig(
        **shared,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        projection_dim=40,
        hidden_act="gelu",
    )
    texts = {"text_encoder": CLIPTextModel(small), "text_encoder_2": CLIPTextModelWithProjection(large)}
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction_type,
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing" if zero_snr else "leading",
        steps_offset=1,
    )
    for name, module in ({"unet": unet, "vae": vae, "scheduler": scheduler} | texts).items():
        module.save_pretrained(folder / name)
    for name, pad in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        CLIPTokenizer.from_pretrained(ASSETS / "base" / "tokenizer", pad_token=pad).save_pretrained(folder / name)
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": zeros,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def load_tiny(folder: Path) -> SharedBase:
    """The base in `folder` in float32 without autocast, so that equalities are exact."""
    return load_base(find_base(str(folder), folder), EXACT)


def random_adapter(
    base: SharedBase, seed: int, rank: int = 3, size: float = 0.05, text: bool = True
) -> CanonicalAdapter:
    """An adapter on attention, convolutions and (with `text`) the text encoder, with random factors."""
    generator = torch.Generator().manual_seed(seed)
    layers = {}
    for key, layer in base.layers.items():
        wanted = "attn" in key or "resnets" in key or (text and "q_proj" in key)
        if not wanted or layer.is_norm:
            continue
        down = torch.randn(rank, *layer.shape[1:], generator=generator) * size
        ones = (1, 1) if layer.is_conv else ()
        layers[key] = LowRank(down, torch.randn(layer.shape[0], rank, *ones, generator=generator) * size)
    return CanonicalAdapter(key=f"random-{seed}", layers=layers)


def kohya_file(adapter: CanonicalAdapter, path: Path, **options: Any) -> Path:
    """Write an adapter as a kohya file in float32."""
    from safetensors.torch import save_file

    save_file(to_kohya(adapter, dtype=torch.float32, **options), path, metadata={"made_by": "tests"})
    return path


def drive(base: SharedBase, job: Generator[Any, Any, Any], seen: Callable[[Any], None] = lambda want: None) -> Any:
    """Run a job alone to its end, as the arbiter would; `seen` is shown every want."""
    stack, inbox = [job], None
    while True:
        try:
            want = stack[-1].send(inbox)
        except StopIteration as end:
            stack.pop()
            inbox = end.value
            if not stack:
                return end.value
            continue
        seen(want)
        inbox = None
        if isinstance(want, ModelCall):
            inbox = base.predict(want)
        elif isinstance(want, NeedPreview):
            stack.append(generate(base, want.requests, lambda sha256: {}[sha256], live=want.live))
        elif isinstance(want, Report):
            json.dumps({key: str(value) for key, value in want.data.items()})
