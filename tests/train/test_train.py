"""Training on real tiny models: what is learnt, what is left alone, what a stop costs, what the file says."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor

from lora_studio.adapters import admit
from lora_studio.dataset.examples import Example
from lora_studio.errors import DatasetError, InvalidInput, TrainingDiverged
from lora_studio.generate import generate
from lora_studio.pipeline import ModelCall, Report, SharedBase
from lora_studio.train import Controls, MemoryCache, Paused, TrainingResult, train
from lora_studio.train.noise import NoiseSchedule, adapter_weight, learning_rate
from lora_studio.train.state import Checkpoint
from lora_studio.types import AdapterWeight, GenerateRequest, TrainConfig
from tests.support.tiny import drive, load_tiny, write_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny"), "v_prediction", zero_snr=True))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    found = []
    for number, size in enumerate([(32, 32), (32, 32), (48, 24), (24, 48), (32, 32)]):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(Example(path, sha256, f"cat ears, 1girl, number {number}, blue hair"))
    return found


def config(**changes) -> TrainConfig:
    given = {
        "name": "ears",
        "dataset": "x",
        "steps": 6,
        "rank": 4,
        "batch_size": 2,
        "preview_every": 0,
        "checkpoint_every": 0,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
    }
    return TrainConfig(**(given | changes))


def run(base: SharedBase, examples: list[Example], settings: TrainConfig, **controls) -> TrainingResult:
    return drive(base, train(base, examples, settings, Controls(cache=MemoryCache(), **controls)))


def weights(result: TrainingResult) -> dict[str, Tensor]:
    return load(result.file)


def state(base: SharedBase) -> dict[str, Tensor]:
    trees = {"unet": base.unet, "vae": base.autoencoder.vae, "text": base.text_encoder}
    return {f"{n}.{k}": v.clone() for n, tree in trees.items() for k, v in tree.state_dict().items()}


@pytest.mark.slow
def test_the_base_is_bit_equal_after_training(base: SharedBase, examples: list[Example]) -> None:
    """Values, names, hooks and flags of the serving tree are what they were."""
    before = state(base)
    names = [name for name, _ in base.unet.named_modules()]
    hooks = [len(module._forward_hooks) for module in base.unet.modules()]
    run(base, examples, config(preview_every=3, checkpoint_every=3))
    after = state(base)
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [name for name, _ in base.unet.named_modules()] == names
    assert [len(module._forward_hooks) for module in base.unet.modules()] == hooks
    assert not any(p.requires_grad for p in base.unet.parameters())
    assert not base.unet.training


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["attention", "attention+feed-forward", "all"])
def test_the_loss_falls(base: SharedBase, examples: list[Example], layers: str) -> None:
    """On a set of one picture with fixed captions, the last losses lie below the first by a fifth."""
    losses: list[float] = []

    def seen(want) -> None:
        if isinstance(want, Report) and want.type == "step":
            losses.append(want.data["loss"])

    settings = config(steps=60, layers=layers, caption_dropout=0, caption_shuffle=0, flip=False, batch_size=8, rank=8)
    drive(base, train(base, examples[:1], settings, Controls(cache=MemoryCache())), seen)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file_but_for_its_times(base: SharedBase, examples: list[Example]) -> None:
    one, two = run(base, examples, config()), run(base, examples, config())
    assert all(torch.equal(v, weights(two)[k]) for k, v in weights(one).items())
    other = run(base, examples, config(seed=1))
    assert not all(torch.equal(v, weights(other)[k]) for k, v in weights(one).items())


def change(base: SharedBase, result: TrainingResult, folder: Path, prompt: str) -> float:
    """How much an adapter changes the base's prediction half-way through the noise (root mean square over 8 rows)."""
    path = folder / "change.safetensors"
    path.write_bytes(result.file)
    adapter, _ = admit(path, hashlib.sha256(result.file).hexdigest(), base.layers, base.info.sha256)
    generator = torch.Generator().manual_seed(5)
    latents = torch.randn(8, 4, 16, 16, generator=generator)
    condition = base.family.encode_text([prompt], [()])[0]
    text = condition.embeddings[None].expand(8, -1, -1)
    steps = torch.full((8,), 500)
    with_it = base.predict(ModelCall(latents, steps, text, None, (((adapter, 1.0),),) * 8))
    without = base.predict(ModelCall(latents, steps, text, None, ((),) * 8))
    return float((with_it - without).pow(2).mean().sqrt())


@pytest.mark.slow
def test_without_words_the_base_is_kept(base: SharedBase, examples: list[Example], tmp_path: Path) -> None:
    """What is drawn without a caption stays the base's; with the caption as much is learnt."""
    settings = {"steps": 80, "batch_size": 8, "layers": "all", "caption_dropout": 0.5, "rank": 8}
    caption = examples[0].caption
    free = run(base, examples[:1], config(**settings))
    held = run(base, examples[:1], config(**settings, keep_unprompted=True))
    assert change(base, held, tmp_path, "") < 0.6 * change(base, free, tmp_path, "")
    assert change(base, held, tmp_path, caption) > 0.5 * change(base, free, tmp_path, caption)


def test_nothing_but_left_out_captions_learns_nothing_and_says_so(base: SharedBase, examples: list[Example]) -> None:
    with pytest.raises(TrainingDiverged):
        run(base, examples, config(caption_dropout=1.0, keep_unprompted=True))


@pytest.mark.slow
def test_training_at_a_smaller_weight_is_training_with_a_smaller_alpha(
    base: SharedBase, examples: list[Example]
) -> None:
    """At the fixed weight 0.5 the same numbers are learnt as with alpha = rank / 2, and the file applies them whole."""
    halved = weights(run(base, examples, config(least_weight=0.5, most_weight=0.5)))
    alpha = weights(run(base, examples, config(alpha=2.0)))
    for name, value in halved.items():
        if not name.endswith(".alpha"):
            assert torch.allclose(value.float(), alpha[name].float(), atol=1e-3)
    assert {float(v) for k, v in halved.items() if k.endswith(".alpha")} == {4.0}


def test_each_step_trains_at_its_own_weight() -> None:
    drawn = [adapter_weight(7, step, 0.5, 0.9) for step in range(200)]
    assert drawn == [adapter_weight(7, step, 0.5, 0.9) for step in range(200)]
    assert 0.5 <= min(drawn) < 0.52
    assert 0.88 < max(drawn) <= 0.9


def test_weights_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"0\.9 .*0\.5"):
        config(least_weight=0.9, most_weight=0.5)


@pytest.mark.parametrize(
    "stop_at", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(5, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "more", [{}, {"least_weight": 0.4, "most_weight": 0.9, "keep_unprompted": True, "caption_dropout": 0.5}]
)
def test_resume_equals_never_having_stopped(
    base: SharedBase, examples: list[Example], stop_at: int, more: dict[str, float]
) -> None:
    whole = run(base, examples, config(**more))
    kept: list[bytes] = []

    def seen(want) -> None:
        if isinstance(want, Report) and want.type == "checkpoint":
            kept.append(want.data["sha256"].data)

    answers = iter(["go"] * stop_at + ["pause"])
    controls = Controls(cache=MemoryCache(), ask=lambda: next(answers))
    with pytest.raises(Paused):
        drive(base, train(base, examples, config(**more), controls), seen)
    resumed = run(base, examples, config(**more), checkpoint=kept[-1])
    assert resumed.final_loss == whole.final_loss
    assert all(torch.equal(v, weights(resumed)[k]) for k, v in weights(whole).items())


@pytest.mark.slow
def test_a_run_that_goes_on_after_its_set_was_edited_says_so(base: SharedBase, examples: list[Example]) -> None:
    """Other captions are another training from there on, and nobody was told."""
    kept: list[bytes] = []
    told: list[dict[str, object]] = []

    def seen(want) -> None:
        if isinstance(want, Report) and want.type == "checkpoint":
            kept.append(want.data["sha256"].data)
        if isinstance(want, Report) and want.type == "warning":
            told.append(want.data)

    answers = iter(["go", "go", "pause"])
    controls = Controls(cache=MemoryCache(), ask=lambda: next(answers))
    with pytest.raises(Paused):
        drive(base, train(base, examples, config(), controls), seen)
    again = Controls(cache=MemoryCache(), checkpoint=kept[0])
    drive(base, train(base, examples, config(), again), seen)
    assert told == []
    edited = [dataclasses.replace(examples[0], caption="cat ears, a hat"), *examples[1:]]
    drive(base, train(base, edited, config(), again), seen)
    assert [(data["code"], data["values"]) for data in told] == [("set_changed", {"step": 2})]


def test_a_checkpoint_of_another_base_is_refused_before_anything_is_done(
    base: SharedBase, examples: list[Example]
) -> None:
    """Of the same architecture it fits, and the run went on silently on the wrong base."""
    other = Checkpoint(2, (0.1, 0.1), 1.0, {}, "f" * 64).to_bytes()
    with pytest.raises(InvalidInput) as caught:
        next(train(base, examples, config(), Controls(cache=MemoryCache(), checkpoint=other)))
    assert caught.value.code == "train_base_changed"


@pytest.mark.slow
def test_previews_change_nothing(base: SharedBase, examples: list[Example]) -> None:
    plain = run(base, examples, config())
    shown = run(base, examples, config(preview_every=2, checkpoint_every=2))
    assert all(torch.equal(v, weights(shown)[k]) for k, v in weights(plain).items())


@pytest.mark.slow
def test_global_random_state_neither_matters_nor_changes(base: SharedBase, examples: list[Example]) -> None:
    one = run(base, examples, config())
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    two = run(base, examples, config())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(v, weights(two)[k]) for k, v in weights(one).items())


@pytest.mark.slow
def test_the_last_preview_is_what_the_file_draws(base: SharedBase, examples: list[Example], tmp_path: Path) -> None:
    """Weights are rounded to the file's numbers before the last preview: equal to 1/255."""
    result = run(base, examples, config(preview_every=3))
    path = tmp_path / "a.safetensors"
    path.write_bytes(result.file)
    adapter, _ = admit(path, hashlib.sha256(path.read_bytes()).hexdigest(), base.layers, base.info.sha256)
    defaults = base.info.defaults
    request = GenerateRequest(
        prompt=examples[0].caption,
        width=defaults.width,
        height=defaults.height,
        num_inference_steps=defaults.num_inference_steps,
        guidance_scale=defaults.guidance_scale,
        sampler=defaults.sampler,
        seed=0,
        adapters=(AdapterWeight(adapter.key, "a", 1.0),),
    )
    assert result.cover is not None
    one, two = (
        np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
        for png in (result.cover, drive(base, generate(base, [request], lambda sha256: adapter))[0].png)
    )
    assert np.abs(one - two).max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [None, 2.0])
@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_diffusers_and_peft_read_the_file(
    base: SharedBase, examples: list[Example], tmp_path: Path, alpha: float | None
) -> None:
    """diffusers' `load_lora_weights` (through peft) predicts what our slots predict, to 1e-4."""
    result = run(base, examples, config(steps=20, alpha=alpha))
    path = tmp_path / "a.safetensors"
    path.write_bytes(result.file)
    adapter, _ = admit(path, hashlib.sha256(path.read_bytes()).hexdigest(), base.layers, base.info.sha256)
    folder = write_tiny_base(tmp_path / "tiny", "v_prediction", zero_snr=True)
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipe.load_lora_weights(str(tmp_path), weight_name="a.safetensors")
    generator = torch.Generator().manual_seed(1)
    latents, text = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 77, 32, generator=generator)
    ours = base.predict(ModelCall(latents, torch.tensor([400]), text, None, (((adapter, 1.0),),)))
    plain = base.predict(ModelCall(latents, torch.tensor([400]), text, None, ((),)))
    with torch.no_grad():
        theirs = pipe.unet(latents, torch.tensor([400]), text).sample
    assert (ours - plain).abs().max() > 1e-3 * plain.abs().max()
    assert (ours - theirs).abs().max() <= 1e-4 * ours.abs().max()


@pytest.mark.slow
def test_the_file_tells_no_tales(base: SharedBase, examples: list[Example], tmp_path: Path) -> None:
    """kohya's and Stability's keys are there; file names and captions are not, unless somebody asked for them."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(run(base, examples, config(trigger="ctear")).file)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_module"] == "networks.lora"
    assert metadata["ss_network_dim"] == metadata["ss_network_alpha"] == "4"
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert metadata["modelspec.trigger_phrase"] == "ctear"
    assert metadata["lora_studio_base_sha256"] == base.info.sha256
    text = json.dumps(metadata)
    assert "number 3" not in text
    assert examples[0].image.parent.name not in text
    told = run(base, examples, config(publish_captions=True)).metadata
    assert told["modelspec.trigger_phrase"] == "cat ears", "the first of what all captions share"
    assert json.loads(told["ss_tag_frequency"])["ears"]["cat ears"] == len(examples)


@pytest.mark.slow
def test_finishing_early_keeps_what_was_learnt(base: SharedBase, examples: list[Example]) -> None:
    answers = iter(["go", "go", "finish"])
    assert run(base, examples, config(), ask=lambda: next(answers)).steps == 2


@pytest.mark.slow
def test_between_two_model_calls_there_is_a_yield(base: SharedBase, examples: list[Example]) -> None:
    """So a cancel costs at most one of them, wherever the job is: encoding, training, previews, exporting."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    # Models of the base; a training step is one call of a tree of its own, counted by its convolution in.
    watched = [base.unet.conv_in, base.autoencoder.vae.encoder, base.autoencoder.vae.decoder, base.text_encoder]
    handles = [module.register_forward_pre_hook(count) for module in watched]
    most = 0

    def seen(want: object) -> None:
        nonlocal calls, most
        most, calls = max(most, calls), 0

    settings = config(preview_every=2, checkpoint_every=2, preview_prompts=("a", "b"))
    try:
        drive(base, train(base, examples, settings, Controls(cache=MemoryCache())), seen)
    finally:
        for handle in handles:
            handle.remove()
    # A prediction of the serving UNet is made between two yields of the driver itself.
    assert most <= 2


def test_bad_sets_and_settings(base: SharedBase, examples: list[Example]) -> None:
    with pytest.raises(DatasetError, match="0 pictures"):
        run(base, [], config())
    with pytest.raises(InvalidInput, match="aaaaaaaaaa"):
        run(base, examples, config(base="a" * 64))
    with pytest.raises(TrainingDiverged, match="changes nothing"):
        run(base, examples, config(learning_rate=0.0))
    with pytest.raises(TrainingDiverged):
        run(base, examples, config(learning_rate=10.0, max_grad_norm=0, steps=40))


def test_every_kind_of_schedule_has_finite_weights() -> None:
    """min(SNR, g)/SNR divides by 0 at zero SNR; v-prediction's weight is 0 there without the floor."""
    for prediction in ("epsilon", "v_prediction", "sample"):
        for zero in (False, True):
            config = {
                "beta_schedule": "scaled_linear",
                "prediction_type": prediction,
                "rescale_betas_zero_snr": zero,
                "num_train_timesteps": 1000,
            }
            schedule = NoiseSchedule(config)
            found = schedule.weights(torch.arange(1000), gamma=5.0, floor=0.2)
            assert bool(torch.isfinite(found).all())
            assert float(found.min()) >= 0.2
            draw = schedule.draw(0, 3, (4, 2, 8, 8))
            assert bool(torch.isfinite(schedule.target(torch.ones(4, 2, 8, 8), draw)).all())


def test_noise_and_target_agree_with_diffusers() -> None:
    from diffusers import DDPMScheduler

    options = {"beta_schedule": "scaled_linear", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    ours, theirs = NoiseSchedule(options), DDPMScheduler(**options)
    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    draw = ours.draw(3, 7, tuple(latents.shape))
    assert torch.allclose(ours.noisy(latents, draw), theirs.add_noise(latents, draw.noise, draw.timesteps), atol=1e-6)
    assert torch.allclose(
        ours.target(latents, draw), theirs.get_velocity(latents, draw.noise, draw.timesteps), atol=1e-6
    )


def test_the_rate_rises_and_falls() -> None:
    rates = [learning_rate(step, 100, 1.0, 10, "cosine") for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01
    assert [learning_rate(step, 100, 2.0, 0, "constant") for step in (0, 50, 99)] == [2.0] * 3
