"""From the texts of requests to conditionings over the steps, on real tiny models."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.generate import generate
from lora_studio.generate.job import check_fits
from lora_studio.generate.texts import MOST_CHUNKS, Said, encode_texts
from lora_studio.pipeline import Report, SharedBase, Turn
from lora_studio.pipeline.conditioning import at_step
from lora_studio.types import AdapterWeight, EmbeddingUse, GenerateRequest, from_json, to_json
from tests.support.reading import encode, random_embedding, run, wanted
from tests.support.tiny import drive, load_tiny, random_adapter, write_tiny_base

STEPS = 6
CASES = Path(__file__).resolve().parents[1] / "prompt" / "cases.json"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))


def ask(prompt: str = "cat", **changes: Any) -> GenerateRequest:
    plain = {"width": 32, "height": 32, "num_inference_steps": STEPS, "guidance_scale": 4.0, "sampler": "euler"}
    return GenerateRequest(**{"prompt": prompt, "seed": 1} | plain | changes)


def said(base: SharedBase, request: GenerateRequest, **options: Any) -> tuple[Said, list[Any]]:
    """What a request says, and what was yielded on the way."""
    mix = options.pop("mix", ())
    result, seen = run(encode_texts(base, [(request, mix)], options.pop("embedding", nothing)))
    return result[0], seen


def nothing(sha256: str) -> Any:
    raise AssertionError(f"nobody named the embedding {sha256}")


def warnings(seen: list[Any]) -> list[dict[str, Any]]:
    return [want.data for want in seen if isinstance(want, Report)]


def plain(base: SharedBase, text: str, **options: Any) -> torch.Tensor:
    return encode(base, [wanted(base, text, **options)])[0].embeddings


# ------------------------------------------------------------ schedules
SCHEDULES = {
    "[cat:dog:2]": ["cat", "cat", "dog", "dog", "dog", "dog"],
    "[cat:dog:0.5] red": ["cat red"] * 3 + ["dog red"] * 3,
    "[cat::1]": ["cat"] + [""] * 5,
    "[dog:5]": [""] * 5 + ["dog"],
    "[cat|dog|bird]": ["cat", "dog", "bird"] * 2,
    "[(cat:1.3):[dog|bird]:3]": ["(cat:1.3)"] * 3 + ["bird", "dog", "bird"],
    "[cat:dog:0]": ["dog"] * 6,
    "[cat:dog:9]": ["cat"] * 6,
}


@pytest.mark.parametrize("prompt", SCHEDULES)
@pytest.mark.parametrize("negative", [False, True])
def test_each_step_has_its_own_text(base: SharedBase, prompt: str, negative: bool) -> None:
    """At every step the embeddings are those of that step's text alone, and no text is encoded twice."""
    texts = SCHEDULES[prompt]
    found, seen = said(base, ask("x", negative_prompt=prompt) if negative else ask(prompt))
    reference = {text: plain(base, text) for text in set(texts)}
    for step, text in enumerate(texts, 1):
        (part,) = at_step(found[negative], step)
        assert torch.allclose(part.embeddings, reference[text], atol=1e-6), (step, text)
    distinct = {id(at_step(found[negative], step)[0].embeddings) for step in range(1, STEPS + 1)}
    assert len(distinct) == len(set(texts))
    assert sum(isinstance(want, Turn) for want in seen) == 1


def test_the_texts_differ(base: SharedBase) -> None:
    """The equalities above would hold of an encoder that reads nothing."""
    assert (plain(base, "cat") - plain(base, "dog")).abs().max() > 1e-2


def test_old_counting(base: SharedBase) -> None:
    """`[cat:dog:1.0]` never switches now, and switched after step 1 in A1111 before 1.6."""
    for old, text in ((False, "cat"), (True, "dog")):
        found, _ = said(base, ask("[cat:dog:1.0]", old_scheduling=old))
        assert torch.allclose(at_step(found[0], 2)[0].embeddings, plain(base, text), atol=1e-6)


def test_a_schedule_changes_at_the_right_step_of_the_job(base: SharedBase) -> None:
    """In the model calls themselves: row 0 is the negative prompt, row 1 the prompt."""
    calls: list[Any] = []
    request = ask("[cat:dog:2]", negative_prompt="[a|b]")
    drive(base, generate(base, [request], nothing), lambda want: calls.append(want))
    rows = [want.embeddings for want in calls if hasattr(want, "timesteps")]
    assert len(rows) == STEPS
    for step, (below, above) in enumerate(rows, 1):
        assert torch.allclose(below, plain(base, "a" if step % 2 else "b"), atol=1e-6)
        assert torch.allclose(above, plain(base, "cat" if step <= 2 else "dog"), atol=1e-6)


# ------------------------------------------------------------ AND, tags, modes
def test_and_makes_weighted_parts_in_the_prompt_alone(base: SharedBase) -> None:
    found, _ = said(base, ask("cat :0.7 AND [dog:bird:3] AND sun:-0.2", negative_prompt="cat AND dog"))
    for step, texts in ((1, ("cat", "dog", "sun")), (4, ("cat", "bird", "sun"))):
        parts = at_step(found[0], step)
        assert [part.weight for part in parts] == [0.7, 1.0, -0.2]
        for part, text in zip(parts, texts, strict=True):
            assert torch.allclose(part.embeddings, plain(base, text), atol=1e-6)
    (negative,) = at_step(found[1], 1)
    assert torch.allclose(negative.embeddings, plain(base, "cat AND dog"), atol=1e-6)


def test_tags_are_taken_out_and_do_not_act(base: SharedBase) -> None:
    found, _ = said(base, ask("cat <lora:nobody:0.8>, dog"))
    assert torch.equal(at_step(found[0], 1)[0].embeddings, at_step(said(base, ask("cat , dog"))[0][0], 1)[0].embeddings)


def test_the_mode_decides_numbers_and_brackets(base: SharedBase) -> None:
    """ComfyUI reads `(cat (dog:1.5):1.2)` as dog 1.5 and square brackets as characters; A1111 as dog 1.8."""
    text = "(cat (dog:1.5):1.2)"
    for mode, same in (("original", "(cat:1.2) (dog:1.8)"), ("no norm", "(cat:1.2) (dog:1.8)")):
        found = at_step(said(base, ask(text, emphasis=mode))[0][0], 1)[0].embeddings
        assert torch.allclose(found, plain(base, same, emphasis=mode), atol=1e-5)
    found = at_step(said(base, ask(text, emphasis="comfy"))[0][0], 1)[0].embeddings
    assert torch.allclose(found, plain(base, "(cat:1.2) (dog:1.5)", emphasis="comfy"), atol=1e-5)
    square = at_step(said(base, ask("[cat]", emphasis="comfy"))[0][0], 1)[0].embeddings
    assert torch.allclose(square, plain(base, r"\[cat\]"), atol=1e-6)


def test_warnings_reach_the_job_once(base: SharedBase) -> None:
    """Pictures of one prompt with different seeds, or a prompt in many requests: said once, with its words."""
    requests = [(ask("(cat <hypernet:x:1>", seed=seed), ()) for seed in range(3)]
    _, seen = run(encode_texts(base, requests, nothing))
    told = warnings(seen)
    assert [one["code"] for one in told] == ["tag_unsupported", "bracket_unclosed"]
    assert told[1]["values"] == {"bracket": "(", "count": 1}
    assert "<hypernet:x:1>" in told[0]["message"]
    assert warnings(said(base, ask("cat, (dog:1.3)"))[1]) == []


# ------------------------------------------------------------ lengths
LONG = "cat, " * 60


def test_padding_with_empty_chunks(base: SharedBase) -> None:
    """The shorter side gets as many encoded empty chunks as it lacks, at each step of its own."""
    found, _ = said(base, ask(f"[cat:{LONG}:2]", negative_prompt=LONG, pad_prompts=True))
    empty, long = plain(base, ""), plain(base, LONG)
    assert long.shape[0] == 154
    for step in (1, 2):
        (part,) = at_step(found[0], step)
        assert torch.allclose(part.embeddings, torch.cat([plain(base, "cat"), empty]), atol=1e-6)
    for side, step in ((0, 3), (1, 1), (1, 6)):
        (part,) = at_step(found[side], step)
        assert torch.allclose(part.embeddings, long, atol=1e-6)
    free, _ = said(base, ask("cat", negative_prompt=LONG))
    assert [at_step(side, 1)[0].embeddings.shape[0] for side in free] == [77, 154]


def test_padding_is_a_request_of_its_own(base: SharedBase) -> None:
    """The same words padded and not, in one job."""
    asked = [(ask("cat", negative_prompt=LONG, pad_prompts=padded), ()) for padded in (True, False)]
    padded, free = run(encode_texts(base, asked, nothing))[0]
    assert [at_step(one[0], 1)[0].embeddings.shape[0] for one in (padded, free)] == [154, 77]


# ------------------------------------------------------------ embeddings
def test_embeddings_are_read_by_the_requests_sha256(base: SharedBase) -> None:
    """Once per job, found under the request's name for it on both sides."""
    embedding = random_embedding("another name", 4, seed=5)
    asked: list[str] = []

    def read(sha256: str) -> Any:
        asked.append(sha256)
        return embedding

    request = ask("cat, BadHands", negative_prompt="badhands", embeddings=(EmbeddingUse("badhands", "ab" * 32),))
    found, _ = said(base, request, embedding=read)
    known = {"badhands": embedding}
    for side, text in ((0, "cat, badhands"), (1, "badhands")):
        part = at_step(found[side], 1)[0].embeddings
        assert torch.allclose(part, plain(base, text, embeddings=known), atol=1e-6)
        assert (part - plain(base, text)).abs().max() > 1e-3
    assert asked == ["ab" * 32]


def test_an_embedding_of_another_kind_of_base(base: SharedBase) -> None:
    request = ask("thing", embeddings=(EmbeddingUse("thing", "0" * 64),))
    with pytest.raises(InvalidInput, match="clip_l 768") as caught:
        said(base, request, embedding=lambda sha256: random_embedding("thing", 2, width=768))
    assert caught.value.code == "embedding_other_base"


def test_a_job_without_a_reader_names_what_is_missing(base: SharedBase) -> None:
    with pytest.raises(NotFound, match="0000000000"):
        drive(base, generate(base, [ask("thing", embeddings=(EmbeddingUse("thing", "0" * 64),))], nothing))


def test_an_embedding_that_fits_in_no_chunk(base: SharedBase) -> None:
    embedding = random_embedding("thing", 80)
    request = ask("thing", embeddings=(EmbeddingUse("thing", embedding.sha256),))
    found, seen = said(base, request, embedding=lambda sha256: embedding)
    assert [one["code"] for one in warnings(seen)] == ["embedding_too_long"]
    assert torch.allclose(at_step(found[0], 1)[0].embeddings, plain(base, "thing"), atol=1e-6)


def test_the_demonstration(base: SharedBase) -> None:
    """The published prompt with stand-ins of 16, 75 and 6 vectors: no warning, chunks of 75, every vector in its place.

    Taking a name out of the list changes the chunks from its place on, so each of them is really read.
    """
    case = json.loads(CASES.read_text(encoding="utf-8"))["demonstration"]
    files = {name: random_embedding(name, count, seed=count) for name, count in case["embeddings"].items()}
    by_hash = {embedding.sha256: embedding for embedding in files.values()}
    uses = tuple(EmbeddingUse(name, embedding.sha256) for name, embedding in files.items())
    request = ask(case["prompt"], negative_prompt=case["negative_prompt"], embeddings=uses)
    found, seen = said(base, request, embedding=by_hash.__getitem__)
    assert warnings(seen) == []
    positive, negative = (at_step(side, 1)[0].embeddings for side in found)
    assert min(len(positive), len(negative)) >= 3 * 77
    assert all(len(side) % 77 == 0 and side.isfinite().all() for side in (positive, negative))
    for left_out in uses:
        fewer = dataclasses.replace(request, embeddings=tuple(use for use in uses if use != left_out))
        other = at_step(said(base, fewer, embedding=by_hash.__getitem__)[0][1], 1)[0].embeddings
        assert other.shape != negative.shape or (other - negative).abs().max() > 1e-3


# ------------------------------------------------------------ how much
def alternating(counts: tuple[int, ...], words: str) -> str:
    """A prompt with as many alternatives in each place, which makes a text of its own of (nearly) every step."""
    choices = ["[" + "|".join(f"w{n}" for n in range(count)) + "]" for count in counts]
    return " ".join(choices) + " " + words


def test_more_texts_than_memory_holds_are_refused_before_they_are_encoded(base: SharedBase) -> None:
    """One request could ask for fifty thousand chunks, 12 GB; on a CPU the system ends the process then."""
    request = ask(alternating((9, 10, 11), "word, " * 800), num_inference_steps=900)
    seen: list[Any] = []
    job = encode_texts(base, [(request, ())], nothing)
    with pytest.raises(InvalidInput, match=f"more than {MOST_CHUNKS} different chunks") as caught:
        seen.extend(job)
    assert caught.value.code == "prompt_too_many_texts"
    assert not any(isinstance(want, Turn) for want in seen), "nothing was encoded"


def test_a_thousand_short_texts_are_no_trouble(base: SharedBase) -> None:
    request = ask(alternating((9, 10, 11), "cat"), num_inference_steps=900)
    found, _ = said(base, request)
    assert len({id(segment.parts[0].embeddings) for segment in found[0]}) == 900


# ------------------------------------------------------------ pictures that are none
class Blind:
    """An autoencoder that sees nothing: its pictures are no numbers."""

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.full_like(self._plain.decode(latents), float("nan"))


def test_a_picture_without_numbers_is_told_once(base: SharedBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """float16 or weights of 10 made black pictures, and nothing said why."""
    monkeypatch.setattr(base, "autoencoder", Blind(base.autoencoder))
    seen: list[Any] = []
    pictures = drive(base, generate(base, [ask(num_images=2, num_inference_steps=1)], nothing), seen.append)
    assert len(pictures) == 2
    told = warnings([want for want in seen if isinstance(want, Report) and want.type == "warning"])
    assert [(one["code"], one["values"]) for one in told] == [("picture_not_finite", {"numbers": "float32"})]


def test_pictures_are_let_go_of_once_they_are_told(base: SharedBase) -> None:
    """All PNGs of a job, a thousand perhaps, stayed in memory to its end, though each was stored as it came."""
    seen: list[Any] = []
    asked = [ask(num_images=2, num_inference_steps=1)]
    kept = drive(base, generate(base, asked, nothing))
    gone = drive(base, generate(base, asked, nothing, keep=False), seen.append)
    stored = [want.data["sha256"].data for want in seen if isinstance(want, Report) and want.type == "picture"]
    assert stored == [picture.png for picture in kept]
    assert [(picture.png, picture.seed) for picture in gone] == [(b"", 1), (b"", 2)]


# ------------------------------------------------------------ adapters and clip skip
def test_the_text_encoder_has_a_weight_of_its_own(base: SharedBase) -> None:
    """The UNet sees one weight, the text another; None is the same for both, and 0 for both reads no file."""
    adapter = random_adapter(base, 1, size=0.3)
    for weight, own, unet, text in (
        (0.5, None, 0.5, 0.5),
        (0.5, 0.9, 0.5, 0.9),
        (0.0, 0.9, None, 0.9),
        (0.5, 0.0, 0.5, 0),
    ):
        seen: list[Any] = []
        chosen = AdapterWeight("0" * 64, "a", weight, own)
        drive(base, generate(base, [ask("cat", adapters=(chosen,))], lambda sha256: adapter), seen.append)
        call = next(want for want in seen if hasattr(want, "timesteps"))
        assert call.mixes[0] == (() if unet is None else ((adapter, unet),))
        reference = plain(base, "cat", mix=((adapter, text),) if text else ())
        assert torch.allclose(call.embeddings[1], reference, atol=1e-5)
    nobody = AdapterWeight("0" * 64, "a", 0.0)
    drive(base, generate(base, [ask("cat", adapters=(nobody,))], nothing))


def test_clip_skip_reaches_the_text(base: SharedBase) -> None:
    found, _ = said(base, ask("cat", clip_skip=2))
    assert torch.allclose(at_step(found[0], 1)[0].embeddings, plain(base, "cat", clip_skip=2), atol=1e-6)


def test_clip_skip_beyond_the_layers_is_refused(base: SharedBase) -> None:
    check_fits(base, ask(clip_skip=2))
    with pytest.raises(InvalidInput, match="2 layers"):
        check_fits(base, ask(clip_skip=3))


# ------------------------------------------------------------ requests
def test_old_stored_requests_are_read() -> None:
    """A request of before the prompt language has none of its fields."""
    data = to_json(ask("cat", adapters=(AdapterWeight("0" * 64, "a", 0.5),)))
    for name in ("embeddings", "clip_skip", "emphasis", "pad_prompts", "old_scheduling"):
        del data[name]
    del data["adapters"][0]["text_encoder_weight"]
    assert from_json(GenerateRequest, data) == ask("cat", adapters=(AdapterWeight("0" * 64, "a", 0.5),))


def test_new_fields_come_back() -> None:
    request = ask(
        "cat",
        adapters=(AdapterWeight("0" * 64, "a", 0.5, -0.25),),
        embeddings=(EmbeddingUse("bad", "1" * 64),),
        clip_skip=2,
        emphasis="no norm",
        pad_prompts=True,
        old_scheduling=True,
    )
    assert from_json(GenerateRequest, to_json(request)) == request


@pytest.mark.parametrize(
    "changes",
    [{"clip_skip": 0}, {"clip_skip": 13}, {"emphasis": "Original"}, {"pad_prompts": "no"}, {"old_scheduling": 1}],
)
def test_values_that_are_not_allowed(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(changes))):
        ask(**changes)


@pytest.mark.parametrize(
    "prompt",
    [
        "(((((cat",
        "[a|b",
        "a AND AND :2 AND",
        "<lora:",
        "\\",
        "(:::1.2)",
        "[::]",
        "BREAK BREAK",
        "a AND b " * 40,
        "(a:1e5)",
    ],
)
def test_any_text_makes_a_picture(base: SharedBase, prompt: str) -> None:
    request = dataclasses.replace(ask(prompt), num_inference_steps=1)
    (picture,) = drive(base, generate(base, [request], nothing))
    assert picture.png.startswith(b"\x89PNG")


def test_steps_and_blocks_decide_what_acts_in_the_unet_alone(base: SharedBase) -> None:
    """Steps 3 and 4 of 6 with one block at half its weight; the words are read with the whole weight all the same."""
    adapter, other = random_adapter(base, 1, size=0.3), random_adapter(base, 2)
    names = base.info.blocks.names
    factors = tuple(0.5 if name == "M00" else 1.0 for name in names)
    chosen = (
        AdapterWeight("0" * 64, "a", 0.8, None, 1 / 3, 2 / 3, factors),
        AdapterWeight("1" * 64, "b", 0.4, blocks=(1.0,) * len(names)),
    )
    calls: list[Any] = []
    reads = {"0" * 64: adapter, "1" * 64: other}
    drive(base, generate(base, [ask("cat", adapters=chosen)], reads.__getitem__), calls.append)
    mixes = [want.mixes[0] for want in calls if hasattr(want, "timesteps")]
    by_block = (*(0.8 * factor for factor in factors), 0.8)
    assert mixes == [((other, 0.4),)] * 2 + [((adapter, by_block), (other, 0.4))] * 2 + [((other, 0.4),)] * 2
    reference = plain(base, "cat", mix=((adapter, 0.8), (other, 0.4)))
    first = next(want for want in calls if hasattr(want, "timesteps"))
    assert torch.allclose(first.embeddings[1], reference, atol=1e-5)


def test_block_weights_of_another_base_are_refused(base: SharedBase) -> None:
    with pytest.raises(
        InvalidInput, match=f"are 25, and the UNet of .* has {len(base.info.blocks.names)} blocks"
    ) as told:
        check_fits(base, ask(adapters=(AdapterWeight("0" * 64, "ink", 0.8, blocks=(1.0,) * 25),)))
    assert told.value.code == "blocks_of_another_base"
