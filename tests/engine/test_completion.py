"""`lora_studio.engine.completion`: styles, tags and names of embeddings become what acts."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.engine.completion import Found, Shelves, complete, completed, look_up, requests_of
from lora_studio.errors import InvalidInput
from lora_studio.prompt.chunks import Token
from lora_studio.prompt.language import parse
from lora_studio.prompt.schedules import Counting
from lora_studio.store import Workspace
from lora_studio.types import (
    AdapterEntry,
    AdapterWeight,
    EmbeddingEntry,
    EmbeddingUse,
    GenerateRequest,
    JobSpec,
    StyleEntry,
    from_json,
    to_json,
)
from lora_studio.types.library import BUNDLED, bundled_in, bundled_text
from tests.support.fake_engine import BASES

BASE = BASES["embedded"]


def words(text: str) -> list[Token]:
    """A tokenizer: each word or sign is a token, numbered by its letters."""
    found = re.finditer(r"\w+|[^\w\s]", text)
    return [Token(int.from_bytes(m.group().lower().encode()[-7:], "big"), *m.span()) for m in found]


def request(prompt: str, negative: str = "", **changes: Any) -> GenerateRequest:
    given = {"width": 64, "height": 64, "num_inference_steps": 8, "guidance_scale": 2.0, "sampler": "ddim", "seed": 1}
    return GenerateRequest(prompt=prompt, negative_prompt=negative, **(given | changes))


@pytest.fixture
def workspace(tmp_path: Path, empty_workspace: Path) -> Iterator[Workspace]:
    with Workspace.open(shutil.copytree(empty_workspace, tmp_path / "workspace")) as opened:
        for name, owner in (("Cat ears", "ann"), ("ben's own", "ben")):
            sha256 = opened.files.put_bytes(name.encode(), ".safetensors")
            meta = {"ss_output_name": "nekomimi"}
            opened.adapters.add(AdapterEntry(sha256, name, owner, time.time(), 8, metadata=meta))
        yield opened


def sha_of(workspace: Workspace, name: str) -> str:
    return workspace.adapters.find(name).sha256


def codes(warnings: Any) -> list[str]:
    return [warn.code for warn in warnings]


# ---------------------------------------------------------------- tags
@pytest.mark.parametrize("name", ["Cat ears", "CAT EARS", "cat_ears", "nekomimi", "sub/cat_ears.safetensors"])
def test_a_tag_becomes_an_adapter_and_stays_in_the_text(workspace: Workspace, name: str) -> None:
    asked = request(f"a cat <lora:{name}:0.8>")
    done, warnings = complete(asked, workspace, "ann")
    assert done.adapters == (AdapterWeight(sha_of(workspace, "Cat ears"), "Cat ears", 0.8),)
    assert (done.prompt, warnings) == (asked.prompt, ())
    assert complete(done, workspace, "ann") == (done, ()), "completing twice changes nothing"


def test_several_files_of_one_name(workspace: Workspace) -> None:
    """A1111 loads whichever it read last; here none acts where no label decides, and both cases are said."""
    for number, name in enumerate(("Kitty", "Tiger")):
        sha256 = workspace.files.put_bytes(name.encode(), ".safetensors")
        workspace.adapters.add(AdapterEntry(sha256, name, "ann", time.time() + number, 8, stem="cat"))
    done, warnings = complete(request("x <lora:cat:1>"), workspace, "ann")
    assert (done.adapters, codes(warnings)) == ((), ["adapter_several"])
    assert warnings[0].values["near"] == "Tiger, Kitty"
    workspace.adapters.update(sha_of(workspace, "Tiger"), name="cat")
    done, warnings = complete(request("x <lora:cat:1>"), workspace, "ann")
    assert [one.name for one in done.adapters] == ["cat"]
    assert [(one.code, one.values["near"]) for one in warnings] == [("adapter_also", "Kitty")]
    assert complete(request("x <lora:Kitty:1>"), workspace, "ann")[1] == ()


def test_two_weights_and_several_tags_of_one(workspace: Workspace) -> None:
    done, _ = complete(request("x <lora:Cat ears:0.25:0.75>"), workspace, "ann")
    assert [(a.weight, a.text_encoder_weight) for a in done.adapters] == [(0.75, 0.25)]
    done, _ = complete(request("x <lora:Cat ears:0.5> <lora:cat_ears:0.25>"), workspace, "ann")
    assert [a.weight for a in done.adapters] == [0.75], "both count"


def test_the_weight_of_the_mix_wins(workspace: Workspace) -> None:
    used = AdapterWeight(sha_of(workspace, "Cat ears"), "Cat ears", 0.3)
    done, warnings = complete(request("x <lora:Cat ears:0.8>", adapters=(used,)), workspace, "ann")
    assert done.adapters == (used,)
    assert [(w.code, w.values["weight"]) for w in warnings] == [("tag_overruled", 0.3)]
    done, warnings = complete(request("x <lora:Cat ears:0.5:0.3>", adapters=(used,)), workspace, "ann")
    assert codes(warnings) == ["tag_overruled"], "its weight on the reading of words was dropped without a word"
    assert complete(request("x <lora:Cat ears:0.1> <lora:Cat ears:0.2>", adapters=(used,)), workspace, "ann")[1] == ()
    silent = dataclasses.replace(used, weight=0.0)
    done, warnings = complete(request("x <lora:Cat ears:0.8>", adapters=(silent,)), workspace, "ann")
    assert (done.adapters, warnings) == ((silent,), ()), "one that is switched off stays off"


def test_what_cannot_act_is_said(workspace: Workspace) -> None:
    asked = request("x <lora:nope:1> <lora:ben's own:1> <lora:Cat ears:99> <lora:Cat ears:0:0:8> <lora:Cat ears:b>")
    done, warnings = complete(asked, workspace, "ann")
    assert [(a.name, a.weight) for a in done.adapters] == [("Cat ears", 10.0)]
    assert sorted(codes(warnings)) == [
        "adapter_not_found", "adapter_not_found", "tag_option_inactive", "tag_weight_limit",
    ], "what cannot be read at all is said by whoever reads the text"  # fmt: skip


def test_tags_in_comments_and_among_the_things_to_avoid_do_nothing(workspace: Workspace) -> None:
    done, warnings = complete(request("x # <lora:Cat ears:1>", "<lora:Cat ears:1>"), workspace, "ann")
    assert done.adapters == ()
    assert warnings == ()


# ---------------------------------------------------------------- styles
def test_styles_come_first_and_bring_their_tags(workspace: Workspace) -> None:
    workspace.styles.save([StyleEntry("ears", "ann", "{prompt}, ears <lora:Cat ears:0.4> # rest", "dog")])
    done, warnings = complete(request("cat", "blur", styles=("ears", "lost")), workspace, "ann")
    assert (done.prompt, done.negative_prompt) == ("cat, ears <lora:Cat ears:0.4> # rest", "blur, dog")
    assert done.styles == ()
    assert [a.weight for a in done.adapters] == [0.4]
    assert [(w.code, dict(w.values)) for w in warnings] == [("style_unknown", {"name": "lost"})]


def test_alternatives_are_drawn_by_the_seed_where_that_is_asked_for(workspace: Workspace) -> None:
    """Those of styles too; a tag in an alternative acts where it is drawn; without the option braces are text."""
    (workspace.root / "wildcards").mkdir()
    (workspace.root / "wildcards" / "hue.txt").write_text("red\nblue\n", encoding="utf-8")
    workspace.styles.save([StyleEntry("hair", "ann", "{prompt}, {long|short} hair")])
    text = "__hue__ {hat|<lora:Cat ears:0.5>}, __lost__"
    drawn = [complete(request(text, styles=("hair",), dynamic=True, seed=k), workspace, "ann") for k in range(40)]
    expected = re.compile(r"(red|blue) (hat|<lora:Cat ears:0.5>), __lost__, (long|short) hair")
    assert {expected.fullmatch(done.prompt) is not None for done, _ in drawn} == {True}
    assert len({done.prompt for done, _ in drawn}) == 8
    assert all(("lora" in done.prompt) == bool(done.adapters) and not done.dynamic for done, _ in drawn)
    assert {tuple(warn.code for warn in told) for _, told in drawn} == {("wildcard_unknown",)}
    assert complete(request("a {b|c}"), workspace, "ann")[0].prompt == "a {b|c}"


def test_a_text_that_grows_too_long_is_refused(workspace: Workspace) -> None:
    workspace.styles.save([StyleEntry("long", "ann", "x" * 9000)])
    with pytest.raises(InvalidInput, match="at most 10000"):
        complete(request("y" * 2000, styles=("long",)), workspace, "ann")


# ---------------------------------------------------------------- embeddings
def installed(sha256: str, name: str, vectors: int) -> EmbeddingEntry:
    """An entry of the library."""
    return EmbeddingEntry(sha256, name, "ann", 1.0, 9, vectors, {"clip_l": 32})


SHELVES = Shelves(embeddings=(installed("e1", "Easy", 16), installed("e2", "EASY", 4), installed("b", "badhandv4", 6)))


def look(prompt: str, negative: str, tokenize: Any, given: tuple[EmbeddingUse, ...] = ()) -> Found:
    """What two texts name on these shelves."""
    counting = Counting(8)
    return look_up(
        (parse(prompt, counting), parse(negative, counting, negative=True)), SHELVES, tokenize, ((), given), 8
    )


@pytest.mark.parametrize("tokenize", [words, None])
def test_names_become_embeddings(tokenize: Any) -> None:
    found = look("a (easy:1.2)", "badhandv4, EasyNegativeV2", tokenize)
    assert found.embeddings == (EmbeddingUse("Easy", "e1"), EmbeddingUse("badhandv4", "b"))
    assert found.warnings == (), "a name that begins with an installed one is read there"


def test_only_the_tokenizer_knows_where_a_name_begins() -> None:
    assert look("uneasy", "", words).embeddings == ()
    assert look("uneasy", "", None).embeddings == (EmbeddingUse("Easy", "e1"),)


def test_a_name_that_comes_late_in_a_schedule_counts() -> None:
    found = look("[a:easy:6]", "", words)
    assert [use.name for use in found.embeddings] == ["Easy"]


def test_the_file_that_the_request_names_stays() -> None:
    given = (EmbeddingUse("easy", "older"),)
    assert look("easy", "", words, given).embeddings == given


def test_an_embedding_for_another_base_is_words(workspace: Workspace) -> None:
    entry = EmbeddingEntry("e" * 64, "badhandv4", "ann", 1.0, 9, 6, {"clip_l": 768})
    workspace.embeddings.add(entry)
    done, warnings = complete(
        request("a", "BadHandV4"), workspace, "ann", words, dataclasses.replace(BASE, text_widths={"clip_l": 32})
    )
    assert (done.embeddings, codes(warnings)) == ((), ["embedding_misfit"])
    done, warnings = complete(request("a", "BadHandV4"), workspace, "ann", words, BASE)
    assert (done.embeddings, warnings) == ((EmbeddingUse("badhandv4", "e" * 64),), ())


def test_names_that_are_not_installed_are_said(workspace: Workspace) -> None:
    done, warnings = complete(request("a", "EasyNegativeV2, bad hands"), workspace, "ann", words)
    assert done.embeddings == ()
    assert [(w.code, w.values["name"]) for w in warnings] == [("embedding_not_installed", "EasyNegativeV2")]


# ---------------------------------------------------------------- jobs
def test_a_job_is_completed_in_its_own_form(workspace: Workspace) -> None:
    asked = [to_json(request(text)) for text in ("a <lora:Cat ears:1>", "b <lora:nope:1>", "c <lora:nope:1>")]
    spec = JobSpec("j", "generate", "ann", {"requests": asked, "notebook": "n", "cell": "c"})
    done, warnings = completed(spec, workspace, words)
    assert set(done.payload) == {"requests", "notebook", "cell"}
    assert [len(one["adapters"]) for one in done.payload["requests"]] == [1, 0, 0]
    assert [warn["code"] for warn in warnings] == ["adapter_not_found"], "the same is said once"
    assert warnings[0]["message"].startswith("<lora:nope:1> does nothing")
    one = completed(JobSpec("j", "generate", "ann", {"request": asked[0]}), workspace, None)[0]
    assert from_json(GenerateRequest, one.payload["request"]) == requests_of(done.payload)[0]
    other = JobSpec("j", "load_base", "ann", {"base": "embedded"})
    assert completed(other, workspace, None) == (other, [])


def test_requests_of_before_there_were_styles_are_read() -> None:
    old = to_json(request("a", adapters=(AdapterWeight("0" * 64, "x", 1.0),)))
    del old["styles"], old["embeddings"], old["adapters"][0]["text_encoder_weight"]
    found = from_json(GenerateRequest, old)
    assert (found.styles, found.embeddings, found.adapters[0].text_encoder_weight) == ((), (), None)


@pytest.mark.parametrize(
    "text", ["[[]]", "{", "7", '[["a", "b", "c", "d"]]', '[["a", "b", 1, 2]]', '{"a": 1}', "[" * 5000]
)
def test_anything_under_the_key_of_bundled_embeddings(text: str) -> None:
    """Files in watched folders bring their own metadata."""
    assert bundled_in(AdapterEntry("0" * 64, "a", "ann", 0.0, 1, metadata={BUNDLED: text})) == ()


def test_bundled_embeddings_are_told_as_they_were_written() -> None:
    written = [installed("e" * 64, "猫耳", 3)]
    entry = AdapterEntry("0" * 64, "a", "ann", 0.0, 1, metadata={BUNDLED: bundled_text(written)})
    (found,) = bundled_in(entry)
    assert (found.name, found.sha256, found.vectors, found.widths) == ("猫耳", "e" * 64, 3, written[0].widths)


def test_the_shelf_is_read_once_for_all_requests(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a grid each picture read the whole library anew."""
    read: list[str] = []
    shelf = workspace.adapters.shelf

    def counted(owner: str) -> list[AdapterEntry]:
        read.append(owner)
        return shelf(owner)

    monkeypatch.setattr(workspace.adapters, "shelf", counted)
    asked = [to_json(request("a <lora:cat ears:0.5>", seed=k)) for k in range(5)]
    done, _ = completed(JobSpec("j", "generate", "ann", {"requests": asked}), workspace, None)
    assert read == ["ann"]
    assert [len(one["adapters"]) for one in done.payload["requests"]] == [1] * 5
