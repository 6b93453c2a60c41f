"""Training on Stable Diffusion XL: it learns, it resumes, and diffusers draws with the file what we draw."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load

from lora_studio.adapters import admit
from lora_studio.dataset.buckets import Bucket
from lora_studio.dataset.examples import Example
from lora_studio.generate.denoise import PictureTask, denoise
from lora_studio.generate.samplers import make_scheduler
from lora_studio.pipeline import ModelCall, Report, SharedBase
from lora_studio.pipeline.conditioning import always
from lora_studio.train import Controls, MemoryCache, Paused, TrainingResult, train
from lora_studio.train.data import TrainingData, prepare
from lora_studio.types import TrainConfig
from tests.support.tiny import drive, load_tiny, write_tiny_xl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_xl(tmp_path_factory.mktemp("xl"))


@pytest.fixture(scope="module")
def base(folder: Path) -> SharedBase:
    return load_tiny(folder)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    found = []
    for number, size in enumerate([(32, 32), (70, 30), (24, 48)]):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        found.append(Example(path, hashlib.sha256(path.read_bytes()).hexdigest(), "cat ears, 1girl, blue hair"))
    return found


def config(**changes) -> TrainConfig:
    given = {"steps": 6, "rank": 4, "preview_every": 0, "checkpoint_every": 0, "learning_rate": 1e-2}
    return TrainConfig(**({"name": "ears", "dataset": "x", "warmup_steps": 2} | given | changes))


def run(base: SharedBase, examples: list[Example], settings: TrainConfig, seen=lambda want: None, **controls):
    return drive(base, train(base, examples, settings, Controls(cache=MemoryCache(), **controls)), seen)


def test_the_unet_is_told_of_the_whole_picture(base: SharedBase, examples: list[Example]) -> None:
    """70 x 30 scaled to cover its bucket, what juts out cut off evenly: (height, width, top, left)."""
    data: TrainingData = drive(base, prepare(base, examples, config(batch_size=1), MemoryCache()))
    seen = {}
    for step in range(6):
        batch = data.batch(step)
        seen[tuple(batch.framing[0].tolist())] = tuple(side * 2 for side in batch.latents.shape[-2:])
    assert (32, 32, 0, 0) in seen
    wide = next(key for key in seen if key[:2] == (30, 70))
    bucket = Bucket(seen[wide][1], seen[wide][0])
    scale = max(bucket.width / 70, bucket.height / 30)
    assert wide[2:] == (round((30 * scale - bucket.height) / 2), round((70 * scale - bucket.width) / 2))
    call = batch.call(batch.latents, torch.tensor([5]))
    ids = base.unet_arguments(call)["added_cond_kwargs"]["time_ids"]
    assert ids.tolist() == [[*batch.framing[0].tolist(), *(side * 2 for side in batch.latents.shape[-2:])]]


def test_the_pooled_text_and_the_framing_matter(base: SharedBase) -> None:
    text = base.family.encode_text(["cat"], [()])[0]
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))

    def predict(pooled: torch.Tensor, framing: list[int] | None = None) -> torch.Tensor:
        cut = None if framing is None else torch.tensor([framing])
        call = ModelCall(
            latents, torch.tensor([500]), text.embeddings[None], None, ((),), pooled=pooled[None], framing=cut
        )
        return base.predict(call)

    plain = predict(text.pooled)
    assert torch.equal(plain, predict(text.pooled, [32, 32, 0, 0]))
    assert not torch.allclose(plain, predict(text.pooled, [16, 16, 0, 0]), atol=1e-4)
    assert not torch.allclose(plain, predict(-text.pooled), atol=1e-4)


@pytest.mark.slow
def test_the_loss_falls(base: SharedBase, examples: list[Example]) -> None:
    losses: list[float] = []

    def seen(want) -> None:
        if isinstance(want, Report) and want.type == "step":
            losses.append(want.data["loss"])

    settings = config(steps=40, layers="all", caption_dropout=0, flip=False, batch_size=4, rank=8)
    run(base, examples[:1], settings, seen)
    assert sum(losses[-8:]) < 0.85 * sum(losses[:8])


@pytest.mark.slow
def test_resume_equals_never_having_stopped(base: SharedBase, examples: list[Example]) -> None:
    more = {"keep_unprompted": True, "caption_dropout": 0.5, "batch_size": 2}
    whole: TrainingResult = run(base, examples, config(**more))
    kept: list[bytes] = []

    def seen(want) -> None:
        if isinstance(want, Report) and want.type == "checkpoint":
            kept.append(want.data["sha256"].data)

    answers = iter(["go"] * 3 + ["pause"])
    with pytest.raises(Paused):
        run(base, examples, config(**more), seen, ask=lambda: next(answers))
    resumed = run(base, examples, config(**more), checkpoint=kept[-1])
    assert resumed.final_loss == whole.final_loss
    assert all(torch.equal(v, load(whole.file)[k]) for k, v in load(resumed.file).items())


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["attention", "all"])
def test_diffusers_draws_with_the_file_what_we_draw(
    base: SharedBase, folder: Path, examples: list[Example], tmp_path: Path, layers: str
) -> None:
    """`StableDiffusionXLPipeline.load_lora_weights` and our reader: the same latents to 1e-4, not the base's."""
    before = {n: p.clone() for m in base.modules.values() for n, p in m.state_dict().items()}
    result: TrainingResult = run(base, examples, config(steps=15, layers=layers))
    after = {n: p for m in base.modules.values() for n, p in m.state_dict().items()}
    assert all(torch.equal(before[name], after[name]) for name in before)
    path = tmp_path / "a.safetensors"
    path.write_bytes(result.file)
    adapter, report = admit(path, hashlib.sha256(result.file).hexdigest(), base.layers, base.info.sha256)
    assert report.ignored == ()
    pipe = StableDiffusionXLPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(str(tmp_path), weight_name="a.safetensors")
    pipe.scheduler = make_scheduler("euler", base.scheduler_config)
    noise = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(1))
    wanted = pipe(
        "cat",
        latents=noise.clone(),
        num_inference_steps=3,
        guidance_scale=4.0,
        output_type="latent",
        height=32,
        width=48,
    ).images
    text, none = base.family.encode_text(["cat", ""], [(), ()])

    def draw(weight: float) -> torch.Tensor:
        task = PictureTask(0, always(text), always(none), 4.0, ((adapter, weight),), noise[0])
        loop = denoise(base, [task], make_scheduler("euler", base.scheduler_config), 3, (32, 48))
        want = next(loop)
        try:
            while True:
                want = loop.send(base.predict(want)) if isinstance(want, ModelCall) else next(loop)
        except StopIteration as end:
            return end.value

    assert (draw(1.0) - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    assert (draw(0.0) - wanted).abs().max() > 1e-3 * wanted.abs().max()


@pytest.mark.slow
def test_the_file_says_what_it_was_made_for(base: SharedBase, examples: list[Example]) -> None:
    metadata = run(base, examples, config()).metadata
    assert metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    assert metadata["ss_v2"] == "False"
    assert metadata["modelspec.prediction_type"] == "epsilon"
