"""`lora_studio.prompt.explain`: what was understood, as plain values, with a tokenizer of words."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.prompt.chunks import Embedding, Token
from lora_studio.prompt.explain import CUT, PARTS, TEXTS, Known, Reading, explain
from lora_studio.prompt.names import Named, Names
from lora_studio.prompt.schedules import Counting
from lora_studio.prompt.styles import Style


def words(text: str) -> list[Token]:
    """A tokenizer: each word or sign is a token, numbered by its letters."""
    found = re.finditer(r"\w+|[^\w\s]", text)
    return [Token(int.from_bytes(m.group().lower().encode()[-7:], "big"), *m.span()) for m in found]


KNOWN = Known(
    words,
    (Embedding("Easy", 16), Embedding("deep", 75)),
    Names((Named("sha-ears", "Cat ears"),)),
    (Style("ink", "{prompt}, (ink:1.2)", "colour"),),
)
HOW = Reading(Counting(10))


def read(text: str, **changes: Any) -> dict[str, Any]:
    """The explanation with everything known."""
    told = explain(text, KNOWN, HOW, **changes)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    return told


def only(told: dict[str, Any]) -> dict[str, Any]:
    """The only text of an explanation."""
    (part,) = told["parts"]
    (text,) = part["texts"]
    return dict(text)


def test_tokens_have_weight_and_place() -> None:
    text = only(read("a (red cat:1.3) x"))
    (chunk,) = text["chunks"]
    assert chunk["tokens"] == [
        {"text": "a", "weight": 1.0, "place": [0, 1]},
        {"text": " red", "weight": 1.3, "place": [3, 6]},
        {"text": " cat", "weight": 1.3, "place": [7, 10]},
        {"text": " x", "weight": 1.0, "place": [16, 17]},
    ]
    assert (text["token_count"], chunk["count"], chunk["size"]) == (4, 4, 75)
    assert [(span["text"], span["weight"]) for span in text["spans"]] == [("a ", 1.0), ("red cat", 1.3), (" x", 1.0)]


def test_chunk_borders_and_counters() -> None:
    text = only(read(" ".join(["w"] * 80) + " BREAK x"))
    assert [chunk["count"] for chunk in text["chunks"]] == [75, 5, 1]
    assert text["token_count"] == 151


def test_an_embedding_is_one_token_of_many_vectors() -> None:
    told = read("a Easy b deep")
    text = only(told)
    assert told["embeddings"] == ["Easy", "deep"]
    assert [chunk["count"] for chunk in text["chunks"]] == [18, 75]
    assert text["chunks"][0]["tokens"][1] == {
        "text": " Easy",
        "weight": 1.0,
        "place": [2, 6],
        "embedding": "Easy",
        "vectors": 16,
    }
    assert text["chunks"][1]["tokens"][0]["embedding"] == "deep"


def test_a_schedule_is_a_timeline() -> None:
    told = read("[a:b:4] c")
    (part,) = told["parts"]
    assert part["timeline"] == [{"first": 1, "last": 4, "text": 0}, {"first": 5, "last": 10, "text": 1}]
    assert [text["text"] for text in part["texts"]] == ["a c", "b c"]
    assert part["changes"] == [{"kind": "switch", "place": [0, 7], "step": 4}]


def test_what_takes_turns_is_told_once_each() -> None:
    (part,) = read("[a|b]")["parts"]
    assert [text["text"] for text in part["texts"]] == ["a", "b"]
    assert [(one["first"], one["text"]) for one in part["timeline"]] == [(n, (n + 1) % 2) for n in range(1, 11)]
    many = "[" + "|".join(f"w{n}" for n in range(TEXTS + 5)) + "]"
    told = explain(many, KNOWN, Reading(Counting(40)))
    (part,) = told["parts"]
    assert (len(part["texts"]), part["more_texts"]) == (TEXTS, 5)
    assert {one["text"] for one in part["timeline"]} == {*range(TEXTS), None}


def test_of_very_many_texts_the_last_are_not_cut() -> None:
    """Ten thousand characters over a thousand steps of a schedule were cut into tokens a thousand times over."""
    cut: list[str] = []

    def counting(text: str) -> list[Token]:
        cut.append(text)
        return words(text)

    text = "word " * 1800 + "".join("[" + "|".join("ab"[n % 2] * n for n in range(1, k)) + "] " for k in (9, 10, 11))
    told = explain(text, Known(counting), Reading(Counting(300)))
    (part,) = told["parts"]
    assert (len(part["texts"]), part["more_texts"]) == (TEXTS, 300 - TEXTS)
    assert part["timeline"][-1]["last"] == 300
    assert sum(len(one) for one in cut) < CUT + 5 * len(text) + TEXTS * len(text)


def test_parts_of_and() -> None:
    told = read("a AND b :0.5")
    assert [(part["weight"], part["texts"][0]["text"].strip()) for part in told["parts"]] == [(1.0, "a"), (0.5, "b")]
    told = read(" AND ".join("a" * (PARTS + 3)))
    assert (len(told["parts"]), told["more_parts"]) == (PARTS, 3)


def test_tags_name_adapters_or_warn() -> None:
    told = read("x <lora:cat_ears:0.5:0.8> <lora:nope:1> <lora:Cat eras:1> <lora:a:b> <hypernet:h:1>")
    assert [(tag["kind"], tag["name"], tag["te"], tag["unet"], tag["adapter"]) for tag in told["tags"]] == [
        ("lora", "cat_ears", 0.5, 0.8, "sha-ears"),
        ("lora", "nope", 1.0, 1.0, None),
        ("lora", "Cat eras", 1.0, 1.0, None),
        ("lora", "a", None, None, None),
        ("hypernet", "h", None, None, None),
    ]
    assert told["tags"][0]["place"] == [2, 25]
    said = {warn["code"]: warn["values"] for warn in told["warnings"]}
    assert set(said) == {"adapter_not_found", "adapter_not_found_near", "tag_not_applied", "tag_unsupported"}
    assert said["adapter_not_found_near"] == {"tag": "<lora:Cat eras:1>", "name": "Cat eras", "near": "Cat ears"}
    assert "<lora" not in told["text"]
    (tag,) = read("x <lyco:cat_ears:0.5>")["tags"]
    assert (tag["kind"], tag["unet"], tag["adapter"]) == ("lyco", 0.5, "sha-ears")


def test_styles_are_put_around_and_have_no_place() -> None:
    told = explain("cat", KNOWN, Reading(Counting(10), ("ink", "lost")))
    assert told["text"] == "cat, (ink:1.2)"
    assert told["styles"] == [{"name": "ink", "known": True}, {"name": "lost", "known": False}]
    assert [warn["code"] for warn in told["warnings"]] == ["style_unknown"]
    tokens = only(told)["chunks"][0]["tokens"]
    assert [(token["text"].strip(), token["place"]) for token in tokens] == [
        ("cat", [0, 3]),
        (",", None),
        ("ink", None),
    ]
    other = explain("x", KNOWN, Reading(Counting(10), ("ink",)), negative=True)
    assert other["text"] == "x, colour"


def test_names_that_are_not_installed_are_said_with_their_place() -> None:
    told = read("a, (badhandv4:1.1), Easy, EasyNegativeV2")
    assert told["warnings"] == [{"code": "embedding_not_installed", "values": {"name": "badhandv4"}, "place": [4, 13]}]
    assert told["embeddings"] == ["Easy"], "an installed name is found at the beginning of a word, as A1111 finds it"


def test_without_a_tokenizer_the_words_are_still_read() -> None:
    told = explain("(a:1.2) easy", Known(None, KNOWN.embeddings, KNOWN.adapters), HOW)
    text = only(told)
    assert (text["token_count"], text["chunks"]) == (None, None)
    assert [(span["text"], span["weight"]) for span in text["spans"]] == [("a", 1.2), (" easy", 1.0)]
    assert told["embeddings"] == ["Easy"]


def test_an_empty_text() -> None:
    told = read("")
    assert (only(told)["token_count"], told["warnings"], told["tags"]) == (0, [], [])


@settings(deadline=None)
@given(st.text(alphabet="ab ()[]:|\\<>lora=.,5#\nANDBREAK（", max_size=60), st.booleans())
def test_any_text_is_explained(text: str, negative: bool) -> None:
    told = read(text, negative=negative)
    for part in told["parts"]:
        assert part["timeline"][-1]["last"] == 10
        for one in part["texts"]:
            for chunk in one["chunks"]:
                vectors = sum(token.get("vectors", 1) for token in chunk["tokens"])
                assert vectors == chunk["count"] <= 75
                for token in chunk["tokens"]:
                    start, end = token["place"]
                    assert 0 <= start <= end <= len(text)
