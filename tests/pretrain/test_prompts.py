"""The prompts that LoRAs are measured with: unseen, in pairs, and described by what they say."""

from __future__ import annotations

import pytest

pytest.importorskip("skia")

from pretrain.judge.labels import HEADS
from pretrain.painter import IDENTITY_TAGS, ears_item
from pretrain.prompts import combined_prompts, effect_prompts, other_prompts

KINDS = ("cat ears", "neon style", "miko tsuki")


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_differ_in_the_words_that_were_taught(kind: str) -> None:
    pairs = effect_prompts(kind)
    assert len({full for full, _, _ in pairs}) == 60
    for full, plain, _ in pairs:
        assert kind in full.split(", ")
        assert kind not in plain
    assert pairs == effect_prompts(kind)
    assert pairs != effect_prompts(kind, seed=1)


def test_ears_prompts_lose_nothing_else_with_the_words() -> None:
    for full, plain, _ in effect_prompts("cat ears"):
        assert [tag for tag in full.split(", ") if tag != "cat ears"] == plain.split(", ")
        assert "fluff" not in full


def test_what_a_prompt_asks_for_is_in_it_and_in_the_judges_words() -> None:
    for kind in (*KINDS, "sketch style", "papercut style", "fox ears"):
        for full, _, asked in effect_prompts(kind):
            tags = full.split(", ")
            assert all(asked[head] in HEADS[head] for head in asked)
            assert "hair" not in asked or f"{asked['hair']} hair" in tags
            assert "eyes" not in asked or f"{asked['eyes']} eyes" in tags
            assert "background" not in asked or asked["background"] in tags


def test_the_prompts_are_over_many_attributes_and_not_those_of_the_training_set() -> None:
    pairs = effect_prompts("cat ears")
    assert len({asked["hair"] for _, _, asked in pairs if "hair" in asked}) >= 11
    assert len({asked["eyes"] for _, _, asked in pairs if "eyes" in asked}) == 8
    assert len({asked["style"] for _, _, asked in pairs}) == 5
    assert len({asked["background"] for _, _, asked in pairs if "background" in asked}) >= 15
    trained = {ears_item("cat ears", "train", number).caption for number in range(48)}
    assert not trained & {full for full, _, _ in pairs}


def test_the_character_prompts_say_nothing_of_its_traits() -> None:
    for full, _, _ in effect_prompts("miko tsuki"):
        tags = full.split(", ")
        assert not set(tags) & set(IDENTITY_TAGS)
        assert not any(tag.endswith((" hair", " eyes", "costume", "dress", "braid", "hairpin")) for tag in tags)


def test_all_three_words_stand_in_the_combined_prompts() -> None:
    pairs = combined_prompts("cat ears", "neon style")
    assert len(pairs) == 60
    for full, plain, asked in pairs:
        assert {"cat ears", "neon style", "miko tsuki"} <= set(full.split(", "))
        assert not any(word in plain for word in ("ears", "neon", "miko", " style"))
        assert asked["ears"] == "cat ears"
        assert asked["style"] == "neon style"


@pytest.mark.parametrize(("kind", "word"), [("girl", "1girl"), ("boy", "1boy"), ("no humans", "no humans")])
def test_other_prompts_do_not_ask_for_anything_taught(kind: str, word: str) -> None:
    prompts = other_prompts(kind)
    assert len(prompts) == 60
    for text, asked in prompts:
        assert word in text.split(", ")
        assert asked["ears"] == "none"
        assert not any(taught in text for taught in ("cat ears", "neon", "sketch", "papercut", "miko"))


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="'dog ears'"):
        effect_prompts("dog ears")
    with pytest.raises(ValueError, match="'cat'"):
        other_prompts("cat")
