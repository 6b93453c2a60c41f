"""Texts to embeddings against diffusers, transformers and the formulas, on a real tiny text encoder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPTokenizer

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.pipeline import SharedBase
from lora_studio.pipeline.clip import ClipEncoder
from lora_studio.pipeline.tokens import token_reader
from tests.support.reading import chunks_of, encode, random_embedding, wanted
from tests.support.tiny import ASSETS, EXACT, load_tiny, random_adapter, write_tiny_base

PLAIN = [
    "1girl, blue hair",
    "",
    "  NO Humans,\nred star ",
    "a photo of été 红色 😀, _under_score: fine",
    ", ".join(["cat"] * 37) + ", dog"[:1],  # 75 tokens to the last
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    """Its final norm is made uneven, as training makes it: a fresh one gives outputs of mean 0, which none restores."""
    base = load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))
    generator = torch.Generator().manual_seed(9)
    norm = base.text_encoder.final_layer_norm
    with torch.no_grad():
        norm.weight += torch.randn(32, generator=generator) * 0.3
        norm.bias += torch.randn(32, generator=generator) * 0.3 + 0.2
    return base


@pytest.fixture(scope="module")
def embedded() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(ASSETS / "base" / "tokenizer")


def rows(base: SharedBase, *chunks: list[int], **options: Any) -> Any:
    """transformers' own output for chunks of tokens, each given without begin, end and padding."""
    ids = [[1288, *chunk, 1289, *[1289] * (75 - len(chunk))] for chunk in chunks]
    with torch.no_grad():
        return base.text_encoder(torch.tensor(ids), **options)


def ids_of(base: SharedBase, text: str) -> list[int]:
    return [token.id for token in base.tokenize(text)]


@contextmanager
def calls(base: SharedBase) -> Iterator[list[int]]:
    """How many rows each call of the text encoder had."""
    seen: list[int] = []
    hook = base.text_encoder.embeddings.register_forward_hook(lambda m, args, out: seen.append(len(out)))
    try:
        yield seen
    finally:
        hook.remove()


# ------------------------------------------------------------ plain texts
@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_is_diffusers_bit_for_bit(base: SharedBase, text: str) -> None:
    """A text without special signs gives what diffusers' pipeline gives, so that old requests give their pixels."""
    parts = (base.autoencoder.vae, base.text_encoder, base.family.tokenizer, base.unet, DDIMScheduler())
    pipe = StableDiffusionPipeline(*parts, None, None, requires_safety_checker=False)
    theirs, _ = pipe.encode_prompt(text, "cpu", 1, False)
    assert torch.equal(encode(base, [wanted(base, text)])[0].embeddings, theirs[0])


@pytest.mark.parametrize("emphasis", ["original", "no norm", "comfy", "compel"])
def test_plain_texts_together_are_as_captions(base: SharedBase, emphasis: str) -> None:
    """Prompt and negative prompt in one call: the same bits as before the prompt language was read, in any mode."""
    pair = [PLAIN[0], PLAIN[2]]
    before = base.family.encode_text(pair, [(), ()])
    with calls(base) as seen:
        now = encode(base, [wanted(base, text, emphasis=emphasis) for text in pair])
    assert seen == [2]
    assert all(torch.equal(a.embeddings, b.embeddings) for a, b in zip(now, before, strict=True))


def test_equal_rows_are_encoded_once(base: SharedBase) -> None:
    """Two texts that share a chunk, and one that comes twice: three different chunks, one call."""
    long = "cat, BREAK dog", "bird BREAK dog", "cat, BREAK dog"
    with calls(base) as seen:
        one, two, three = encode(base, [wanted(base, text) for text in long])
    assert seen == [3]
    assert torch.equal(one.embeddings, three.embeddings)
    assert torch.equal(one.embeddings[77:], two.embeddings[77:])


def test_many_rows_take_several_turns(base: SharedBase) -> None:
    """A cancel never waits for more than one call of 32 rows."""
    job = base.family.encode([wanted(base, f"cat {number}") for number in range(70)])
    with calls(base) as seen:
        turns = sum(1 for _ in job)
    assert (seen, turns) == ([32, 32, 6], 3)


# ------------------------------------------------------------ chunks
def test_chunks_are_encoded_alone_and_joined(base: SharedBase) -> None:
    """Fifty words, a comma and thirty more: A1111 moves what follows the comma to the second chunk."""
    text = " ".join(["cat"] * 55) + ", " + " ".join(["dog"] * 30)
    found = encode(base, [wanted(base, text)])[0]
    cat, comma, dog = ids_of(base, "cat"), ids_of(base, ","), ids_of(base, "dog")
    first = cat * 55 + comma
    assert len(first) <= 75
    reference = rows(base, first, dog * 30)
    assert torch.equal(found.embeddings, reference.last_hidden_state.reshape(154, 32))
    assert torch.equal(found.pooled, reference.pooler_output[0])


def test_ten_thousand_characters(base: SharedBase) -> None:
    text = ("1girl, (blue hair:1.2), " * 500)[:10_000]
    found = encode(base, [wanted(base, text)])[0].embeddings
    assert found.shape[0] % 77 == 0
    assert found.shape[0] > 20 * 77
    assert found.isfinite().all()


def test_padding_is_the_tokenizers_own(base: SharedBase) -> None:
    """Stable Diffusion 2 pads with another token than the end."""
    tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "base" / "tokenizer", pad_token="!")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    encoder = ClipEncoder(base.text_encoder, tokenizer, base.slots, EXACT, "clip_l")
    job = encoder.encode([wanted(base, "cat")])
    next(job)
    with pytest.raises(StopIteration) as end:
        next(job)
    ids = tokenizer("cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        assert torch.equal(end.value.value[0].embeddings, base.text_encoder(ids).last_hidden_state[0])


# ------------------------------------------------------------ clip skip
@pytest.mark.parametrize("skip", [1, 2])
def test_clip_skip_is_the_layers_output_through_the_final_norm(base: SharedBase, skip: int) -> None:
    """Against the layer's own output, caught on its way; diffusers' clip skip fails on this transformers."""
    caught: list[Tensor] = []
    layer = base.text_encoder.encoder.layers[-skip]
    hook = layer.register_forward_hook(lambda m, args, out: caught.append(out))
    try:
        rows(base, ids_of(base, "red star"))
    finally:
        hook.remove()
    with torch.no_grad():
        reference = base.text_encoder.final_layer_norm(caught[0])[0]
    found = encode(base, [wanted(base, "red star", clip_skip=skip)])[0]
    assert torch.equal(found.embeddings, reference)
    assert torch.equal(found.pooled, rows(base, ids_of(base, "red star")).pooler_output[0])


def test_clip_skips_side_by_side(base: SharedBase) -> None:
    """Two requests of one job may read different layers."""
    one, two = encode(base, [wanted(base, "red star", clip_skip=skip) for skip in (1, 2)])
    assert not torch.allclose(one.embeddings, two.embeddings, atol=1e-3)
    assert torch.equal(one.embeddings, encode(base, [wanted(base, "red star")])[0].embeddings)


# ------------------------------------------------------------ emphasis
WEIGHTED = "cat, (dog:1.4), [bird] BREAK (star:0.5) (moon:0.25)"
"""Two chunks: weights 1, 1.4, 1/1.1, and 0.5, 0.25."""


def weighted(base: SharedBase) -> tuple[list[list[int]], Tensor]:
    """Its tokens by chunk, and the weights (2, 77) with 1 for begin, end and padding."""
    pieces = [[("cat,", 1.0), ("dog", 1.4), (",", 1.0), ("bird", 1 / 1.1)], [("star", 0.5), ("moon", 0.25)]]
    chunks = [[id_ for words, _ in piece for id_ in ids_of(base, words)] for piece in pieces]
    weights = torch.ones(2, 77)
    for number, piece in enumerate(pieces):
        at = 1
        for words, weight in piece:
            count = len(ids_of(base, words))
            weights[number, at : at + count] = weight
            at += count
    return chunks, weights


def test_the_weighted_text_is_cut_as_the_tests_below_think(base: SharedBase) -> None:
    chunks, weights = weighted(base)
    found = chunks_of(base, WEIGHTED)
    assert [[token.id for token in chunk.tokens] for chunk in found] == chunks
    for chunk, expected in zip(found, weights, strict=True):
        given = torch.tensor([token.weight for token in chunk.tokens])
        assert torch.allclose(given, expected[1 : 1 + len(given)])


@pytest.mark.parametrize("skip", [1, 2])
def test_original_and_no_norm_by_the_formula(base: SharedBase, skip: int) -> None:
    chunks, weights = weighted(base)
    z = rows(base, *chunks, output_hidden_states=True).hidden_states[-skip]
    with torch.no_grad():
        z = base.text_encoder.final_layer_norm(z)
    plain = z * weights[..., None]
    restored = torch.stack([p * (before.mean() / p.mean()) for p, before in zip(plain, z, strict=True)])
    for name, reference in (("no norm", plain), ("original", restored)):
        found = encode(base, [wanted(base, WEIGHTED, emphasis=name, clip_skip=skip)])[0]
        assert torch.allclose(found.embeddings, reference.reshape(154, 32), atol=1e-6), name
    assert (plain - restored).abs().max() > 1e-3


def test_comfy_by_the_formula(base: SharedBase) -> None:
    chunks, weights = weighted(base)
    z, empty = rows(base, *chunks).last_hidden_state, rows(base, []).last_hidden_state
    found = encode(base, [wanted(base, WEIGHTED, emphasis="comfy")])[0].embeddings
    assert torch.allclose(found, (empty + weights[..., None] * (z - empty)).reshape(154, 32), atol=1e-6)


def test_compel_by_the_formula(base: SharedBase) -> None:
    """Three spans below 1; each is hidden from attention in turn, and what is without it is blended in by its tan."""
    chunks, weights = weighted(base)
    empty = rows(base, []).last_hidden_state

    def build(mask: Tensor) -> Tensor:
        z = rows(base, *chunks, attention_mask=mask).last_hidden_state
        return (empty + weights[..., None] * (z - empty)).reshape(154, 32)

    hidden = []
    for weight in (1 / 1.1, 0.5, 0.25):
        mask = torch.ones(2, 77, dtype=torch.long)
        mask[(weights - weight).abs() < 1e-6] = 0
        hidden.append((math.tan((1 - weight) * math.pi / 2), mask))
    total = 1 + sum(t for t, _ in hidden)
    reference = build(torch.ones(2, 77, dtype=torch.long)) / total
    for t, mask in hidden:
        reference = reference + build(mask) * (t / total)
    found = encode(base, [wanted(base, WEIGHTED, emphasis="compel")])[0].embeddings
    assert torch.allclose(found, reference, atol=1e-5)
    comfy = encode(base, [wanted(base, WEIGHTED, emphasis="comfy")])[0].embeddings
    assert (found - comfy).abs().max() > 1e-2


def test_equal_spans_apart_are_hidden_apart(base: SharedBase) -> None:
    """`(a:0.5) (b:0.5)` are two words that are half wanted, not one: two rows more."""
    with calls(base) as seen:
        encode(base, [wanted(base, "(cat:0.5) (dog:0.5)", emphasis="compel")])
    assert seen == [4]


def test_weights_leave_the_pooled_vector(base: SharedBase) -> None:
    plain, heavy = encode(base, [wanted(base, "cat dog"), wanted(base, "(cat dog:1.7)")])
    assert torch.allclose(plain.pooled, heavy.pooled)
    assert not torch.allclose(plain.embeddings, heavy.embeddings)


@pytest.mark.parametrize("emphasis", ["original", "no norm", "comfy", "compel"])
@pytest.mark.parametrize("text", ["(cat:0)", "(cat:-3)", "(cat:10000) (dog:-10000)", "(:1.3)", "(((((((("])
def test_any_weight_is_finite(base: SharedBase, text: str, emphasis: str) -> None:
    assert encode(base, [wanted(base, text, emphasis=emphasis)])[0].embeddings.isfinite().all()


# ------------------------------------------------------------ embeddings
@contextmanager
def written(base: SharedBase, vectors: Tensor, first: int) -> Iterator[list[int]]:
    """The vectors written over the last token embeddings from `first` on: what a text of these ids then reads."""
    table = base.text_encoder.embeddings.token_embedding.weight
    kept = table[first : first + len(vectors)].clone()
    with torch.no_grad():
        table[first : first + len(vectors)] = vectors
        try:
            yield list(range(first, first + len(vectors)))
        finally:
            table[first : first + len(vectors)] = kept


def test_vectors_land_in_their_places(base: SharedBase) -> None:
    """Two embeddings in one chunk, named in other capitals and weighted: as if tokens had these vectors."""
    one, two = random_embedding("EasyNegativeV2", 16, seed=1), random_embedding("badhandv4", 6, seed=2)
    known = {one.name: one, two.name: two}
    found = encode(base, [wanted(base, "cat, easynegativev2, (BADHANDV4:1.3) dog", embeddings=known)])[0]
    with (
        written(base, one.vectors["clip_l"], 1000) as first,
        written(base, two.vectors["clip_l"], 1020) as second,
    ):
        ids = [*ids_of(base, "cat,"), *first, *ids_of(base, ","), *second, *ids_of(base, "dog")]
        z = rows(base, ids).last_hidden_state[0]
    weights = torch.ones(77)
    at = 1 + ids.index(1020)
    weights[at : at + 6] = 1.3
    reference = z * weights[:, None]
    assert torch.allclose(found.embeddings, reference * (z.mean() / reference.mean()), atol=1e-6)


def test_an_embedding_of_75_vectors_takes_a_whole_chunk(base: SharedBase) -> None:
    """The seed demonstration's three: 16, 75 and 6 vectors, in three chunks."""
    sizes = {"EasyNegativeV2": 16, "ng_deepnegative_v1_75t": 75, "badhandv4": 6}
    known = {name: random_embedding(name, n, seed=n) for name, n in sizes.items()}
    text = "EasyNegativeV2, ng_deepnegative_v1_75t, badhandv4"
    found = encode(base, [wanted(base, text, embeddings=known)])[0].embeddings
    assert found.shape == (231, 32)
    with written(base, known["ng_deepnegative_v1_75t"].vectors["clip_l"], 1000) as ids:
        assert torch.equal(found[77:154], rows(base, [1], ids).last_hidden_state[1])


def test_vectors_leave_nothing_behind(base: SharedBase) -> None:
    before = encode(base, [wanted(base, "cat")])[0].embeddings
    embedding = random_embedding("thing", 3, seed=3)
    with_it, plain = encode(base, [wanted(base, t, embeddings={"thing": embedding}) for t in ("thing", "cat")])
    assert not torch.allclose(with_it.embeddings, before, atol=1e-3)
    assert torch.allclose(plain.embeddings, before, atol=1e-6)
    assert torch.equal(encode(base, [wanted(base, "cat")])[0].embeddings, before)
    broken = TextEmbedding("thing", "0" * 64, {"clip_l": torch.zeros(3, 5)})
    with pytest.raises(RuntimeError):
        encode(base, [wanted(base, "thing", embeddings={"thing": broken})])
    assert torch.equal(encode(base, [wanted(base, "cat")])[0].embeddings, before)


# ------------------------------------------------------------ adapters
def test_each_text_under_its_own_mix(base: SharedBase) -> None:
    """Equal words under two mixes are two rows of one call, and each equals being alone."""
    adapter = random_adapter(base, 1, size=0.3)
    mixes = [(), ((adapter, 0.7),), ((adapter, -0.4),)]
    with calls(base) as seen:
        together = encode(base, [wanted(base, "cat", mix=mix) for mix in mixes])
    assert seen == [3]
    for condition, mix in zip(together, mixes, strict=True):
        alone = encode(base, [wanted(base, "cat", mix=mix)])[0]
        assert torch.allclose(condition.embeddings, alone.embeddings, atol=1e-6)
    assert (together[0].embeddings - together[1].embeddings).abs().max() > 1e-3


def test_an_adapter_of_the_unet_alone_costs_nothing(base: SharedBase) -> None:
    both = random_adapter(base, 1)
    adapter = CanonicalAdapter("unet alone", {k: c for k, c in both.layers.items() if k.startswith("unet.")})
    with calls(base) as seen:
        encode(base, [wanted(base, "cat", mix=mix) for mix in ((), ((adapter, 0.7),))])
    assert seen == [1]


# ------------------------------------------------------------ tokens
def test_tokens_know_their_characters(embedded: CLIPTokenizer) -> None:
    text = "A  Cat,\nété 红 😀"
    tokens = token_reader(embedded)(text)
    assert [token.id for token in tokens] == embedded(text, add_special_tokens=False).input_ids
    assert [text[t.start : t.end] for t in tokens[:3]] == ["A", "Cat", ","]
    assert {text[t.start : t.end] for t in tokens} == {"A", "Cat", ",", "é", "t", "红", "😀"}


def test_half_a_character_is_read(embedded: CLIPTokenizer) -> None:
    """Half of a surrogate pair, which a page can send, ended in an exception of the tokenizer."""
    tokens = token_reader(embedded)("a \ud83d cat")
    assert [(t.start, t.end) for t in tokens][-1] == (4, 7)
