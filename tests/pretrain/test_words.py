"""The list of the base's tags is whole, in order, and every tag has one Chinese name of its own."""

from __future__ import annotations

import json

import pytest

from pretrain.words import COUNTS, OUT, TAGS, chinese, render_list, word_list

COUNTED: dict[str, int] = json.loads(COUNTS.read_text(encoding="utf-8"))["tags"]


def test_the_list_in_the_base_is_what_the_counts_give() -> None:
    assert OUT.read_text(encoding="utf-8") == render_list(word_list(COUNTED))


def test_every_tag_has_a_chinese_name_and_no_two_share_one() -> None:
    entries = json.loads(OUT.read_text(encoding="utf-8"))
    assert {entry["tag"]: entry["count"] for entry in entries} == COUNTED
    names = [entry["zh"] for entry in entries]
    assert len(set(names)) == len(names)
    assert all(any("一" <= letter <= "鿿" for letter in name) for name in names)


def test_the_most_frequent_come_first() -> None:
    counts = [entry["count"] for entry in json.loads(OUT.read_text(encoding="utf-8"))]
    assert counts == sorted(counts, reverse=True)


def test_the_table_names_no_tag_that_the_base_has_not() -> None:
    assert set(TAGS) <= set(COUNTED)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("light brown hair", "浅棕发"),
        ("light brown inner hair", "浅棕色内层头发"),
        ("blue eyes", "蓝色眼睛"),
        ("large red hair ribbon", "红色大发带"),
        ("large ribbon", "大缎带"),
        ("yellow crescent-shaped hairpin", "黄色月牙形发卡"),
        ("grey background", "灰色背景"),
    ],
)
def test_colours_and_nouns_are_put_together(tag: str, name: str) -> None:
    assert chinese(tag) == name


def test_a_tag_that_the_base_has_not_is_an_error() -> None:
    with pytest.raises(KeyError):
        chinese("cat ears")
