"""The denoising loop against diffusers' own pipeline, on real tiny models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

from lora_studio.generate.denoise import PictureTask, _rescaled, denoise
from lora_studio.generate.samplers import make_scheduler
from lora_studio.pipeline import ModelCall, SharedBase
from lora_studio.pipeline.calls import Mix
from lora_studio.pipeline.conditioning import Segment, TextCondition, always
from lora_studio.types import SAMPLERS
from tests.support.schedulers import reference
from tests.support.tiny import kohya_file, load_tiny, random_adapter, write_tiny_base

# What the reference itself warns of when it holds two adapters.
pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config`")

SCHEDULES = {"epsilon": ("epsilon", False), "v": ("v_prediction", False), "v zero SNR": ("v_prediction", True)}
STEPS, SIZE = 5, (32, 48)
PROMPTS = ("1girl, blue hair", "no humans, red star")


@pytest.fixture(scope="module", params=list(SCHEDULES))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SharedBase]:
    prediction, zero = SCHEDULES[request.param]
    folder = write_tiny_base(tmp_path_factory.mktemp("tiny"), prediction, zero)
    return folder, load_tiny(folder)


@pytest.fixture(scope="module")
def pipeline(tiny: tuple[Path, SharedBase], tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionPipeline:
    """diffusers' pipeline on its own copy of the base, with two adapters loaded by diffusers from kohya files."""
    folder, base = tiny
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    out = tmp_path_factory.mktemp("adapters")
    for seed in (1, 2):
        path = kohya_file(random_adapter(base, seed), out / f"{seed}.safetensors")
        pipe.load_lora_weights(str(out), weight_name=path.name, adapter_name=f"a{seed}")
    pipe.set_adapters(["a1", "a2"], [0.7, -0.4])
    return pipe


def ours(
    base: SharedBase,
    mix: Mix,
    sampler: str,
    guidance: float,
    noise: torch.Tensor,
    rescale: float = 0.0,
    by_step: tuple[tuple[int, Mix], ...] = (),
) -> torch.Tensor:
    """`mix` reads the words, and acts in the UNet where `by_step` (step, mix from there on) says nothing else."""
    conditions = base.family.encode_text([*PROMPTS, ""], [mix] * 3)
    tasks = [
        PictureTask(7 + i, always(conditions[i]), always(conditions[2]), guidance, mix, noise[i], rescale, by_step)
        for i in range(2)
    ]
    loop = denoise(base, tasks, make_scheduler(sampler, base.scheduler_config), STEPS, SIZE)
    want = next(loop)
    try:
        while True:
            want = loop.send(base.predict(want)) if isinstance(want, ModelCall) else next(loop)
    except StopIteration as end:
        return end.value


def theirs(
    pipe: StableDiffusionPipeline,
    base: SharedBase,
    sampler: str,
    guidance: float,
    noise: torch.Tensor,
    rescale: float = 0.0,
    **more: Any,
) -> torch.Tensor:
    pipe.scheduler = reference(sampler, base.scheduler_config)
    # Starting noise is handed in on both sides, so the generators serve the ancestral noise alone.
    generators = [torch.Generator().manual_seed(7 + i) for i in range(2)]
    return pipe(
        list(PROMPTS),
        latents=noise.clone(),
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        guidance_rescale=rescale,
        generator=generators,
        output_type="latent",
        height=SIZE[0],
        width=SIZE[1],
        **more,
    ).images


@pytest.mark.parametrize(
    "guidance", [pytest.param(1.0, marks=pytest.mark.slow), pytest.param(4.0, marks=pytest.mark.slow), 7.5]
)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_denoise_equals_diffusers_pipeline(
    tiny: tuple[Path, SharedBase], pipeline: StableDiffusionPipeline, sampler: str, guidance: float
) -> None:
    """Batch 2, not square, two weighted adapters on UNet and text encoder: equal to 1e-5 of the latents' size."""
    _, base = tiny
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    mix = ((random_adapter(base, 1), 0.7), (random_adapter(base, 2), -0.4))
    found, wanted = ours(base, mix, sampler, guidance, noise), theirs(pipeline, base, sampler, guidance, noise)
    assert torch.isfinite(wanted).all()
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("rescale", [pytest.param(0.3, marks=pytest.mark.slow), 1.0])
def test_rescaled_guidance_equals_diffusers(
    tiny: tuple[Path, SharedBase], pipeline: StableDiffusionPipeline, rescale: float
) -> None:
    _, base = tiny
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    mix = ((random_adapter(base, 1), 0.7), (random_adapter(base, 2), -0.4))
    plain = ours(base, mix, "euler", 7.5, noise)
    found = ours(base, mix, "euler", 7.5, noise, rescale)
    wanted = theirs(pipeline, base, "euler", 7.5, noise, rescale)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert (found - plain).abs().max() > 1e-3 * plain.abs().max()  # a hundred times what is allowed above
    assert torch.equal(ours(base, mix, "euler", 1.0, noise, rescale), ours(base, mix, "euler", 1.0, noise))


@pytest.mark.parametrize("sampler", ["euler_a", "dpmpp_2m"])
def test_adapters_for_a_part_of_the_steps_equal_diffusers(
    tiny: tuple[Path, SharedBase], pipeline: StableDiffusionPipeline, sampler: str
) -> None:
    """One adapter ends after step 2, the other begins with step 4; diffusers' weights are changed between the steps.

    The words are read once, by both at their whole weights, on either side.
    """
    _, base = tiny
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    first, second = (random_adapter(base, 1), 0.7), (random_adapter(base, 2), -0.4)
    found = ours(base, (first, second), sampler, 4.0, noise, by_step=((1, (first,)), (3, ()), (4, (second,))))

    def weigh(
        pipe: StableDiffusionPipeline, index: int, _: object, kept: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        done = index + 1  # steps; these weights are of the next one
        pipe.unet.set_adapters(["a1", "a2"], [0.7 if done < 2 else 0.0, -0.4 if done >= 3 else 0.0])
        return kept

    pipeline.set_adapters(["a1", "a2"], [0.7, -0.4])
    pipeline.unet.set_adapters(["a1", "a2"], [0.7, 0.0])
    try:
        wanted = theirs(pipeline, base, sampler, 4.0, noise, callback_on_step_end=weigh)
    finally:
        pipeline.set_adapters(["a1", "a2"], [0.7, -0.4])
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert (found - ours(base, (first, second), sampler, 4.0, noise)).abs().max() > 1e-3 * wanted.abs().max()


def test_a_prediction_without_spread_is_not_rescaled() -> None:
    flat = torch.zeros(4, 2, 2)
    assert torch.equal(_rescaled(flat, flat, 1.0), flat)


def test_the_adapters_matter(tiny: tuple[Path, SharedBase]) -> None:
    """The equality above would hold of two pipelines that both ignore adapters; they do change the latents."""
    _, base = tiny
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    mix = ((random_adapter(base, 1), 0.7), (random_adapter(base, 2), -0.4))
    plain, mixed = (ours(base, m, "euler", 4.0, noise) for m in ((), mix))
    assert (plain - mixed).abs().max() > 1e-2 * plain.abs().max()


def test_weight_zero_is_the_base_bit_for_bit(tiny: tuple[Path, SharedBase]) -> None:
    _, base = tiny
    noise = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(3))
    zero = ((random_adapter(base, 1), 0.0), (random_adapter(base, 2), 0.0))
    assert torch.equal(ours(base, (), "dpmpp_2m", 4.0, noise), ours(base, zero, "dpmpp_2m", 4.0, noise))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_sampler_clips_latents_to_one(tiny: tuple[Path, SharedBase], sampler: str) -> None:
    """DDIM made from another scheduler's config kept `clip_sample` on: latents of ±1 and grey pictures."""
    _, base = tiny
    assert not make_scheduler(sampler, base.scheduler_config).config.get("clip_sample", False)


def test_euler_step_equals_diffusers() -> None:
    """Ours is the same step in another order of operations."""
    schedule = {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction"}
    one, two = make_scheduler("euler", schedule), EulerDiscreteScheduler(**schedule)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 8, 8, generator=generator) * 14
    for scheduler in (one, two):
        scheduler.set_timesteps(6)
    a = b = x
    for timestep in one.timesteps:
        prediction = torch.randn(x.shape, generator=generator)
        a, b = one.step(prediction, timestep, a).prev_sample, two.step(prediction, timestep, b).prev_sample
    assert torch.allclose(a, b, atol=1e-5)


def test_karras_leaves_zero_snr_noise_in_one_step(tmp_path: Path) -> None:
    """With zero terminal SNR, Karras spacing spent 13 of 18 steps above sigma 10."""
    base = load_tiny(write_tiny_base(tmp_path, "v_prediction", zero_snr=True))
    scheduler = make_scheduler("dpmpp_2m_karras", base.scheduler_config)
    scheduler.set_timesteps(18)
    assert scheduler.sigmas[0] > 1000
    assert int((scheduler.sigmas > 10).sum()) <= 4
    assert bool((scheduler.sigmas.diff() < 0).all())


# ------------------------------------------------------------ several texts
def run_steps(base: SharedBase, tasks: list[PictureTask], steps: int = 3) -> tuple[torch.Tensor, list[int]]:
    """The latents, and how many rows each model call had."""
    loop = denoise(base, tasks, make_scheduler("euler", base.scheduler_config), steps, (32, 32))
    rows = []
    want = next(loop)
    try:
        while True:
            if isinstance(want, ModelCall):
                rows.append(len(want.latents))
                want = loop.send(base.predict(want))
            else:
                want = next(loop)
    except StopIteration as end:
        return end.value, rows


def by_hand(
    base: SharedBase, parts: list[TextCondition], negative: TextCondition, guidance: float, steps: int = 3
) -> torch.Tensor:
    """A1111's `combine_denoised`, every text predicted alone: u + sum of w · guidance · (c - u)."""
    scheduler = make_scheduler("euler", base.scheduler_config)
    scheduler.set_timesteps(steps)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(7)) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)

        def alone(text: TextCondition, scaled: torch.Tensor = scaled, t: torch.Tensor = timestep) -> torch.Tensor:
            return base.predict(ModelCall(scaled, t.expand(1), text.embeddings[None], None, ((),)))

        u = alone(negative)
        total = u + sum(part.weight * guidance * (alone(part) - u) for part in parts)
        latents = scheduler.step(total, timestep, latents, return_dict=False)[0]
    return latents


@pytest.fixture(scope="module")
def texts() -> list[TextCondition]:
    """Four texts, the last of two chunks."""
    generator = torch.Generator().manual_seed(11)
    return [TextCondition(torch.randn(length, 32, generator=generator)) for length in (77, 77, 77, 154)]


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.7, -0.4, 1.2), (0.5,), (1.0,)])
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_and_equals_the_formula(
    tiny: tuple[Path, SharedBase], texts: list[TextCondition], weights: tuple[float, ...], guidance: float
) -> None:
    """Also without guidance, where a picture of one plain text needs no negative prompt but these do."""
    _, base = tiny
    parts = [replace(text, weight=weight) for text, weight in zip(texts, weights, strict=False)]
    positive = (Segment(99, tuple(parts)),)
    found, rows = run_steps(base, [PictureTask(7, positive, always(texts[2]), guidance)])
    wanted = by_hand(base, parts, texts[2], guidance)
    assert (found - wanted).abs().max() <= 2e-5 * wanted.abs().max()
    assert rows[0] == len(weights) + (weights != (1.0,) or guidance > 1)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_unequal_lengths_equal_each_alone(
    tiny: tuple[Path, SharedBase], texts: list[TextCondition], guidance: float
) -> None:
    """A long negative prompt, a long part of an AND, and another picture beside it: under a mask, as if alone."""
    _, base = tiny
    long, parts = texts[3], [texts[0], replace(texts[3], weight=0.5)]
    tasks = [
        PictureTask(7, always(texts[0]), always(long), guidance),
        PictureTask(7, (Segment(99, tuple(parts)),), always(texts[1]), guidance),
    ]
    found, _ = run_steps(base, tasks)
    first = by_hand(base, [texts[0]], long, guidance)
    second = by_hand(base, parts, texts[1], guidance)
    for one, wanted in zip(found, (first[0], second[0]), strict=True):
        assert (one - wanted).abs().max() <= 2e-5 * wanted.abs().max()


def test_many_texts_are_predicted_in_several_calls(tiny: tuple[Path, SharedBase], texts: list[TextCondition]) -> None:
    """Thirty ANDs made one call of 31 rows, and a thousand would have taken all the memory."""
    _, base = tiny
    most = 2 * base.info.defaults.batch_size
    parts = [replace(texts[i % 3], weight=0.1 + i / 100) for i in range(30)]
    found, rows = run_steps(base, [PictureTask(7, (Segment(99, tuple(parts)),), always(texts[2]), 2.0)], steps=1)
    assert max(rows) <= most
    assert sum(rows) == 31
    wanted = by_hand(base, parts, texts[2], 2.0, steps=1)
    assert (found - wanted).abs().max() <= 2e-5 * wanted.abs().max()
