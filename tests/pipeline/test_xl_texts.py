"""Stable Diffusion XL's two text encoders, against diffusers' `encode_prompt` and by hand, on real tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.errors import BaseUnavailable, InvalidInput
from lora_studio.pipeline import SharedBase
from tests.support.reading import encode, wanted
from tests.support.tiny import load_tiny, write_tiny_xl

CLEAN = "1girl, blue hair"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_xl(tmp_path_factory.mktemp("xl"))


@pytest.fixture(scope="module")
def base(folder: Path) -> SharedBase:
    return load_tiny(folder)


@pytest.fixture(scope="module")
def pipe(folder: Path) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(folder)


def reference(pipe: StableDiffusionXLPipeline, text: str, clip_skip: int | None = None) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        hidden, _, pooled, _ = pipe.encode_prompt(
            text, device="cpu", do_classifier_free_guidance=False, clip_skip=clip_skip
        )
    return hidden[0], pooled[0]


@pytest.mark.parametrize(("skip", "theirs"), [(1, None), (2, 0), (3, 1)])
def test_encoding_is_diffusers_bit_for_bit(
    base: SharedBase, pipe: StableDiffusionXLPipeline, skip: int, theirs: int | None
) -> None:
    """The layer before the last without a norm, both side by side; our clip skip is diffusers' and two more."""
    hidden, pooled = reference(pipe, CLEAN, theirs)
    found = encode(base, [wanted(base, CLEAN, clip_skip=skip)])[0]
    assert torch.equal(found.embeddings, hidden)
    assert torch.equal(found.pooled, pooled)
    assert found.embeddings.shape == (77, 80)
    assert pooled.shape == (40,)


def test_captions_are_read_alike(base: SharedBase, pipe: StableDiffusionXLPipeline) -> None:
    hidden, pooled = reference(pipe, CLEAN)
    found = base.family.encode_text([CLEAN, "cat"], [(), ()])[0]
    assert torch.allclose(found.embeddings, hidden, atol=1e-6)
    assert torch.allclose(found.pooled, pooled, atol=1e-6)


def test_no_words_in_the_negative_prompt_are_zeros(
    base: SharedBase, pipe: StableDiffusionXLPipeline, tmp_path: Path
) -> None:
    """Where the base says so, and there alone; no words in the positive prompt are the encoding of none."""
    negative, positive = encode(base, [wanted(base, "", negative=True), wanted(base, "")])
    hidden, pooled = reference(pipe, "")
    assert not negative.embeddings.any()
    assert not negative.pooled.any()
    assert torch.allclose(positive.embeddings, hidden, atol=1e-6)
    assert not base.family.encode_text([""], [()])[0].embeddings.any()
    other = load_tiny(write_tiny_xl(tmp_path, zeros=False))
    found = encode(other, [wanted(other, "", negative=True)])[0]
    assert torch.equal(found.embeddings, hidden)
    assert torch.equal(found.pooled, pooled)


def test_the_pooled_vector_is_the_first_chunks(base: SharedBase) -> None:
    """Weights leave it as it is, as A1111 does; 160 words make three chunks."""
    texts = "(cat:1.4) " + "dog " * 74 + "BREAK star", "cat " + "dog " * 74
    long, first = encode(base, [wanted(base, text) for text in texts])
    assert long.embeddings.shape[0] == 154
    assert torch.allclose(long.pooled, first.pooled, atol=1e-6)


def test_each_encoder_restores_its_own_mean(base: SharedBase, pipe: StableDiffusionXLPipeline) -> None:
    """A1111 weighs the two apart: z · w · mean(z) / mean(z · w) for each."""
    hidden, _ = reference(pipe, "cat")
    found = encode(base, [wanted(base, "(cat:1.5)")])[0].embeddings
    weights = torch.ones(77, 1)
    weights[1] = 1.5
    for part in (slice(0, 32), slice(32, 80)):
        z = hidden[:, part]
        expected = z * weights * (z.mean() / (z * weights).mean())
        assert torch.allclose(found[:, part], expected, atol=1e-5)


def test_an_embedding_has_vectors_for_both(base: SharedBase) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = {"clip_l": torch.randn(2, 32, generator=generator), "clip_g": torch.randn(2, 48, generator=generator)}
    embedding = TextEmbedding("thing", "1" * 64, vectors)
    base.family.check_embedding(embedding)
    plain, changed = encode(
        base, [wanted(base, "cat thing"), wanted(base, "cat thing", embeddings={"thing": embedding})]
    )
    for part in (slice(0, 32), slice(32, 80)):
        assert not torch.allclose(plain.embeddings[:, part], changed.embeddings[:, part], atol=1e-3)
    alone = TextEmbedding("thing", "1" * 64, {"clip_l": vectors["clip_l"]})
    with pytest.raises(InvalidInput, match="clip_l 32, clip_g 48"):
        base.family.check_embedding(alone)


def test_what_the_base_says_of_itself(base: SharedBase) -> None:
    info = base.info
    assert (info.family, info.prediction_type, info.zero_terminal_snr) == ("sdxl", "epsilon", False)
    assert info.text_widths == {"clip_l": 32, "clip_g": 48}
    assert (info.defaults.width, info.size_step, info.bucket_step) == (32, 2, 4)
    assert base.family.text_layers == 3
    assert info.parameters == sum(p.numel() for m in base.modules.values() for p in m.parameters())
    assert {key.split(".")[0] for key in base.layers} == {"unet", "text_encoder", "text_encoder_2"}


def test_two_vocabularies_are_refused(tmp_path: Path) -> None:
    """One list of tokens serves both encoders; with two vocabularies one of them would read other words."""
    folder = write_tiny_xl(tmp_path)
    path = folder / "tokenizer_2" / "tokenizer.json"
    told = json.loads(path.read_text())
    vocab = told["model"]["vocab"]
    one, two = list(vocab)[:2]
    vocab[one], vocab[two] = vocab[two], vocab[one]
    path.write_text(json.dumps(told))
    with pytest.raises(BaseUnavailable, match="two tokenizers"):
        load_tiny(folder)
