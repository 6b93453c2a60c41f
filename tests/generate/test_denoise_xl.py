"""Stable Diffusion XL's denoising against diffusers' own pipeline, on real tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.generate.denoise import PictureTask, denoise
from lora_studio.generate.job import generate
from lora_studio.generate.samplers import make_scheduler
from lora_studio.pipeline import ModelCall, SharedBase
from lora_studio.pipeline.calls import Mix
from lora_studio.pipeline.conditioning import always
from lora_studio.types import SAMPLERS, GenerateRequest
from tests.support.schedulers import reference
from tests.support.tiny import drive, kohya_file, load_tiny, random_adapter, write_tiny_xl

# What the reference itself warns of when it holds two adapters.
pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config`")

STEPS, SIZE = 4, (32, 48)
PROMPTS = ("1girl, blue hair", "no humans, red star")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_xl(tmp_path_factory.mktemp("xl"))


@pytest.fixture(scope="module")
def base(folder: Path) -> SharedBase:
    return load_tiny(folder)


def mixed(base: SharedBase) -> Mix:
    return (random_adapter(base, 1), 0.7), (random_adapter(base, 2), -0.4)


@pytest.fixture(scope="module")
def pipeline(folder: Path, base: SharedBase, tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionXLPipeline:
    """diffusers' pipeline on its own copy of the base, with two adapters loaded by diffusers from kohya files."""
    pipe = StableDiffusionXLPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    out = tmp_path_factory.mktemp("adapters")
    for seed in (1, 2):
        path = kohya_file(random_adapter(base, seed), out / f"{seed}.safetensors", names=base.family.kohya_name)
        pipe.load_lora_weights(str(out), weight_name=path.name, adapter_name=f"a{seed}")
    pipe.set_adapters(["a1", "a2"], [0.7, -0.4])
    return pipe


def ours(base: SharedBase, mix: Mix, sampler: str, guidance: float, noise: torch.Tensor) -> torch.Tensor:
    conditions = base.family.encode_text([*PROMPTS, ""], [mix] * 3)
    tasks = [
        PictureTask(7 + i, always(conditions[i]), always(conditions[2]), guidance, mix, noise[i]) for i in range(2)
    ]
    loop = denoise(base, tasks, make_scheduler(sampler, base.scheduler_config), STEPS, SIZE)
    want = next(loop)
    try:
        while True:
            want = loop.send(base.predict(want)) if isinstance(want, ModelCall) else next(loop)
    except StopIteration as end:
        return end.value


def theirs(pipe: StableDiffusionXLPipeline, base: SharedBase, sampler: str, guidance: float, noise: torch.Tensor):
    pipe.scheduler = reference(sampler, base.scheduler_config)
    return pipe(
        list(PROMPTS),
        latents=noise.clone(),
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(7 + i) for i in range(2)],
        output_type="latent",
        height=SIZE[0],
        width=SIZE[1],
    ).images


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_denoise_equals_diffusers_pipeline(
    base: SharedBase, pipeline: StableDiffusionXLPipeline, sampler: str, guidance: float
) -> None:
    """Batch 2, not square, no negative prompt (zeros), two adapters on UNet and both text encoders: equal to 1e-5."""
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    found, wanted = (
        ours(base, mixed(base), sampler, guidance, noise),
        theirs(pipeline, base, sampler, guidance, noise),
    )
    assert torch.isfinite(wanted).all()
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_v_prediction_with_zero_snr_equals_diffusers(tmp_path: Path) -> None:
    folder = write_tiny_xl(tmp_path, "v_prediction", zero_snr=True)
    base, pipe = load_tiny(folder), StableDiffusionXLPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    for sampler in ("euler", "dpmpp_2m_karras"):
        found, wanted = ours(base, (), sampler, 5.0, noise), theirs(pipe, base, sampler, 5.0, noise)
        assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max(), sampler


@pytest.mark.parametrize("component", ["unet", "text_encoder", "text_encoder_2"])
def test_adapters_act_on_every_part(base: SharedBase, component: str) -> None:
    """The equality above would hold of two pipelines that both left a part out."""
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    whole = random_adapter(base, 1)
    part = {key: change for key, change in whole.layers.items() if key.startswith(component + ".")}
    one = ((CanonicalAdapter(component, part), 0.7),)
    plain, changed = (ours(base, mix, "euler", 4.0, noise) for mix in ((), one))
    assert part
    assert (plain - changed).abs().max() > 1e-4 * plain.abs().max()


def test_weight_zero_is_the_base_bit_for_bit(base: SharedBase) -> None:
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    zero = tuple((adapter, 0.0) for adapter, _ in mixed(base))
    assert torch.equal(ours(base, (), "euler", 4.0, noise), ours(base, zero, "euler", 4.0, noise))


def test_the_file_has_the_names_of_stability_ai(base: SharedBase, tmp_path: Path) -> None:
    """As kohya's tools write them: blocks counted one by one, text encoders te1 and te2."""
    path = kohya_file(random_adapter(base, 1), tmp_path / "a.safetensors", names=base.family.kohya_name)
    modules = {name.partition(".")[0] for name in load_file(path)}
    # layers_per_block is 1: block 0 is input_blocks.1 and its downsampler 2, block 1 is input_blocks.3.
    for name in (
        "lora_unet_input_blocks_3_1_transformer_blocks_1_attn2_to_k",
        "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q",
        "lora_unet_output_blocks_0_1_transformer_blocks_0_attn1_to_out_0",
        "lora_unet_input_blocks_1_0_in_layers_2",
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te2_text_model_encoder_layers_3_self_attn_q_proj",
    ):
        assert name in modules, name
    assert not any("down_blocks" in name or "up_blocks" in name for name in modules)


def test_a_request_becomes_a_picture(base: SharedBase) -> None:
    """Through the whole job, with schedules, AND, weights and unequal lengths; the same request, the same bytes."""
    request = GenerateRequest(
        prompt="(cat:1.3) [dog:star:0.5] AND red " + "hair, " * 40,
        negative_prompt="",
        width=48,
        height=32,
        num_inference_steps=3,
        guidance_scale=5.0,
        sampler=base.info.defaults.sampler,
        seed=1,
    )
    one, two = (drive(base, generate(base, [request], lambda sha256: {}[sha256])) for _ in range(2))
    assert one[0].png == two[0].png
    assert base.info.defaults.sampler == "euler"
    assert base.info.family == "sdxl"
