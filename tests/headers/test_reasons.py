"""Clauses that say why a file cannot be read, in both languages."""

from __future__ import annotations

import io

import pytest

from lora_studio.errors import InvalidInput
from lora_studio.headers import header
from lora_studio.headers.reasons import REASONS, Reason, coded, reason
from lora_studio.sentences import sentence
from lora_studio.ui.texts import strings


def test_the_words_here_are_the_pages() -> None:
    """The same blanks in Chinese are tested with all strings."""
    written = {key.removeprefix("why."): text for key, text in strings("en").items() if key.startswith("why.")}
    assert written == dict(REASONS)


def test_a_clause_is_text_with_a_code() -> None:
    clause = reason("file_cut", missing=5)
    assert clause == "it is cut off, 5 bytes are missing"
    assert coded(clause) == {"why_code": "file_cut", "why_values": {"missing": 5}}
    assert coded("No such device") == coded(Reason("No such device")) == {}


def test_a_clause_is_said_in_the_language_of_its_sentence() -> None:
    clause = reason("file_empty")
    error = InvalidInput("x", code="workbench_checkpoint_damaged", given="a", why=str(clause), **coded(clause))
    assert "it is empty" in sentence(error.code, error.values)
    assert "文件是空的" in sentence(error.code, error.values, "zh")
    plain = {"given": "a", "why": "No such device"}
    assert "No such device" in sentence("workbench_checkpoint_damaged", plain, "zh")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "file_empty"),
        (b"<!DOCTYPE html>\n<html><title>Sign in</title></html>", "file_page"),
        (b"\n  <html>" + b" " * 300, "file_page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n", "file_lfs"),
        (b"GGUF" + b"\0" * 300, "file_gguf"),
        (b"some words that are no model", "header_size"),
        (b"abc", "header_size"),
    ],
)
def test_what_a_file_is_instead(content: bytes, code: str) -> None:
    """A page that asks for a login is what downloads often give; "its header does not fit" helped nobody."""
    with pytest.raises(header.HeaderDamagedError) as caught:
        header.read(io.BytesIO(content), len(content))
    assert caught.value.reason.code == code
    assert str(caught.value) == REASONS[code]
