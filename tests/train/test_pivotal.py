"""Pivotal tuning on real tiny models: what the word learns, what stays as it is, what a stop costs, what files say."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load, save_file
from torch import Tensor
from transformers import CLIPTokenizer

from lora_studio.adapters import admit
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.adapters.embedding import admit as admit_embedding
from lora_studio.dataset.examples import Example
from lora_studio.errors import DatasetError, InvalidInput, TrainingDiverged
from lora_studio.generate import generate
from lora_studio.pipeline import Report, SharedBase
from lora_studio.pipeline.calls import NeedPreview
from lora_studio.train import Controls, MemoryCache, Paused, TrainingResult, train
from lora_studio.train.noise import NoiseSchedule
from lora_studio.train.pivotal import RATE, Word
from lora_studio.types import AdapterWeight, EmbeddingUse, GenerateRequest, TrainConfig
from tests.support.tiny import drive, load_tiny, write_tiny_base

NAME = "zxq-ears"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny"), "v_prediction", zero_snr=True)


@pytest.fixture(scope="module")
def base(folder: Path) -> SharedBase:
    return load_tiny(folder)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    """Three pictures whose captions hold the name, as they leave `examples_for`."""
    place = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    found = []
    for number in range(3):
        path = place / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(Example(path, sha256, f"{NAME}, 1girl, number {number}, blue hair"))
    return found


def config(**changes: Any) -> TrainConfig:
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
        "embedding": NAME,
        "embedding_vectors": 3,
        "embedding_words": "cat ears",
        "embedding_rate": 1e-2,
    }
    return TrainConfig(**(given | changes))


def run(base: SharedBase, examples: list[Example], settings: TrainConfig, seen: Any = None, **more: Any) -> Any:
    job = train(base, examples, settings, Controls(cache=MemoryCache(), **more))
    return drive(base, job, seen or (lambda want: None))


def vectors(result: TrainingResult) -> Tensor:
    assert result.word is not None
    return load(result.word.data)["emb_params"]


def state(base: SharedBase) -> dict[str, Tensor]:
    trees = {"unet": base.unet, "vae": base.autoencoder.vae, "text": base.text_encoder}
    return {f"{n}.{k}": v.clone() for n, tree in trees.items() for k, v in tree.state_dict().items()}


def losses_of(base: SharedBase, examples: list[Example], settings: TrainConfig) -> list[float]:
    """The losses of all steps, also of a run that comes to nothing."""
    losses: list[float] = []

    def seen(want: Any) -> None:
        if isinstance(want, Report) and want.type == "step":
            losses.append(want.data["loss"])

    with contextlib.suppress(TrainingDiverged):
        run(base, examples, settings, seen)
    assert len(losses) == settings.steps
    return losses


@pytest.fixture(scope="module")
def sensitive(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    """The tiny base with words that matter: random weights hardly listen to them."""
    made = load_tiny(folder)
    with torch.no_grad():
        for name, parameter in made.unet.named_parameters():
            if "attn2.to_out.0.weight" in name or "attn2.to_v" in name:
                parameter.mul_(4)
    return made


# ---------------------------------------------------------------- learning
@pytest.mark.slow
def test_the_loss_falls_by_the_word_alone(sensitive: SharedBase, examples: list[Example]) -> None:
    """At LoRA rate 0 the same steps, with the same noise, cost less from step to step than where nothing learns."""
    plain = {"steps": 40, "learning_rate": 0.0, "caption_dropout": 0, "flip": False, "lr_scheduler": "constant"}
    before = state(sensitive)
    still = losses_of(sensitive, examples[:1], config(**plain, embedding_rate=0.0, embedding_pull=0.0))
    learnt = losses_of(sensitive, examples[:1], config(**plain, embedding_rate=5e-2, embedding_pull=0.0))
    assert learnt[0] == still[0]
    gained = [1 - two / one for one, two in zip(still, learnt, strict=True)]
    assert sum(gained[-10:]) / 10 > 0.01
    assert sum(gained[-10:]) > 2 * sum(gained[:10])
    after = state(sensitive)
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_base_and_text_encoder_are_bit_equal_after_training(base: SharedBase, examples: list[Example]) -> None:
    """Values, hooks and flags, the table of tokens and the slots' quiet state included."""
    before = state(base)
    hooks = [len(module._forward_hooks) for module in (*base.unet.modules(), *base.text_encoder.modules())]
    run(base, examples, config(preview_every=3, checkpoint_every=3))
    after = state(base)
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [len(m._forward_hooks) for m in (*base.unet.modules(), *base.text_encoder.modules())] == hooks
    assert not any(p.requires_grad or p.grad is not None for p in base.text_encoder.parameters())
    assert not base.text_encoder.training


@pytest.mark.slow
def test_gradients_are_those_of_an_enlarged_vocabulary(
    base: SharedBase, folder: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of diffusers' trainer: new rows in the token table of a copy, new ids in the captions, one backward."""
    found: dict[str, Tensor] = {}
    first: dict[str, Tensor] = {}

    def step(self: Word, number: int) -> None:
        del number
        found["grad"] = self.vectors["clip_l"].grad.clone()
        first["rows"] = self.vectors["clip_l"].detach().clone()
        with torch.no_grad():
            self.vectors["clip_l"].add_(1.0)  # so that the run comes to something

    monkeypatch.setattr(Word, "step", step)
    settings = config(steps=1, batch_size=3, caption_dropout=0, flip=False, min_snr_gamma=5.0, snr_floor=0.2)
    used: dict[str, Any] = {}
    begin = Word.begin

    def begin_and_tell(self: Word, batch: Any, number: int, texts: Any) -> Iterator[Any]:
        used["batch"] = batch
        return (yield from begin(self, batch, number, texts))

    monkeypatch.setattr(Word, "begin", begin_and_tell)
    run(base, examples, settings)
    batch = used["batch"]

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    words = tokenizer("cat ears", add_special_tokens=False).input_ids
    table = base.text_encoder.get_input_embeddings().weight
    starts = [words[0], words[0 + len(words) // 3], words[2 * len(words) // 3]]
    assert torch.equal(first["rows"], table[starts]), "three vectors from these words, spread as A1111 spreads them"
    new = [table.shape[0] + number for number in range(3)]
    encoder = copy.deepcopy(base.text_encoder)
    for module in encoder.modules():
        module._forward_hooks.clear()
    large = torch.nn.Embedding.from_pretrained(torch.cat([table, first["rows"]]), freeze=False)
    encoder.set_input_embeddings(large)
    name, ids = tokenizer(NAME, add_special_tokens=False).input_ids, []
    for text in batch.texts:
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        assert tokens[: len(name)] == name
        tokens = [tokenizer.bos_token_id, *new, *tokens[len(name) :], tokenizer.eos_token_id]
        ids.append(tokens + [tokenizer.pad_token_id] * (77 - len(tokens)))
    embeddings = encoder(torch.tensor(ids)).last_hidden_state
    draw = NoiseSchedule(base.scheduler_config).draw(settings.seed, 0, tuple(batch.latents.shape))
    keys = ("beta_schedule", "beta_start", "beta_end", "prediction_type", "rescale_betas_zero_snr")
    theirs = DDPMScheduler(**{key: base.scheduler_config[key] for key in keys})
    noisy = theirs.add_noise(batch.latents, draw.noise, draw.timesteps)
    target = theirs.get_velocity(batch.latents, draw.noise, draw.timesteps)
    snr = theirs.alphas_cumprod[draw.timesteps] / (1 - theirs.alphas_cumprod[draw.timesteps])
    weight = snr.clamp(max=5.0) / (snr + 1) + 0.2
    prediction = copy.deepcopy(base.unet)(noisy, draw.timesteps, embeddings).sample
    ((prediction - target).pow(2).mean(dim=(1, 2, 3)) * weight).mean().backward()
    expected = large.weight.grad[new]
    assert expected.abs().max() > 0
    assert torch.allclose(found["grad"], expected, rtol=1e-3, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.slow
def test_the_spread_is_kept(base: SharedBase, examples: list[Example]) -> None:
    """A pull of 1 sets the vectors' standard deviation to the table's at each step; one of 0 lets it go."""
    spread = float(base.text_encoder.get_input_embeddings().weight.std())
    kept = vectors(run(base, examples, config(embedding_pull=1.0, embedding_rate=0.1)))
    free = vectors(run(base, examples, config(embedding_pull=0.0, embedding_rate=0.1)))
    assert float(kept.std()) == pytest.approx(spread, rel=1e-5)
    assert float(free.std()) > 2 * spread


def test_the_first_vectors(base: SharedBase) -> None:
    table = base.text_encoder.get_input_embeddings().weight
    drawn = Word(base, config(embedding_words="", embedding_vectors=8)).vectors["clip_l"]
    assert drawn.shape == (8, 32)
    assert float(drawn.detach().std()) == pytest.approx(float(table.std()), rel=0.3)
    assert torch.equal(drawn, Word(base, config(embedding_words=" ", embedding_vectors=8)).vectors["clip_l"])
    other = Word(base, config(embedding_words="", embedding_vectors=8, seed=1)).vectors["clip_l"]
    assert not torch.equal(drawn, other)
    ids = [token.id for token in base.tokenize("blue hair cat")]
    long = Word(base, config(embedding_words="blue hair cat", embedding_vectors=1)).vectors["clip_l"]
    assert torch.equal(long, table[ids[:1]])
    assert Word(base, config(embedding_rate=None)).rate == pytest.approx(RATE * float(table.std()))


# ---------------------------------------------------------------- stops
@pytest.mark.slow
@pytest.mark.parametrize("share", [1.0, 0.5, pytest.param(0.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stop_at", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_resume_equals_never_having_stopped(
    base: SharedBase, examples: list[Example], stop_at: int, share: float
) -> None:
    """Also where the word had stopped learning before the stop."""
    settings = config(embedding_share=share, caption_shuffle=0.5, caption_dropout=0.2, keep_unprompted=True)
    whole = run(base, examples, settings)
    kept: list[bytes] = []

    def seen(want: Any) -> None:
        if isinstance(want, Report) and want.type == "checkpoint":
            kept.append(want.data["sha256"].data)

    answers = iter(["go"] * stop_at + ["pause"])
    with pytest.raises(Paused):
        run(base, examples, settings, seen, ask=lambda: next(answers))
    resumed = run(base, examples, settings, checkpoint=kept[-1])
    assert resumed.final_loss == whole.final_loss
    assert torch.equal(vectors(resumed), vectors(whole))
    assert all(torch.equal(v, load(resumed.file)[k]) for k, v in load(whole.file).items())


@pytest.mark.slow
def test_a_share_of_the_steps(base: SharedBase, examples: list[Example]) -> None:
    """After half of the steps the vectors stay, bit for bit, and the LoRA goes on."""
    states: list[dict[str, Tensor]] = []

    def seen(want: Any) -> None:
        if isinstance(want, Report) and want.type == "checkpoint":
            states.append(load(want.data["sha256"].data))

    result = run(base, examples, config(embedding_share=0.5, checkpoint_every=1), seen)
    rows = [tensors["embedding.clip_l.weight"] for tensors in states]
    assert len(rows) == 6
    assert not torch.equal(rows[1], rows[2])
    assert all(torch.equal(rows[2], later) for later in rows[3:])
    assert torch.equal(vectors(result), rows[2])
    ups = [next(v for k, v in tensors.items() if k.endswith(".up.weight")) for tensors in states]
    assert not torch.equal(ups[3], ups[4])
    assert json.loads(result.metadata["lora_studio_embedding"])["steps"] == 3


@pytest.mark.slow
def test_seed_and_previews(base: SharedBase, examples: list[Example]) -> None:
    """The same seed gives the same vectors, another one others; previews change nothing."""
    one = run(base, examples, config(embedding_words=""))
    shown = run(base, examples, config(embedding_words="", preview_every=2, checkpoint_every=2))
    other = run(base, examples, config(embedding_words="", seed=1))
    assert torch.equal(vectors(one), vectors(shown))
    assert all(torch.equal(v, load(shown.file)[k]) for k, v in load(one.file).items())
    assert not torch.equal(vectors(one), vectors(other))


def test_finishing_early_keeps_what_was_learnt(base: SharedBase, examples: list[Example]) -> None:
    answers = iter(["go", "go", "finish"])
    result = run(base, examples, config(), ask=lambda: next(answers))
    table = base.text_encoder.get_input_embeddings().weight
    assert result.steps == 2
    assert not torch.equal(vectors(result)[0], table[base.tokenize("cat")[0].id])
    assert json.loads(result.metadata["lora_studio_embedding"])["steps"] == 2


@pytest.mark.slow
def test_a_cancel_at_each_turn_leaves_nothing(base: SharedBase, examples: list[Example]) -> None:
    """Wherever the job is closed, the text encoder reads plain texts as before and no gradient is left."""
    settings = config(steps=2, checkpoint_every=1, preview_prompts=(f"{NAME}, sky",))
    wants: list[str] = []
    run(base, examples, settings, lambda want: wants.append(type(want).__name__))
    plain = base.family.encode_text(["cat ears, blue hair"], [()])[0].embeddings
    before = state(base)
    assert wants.count("Turn") > 6
    turns = [number for number, name in enumerate(wants, 1) if name in ("Turn", "NeedPreview")]
    for stop in [*turns, wants.index("ModelCall") + 1]:
        count = 0

        def seen(want: Any, stop: int = stop) -> None:
            nonlocal count
            count += 1
            if count == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(base, examples, settings, seen)
        assert torch.equal(base.family.encode_text(["cat ears, blue hair"], [()])[0].embeddings, plain)
    assert all(torch.equal(before[key], value) for key, value in state(base).items())
    assert all(p.grad is None for p in (*base.text_encoder.parameters(), *base.unet.parameters()))


@pytest.mark.slow
def test_between_two_model_calls_there_is_a_yield(base: SharedBase, examples: list[Example]) -> None:
    """A step with a word that learns calls the text encoder and the training tree, with a turn between them."""
    calls, most = 0, 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    watched = [base.unet.conv_in, base.autoencoder.vae.encoder, base.autoencoder.vae.decoder, base.text_encoder]
    handles = [module.register_forward_pre_hook(count) for module in watched]

    def seen(want: object) -> None:
        nonlocal calls, most
        most, calls = max(most, calls), 0

    try:
        run(base, examples, config(preview_every=2, checkpoint_every=2), seen)
    finally:
        for handle in handles:
            handle.remove()
    assert most <= 2, "a prediction of the serving UNet is made between two yields of the driver itself"


# ---------------------------------------------------------------- files
def a1111_bundles(tensors: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Bundled embeddings as A1111's LoRA reader parts them: name up to the first full stop, `string_to_param` a table
    of its own."""
    found: dict[str, dict[str, Any]] = {}
    for key, weight in tensors.items():
        network, _, part = key.partition(".")
        if network == "bundle_emb":
            name, vector = part.split(".", 1)
            table = found.setdefault(name, {})
            if vector.split(".")[0] == "string_to_param":
                table["string_to_param"] = {vector.split(".", 1)[1]: weight}
            else:
                table[vector] = weight
    return found


@pytest.mark.slow
def test_the_files(base: SharedBase, examples: list[Example], tmp_path: Path) -> None:
    """One word, three places: the LoRA's bundle as A1111 reads it, its own file as our reader and as diffusers' do."""
    result = run(base, examples, config(preview_every=3))
    assert result.word is not None
    bundles = a1111_bundles(load(result.file))
    assert list(bundles) == [NAME]
    assert list(bundles[NAME]["string_to_param"]) == ["*"]
    assert torch.equal(bundles[NAME]["string_to_param"]["*"], vectors(result))
    path = tmp_path / f"{NAME}.safetensors"
    path.write_bytes(result.word.data)
    sha256 = hashlib.sha256(result.word.data).hexdigest()
    read, report = admit_embedding(path, sha256, base.text_widths)
    assert (read.name, read.count, report.warnings) == (NAME, 3, ())
    assert torch.equal(read.vectors["clip_l"], vectors(result))
    assert report.metadata["step"] == "6"
    told = json.loads(result.metadata["lora_studio_embedding"])
    assert (told["name"], told["vectors"], told["sha256"]) == (NAME, 3, sha256)
    assert told["words"] == "", "words are captions: told only where they are published"
    assert result.metadata["modelspec.trigger_phrase"] == NAME
    lora = tmp_path / "lora.safetensors"
    lora.write_bytes(result.file)
    adapter, _ = admit(lora, "a" * 64, base.layers, base.info.sha256)
    assert adapter.norm() > 0
    with safe_open(lora, "pt") as file:
        assert file.metadata()["modelspec.trigger_phrase"] == NAME


@pytest.mark.slow
def test_diffusers_reads_the_words_file(
    base: SharedBase, folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    """diffusers' `load_textual_inversion` puts the same numbers before the text encoder as our prompts do."""
    result = run(base, examples, config())
    path = tmp_path / f"{NAME}.safetensors"
    save_file({NAME: vectors(result)}, path)  # diffusers wants the token's name as the key
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    pipe.load_textual_inversion(str(path), token=NAME)
    prompt = pipe.maybe_convert_prompt(f"{NAME} cat", pipe.tokenizer)
    ids = pipe.tokenizer(prompt, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        theirs = pipe.text_encoder(ids).last_hidden_state[0]
    word = Word(base, config())
    word.load_state_dict({"embedding.clip_l.weight": vectors(result)})
    turns = word._read([f"{NAME} cat"], learning=False)
    while True:
        try:
            next(turns)
        except StopIteration as end:
            ours = end.value[f"{NAME} cat"].embeddings
            break
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("reader", [False, True])
def test_the_last_preview_is_what_the_files_draw(
    base: SharedBase, examples: list[Example], tmp_path: Path, reader: bool
) -> None:
    """The cover from the live weights equals, to 1/255, what a prompt with the name draws from both files; without
    the embedding the name is ordinary words and the picture another one."""
    read: list[TextEmbedding] = []

    def admit_word(data: bytes) -> TextEmbedding:
        path = tmp_path / f"{NAME}.safetensors"
        path.write_bytes(data)
        read.append(admit_embedding(path, hashlib.sha256(data).hexdigest(), base.text_widths)[0])
        return read[-1]

    def admit_bytes(data: bytes) -> Any:
        path = tmp_path / "a.safetensors"
        path.write_bytes(data)
        return admit(path, hashlib.sha256(data).hexdigest(), base.layers, base.info.sha256)[0]

    more = {"admit": admit_bytes, "admit_word": admit_word} if reader else {}
    result = run(base, examples, config(preview_every=3, learning_rate=3e-2, embedding_rate=0.1), **more)
    assert len(read) == int(reader)
    adapter, word = admit_bytes(result.file), admit_word(result.word.data)
    d = base.info.defaults
    request = GenerateRequest(
        prompt=examples[0].caption,
        width=d.width,
        height=d.height,
        num_inference_steps=d.num_inference_steps,
        guidance_scale=d.guidance_scale,
        sampler=d.sampler,
        seed=0,
        adapters=(AdapterWeight(adapter.key, "a", 1.0),),
        embeddings=(EmbeddingUse(NAME, word.sha256),),
    )

    def pixels(png: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)

    def drawn(asked: GenerateRequest) -> np.ndarray:
        job = generate(base, [asked], lambda sha256: adapter, embedding=lambda sha256: word)
        return pixels(drive(base, job)[0].png)

    assert result.cover is not None
    assert np.abs(pixels(result.cover) - drawn(request)).max() <= 1
    assert np.abs(pixels(result.cover) - drawn(replace(request, embeddings=()))).max() > 1


@pytest.mark.slow
def test_previews_draw_the_living_word(base: SharedBase, examples: list[Example]) -> None:
    """Each preview is asked for with the vectors as they stand, and its prompts name them."""
    asked: list[NeedPreview] = []

    def seen(want: Any) -> None:
        if isinstance(want, NeedPreview):
            asked.append(want)

    run(base, examples, config(preview_every=2), seen)
    uses = [want.requests[0].embeddings[0] for want in asked]
    assert [want.live.embeddings[0].sha256 for want in asked] == [use.sha256 for use in uses]
    assert len({use.sha256 for use in uses}) == 4, "steps 0, 2, 4, and the end"
    assert all(use.name == NAME for use in uses)


# ---------------------------------------------------------------- what is refused and told
@pytest.mark.parametrize("name", ["a b", "a.b", "_a", "a-", "(a)", "a:1", "x" * 51, "<a>", "é,"])
def test_names_that_prompts_would_not_find_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        config(embedding=name)
    assert (caught.value.code, caught.value.values["field"]) == ("embedding_name_form", "embedding")


@pytest.mark.parametrize("name", ["a", "猫耳", "ctear_v2-1", "x" * 50, "a__b"])
def test_names_that_are_found(name: str) -> None:
    assert config(embedding=name).word == name


def test_bad_sets_and_settings(base: SharedBase, examples: list[Example]) -> None:
    nameless = [replace(one, caption="1girl, blue hair") for one in examples]
    with pytest.raises(DatasetError, match="No caption holds") as caught:
        run(base, nameless, config())
    assert caught.value.code == "embedding_nowhere"
    late = [replace(one, caption=", ".join(["hair"] * 40 + [NAME])) for one in examples]
    with pytest.raises(DatasetError):
        run(base, late, config())
    with pytest.raises(TrainingDiverged, match="changes nothing"):
        run(base, examples, config(learning_rate=0.0, embedding_rate=0.0, embedding_pull=0.0))
    with pytest.raises(TrainingDiverged):
        run(
            base,
            examples,
            config(embedding_rate=10.0, embedding_pull=0.0, learning_rate=10.0, max_grad_norm=0, steps=40),
        )


def test_a_word_that_the_base_knows_is_told(base: SharedBase, examples: list[Example]) -> None:
    told: list[str] = []

    def seen(want: Any) -> None:
        if isinstance(want, Report) and want.type == "warning":
            told.append(want.data["code"])

    known = [replace(one, caption=one.caption.replace(NAME, "cat")) for one in examples]
    run(base, known, config(embedding="cat", steps=1), seen)
    assert told == ["embedding_is_word"]
