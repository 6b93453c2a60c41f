"""The tokenizer: the same every time, every byte, every word of the captions, the layout of CLIP's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer

from pretrain import words
from pretrain.recipe import Tokenizer
from pretrain.tokenizer import COUNTS, learn_merges, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tokenizer of the recipe."""
    out = tmp_path_factory.mktemp("tokenizer") / "made"
    make(out, Tokenizer())
    return out


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    """The same, loaded as anybody would."""
    return CLIPTokenizer.from_pretrained(folder)


def test_it_is_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "again.partial").mkdir()  # as a killed call leaves it
    assert make(tmp_path / "again", Tokenizer()) == 1290
    names = sorted(file.name for file in folder.iterdir())
    assert names == sorted(file.name for file in (tmp_path / "again").iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_tags_may_be_counted_anew_without_another_tokenizer() -> None:
    """One file fed the list of tags and the tokenizer, so that more pictures would have made other tokens."""
    assert words.COUNTS != COUNTS
    assert "words" not in json.loads(words.COUNTS.read_text(encoding="utf-8"))
    assert set(json.loads(COUNTS.read_text(encoding="utf-8"))) == {"captions", "words"}


def test_every_word_of_the_captions_is_short(tokenizer: Any) -> None:
    counted = json.loads(COUNTS.read_text(encoding="utf-8"))["words"]
    lengths = Counter(len(tokenizer.tokenize(word)) for word in counted)
    assert lengths[1] > 0.9 * len(counted)
    assert max(lengths) <= 3  # crescent-shaped
    assert [len(tokenizer.tokenize(word)) for word in ("ears", "fox", "papercut", "witch")] == [1, 1, 1, 1]


def test_any_text_can_be_written(tokenizer: Any) -> None:
    for text in ("猫耳", "brown_hair", "(masterpiece:1.3)", "ahoge🙂", "xyzzy"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids).replace(" ", "") == text


def test_the_layout_is_clips(tokenizer: Any) -> None:
    ids = tokenizer("girl", padding="max_length").input_ids
    assert len(ids) == tokenizer.model_max_length == 77
    assert (ids[0], ids[2], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))


def test_merges_are_the_most_frequent_pairs_and_ties_are_in_order() -> None:
    pieces = Counter({("a", "b", "c</w>"): 3, ("a", "b</w>"): 2, ("x", "b</w>"): 2})
    assert learn_merges(pieces, 3) == [("a", "b"), ("ab", "c</w>"), ("a", "b</w>")]
    assert learn_merges(pieces, 9)[-1] == ("x", "b</w>")
