"""`infotext`: what a picture, or a text such as A1111 writes into one, says of itself.

It reads and prints; neither an engine nor a workspace is opened.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from lora_studio.cli.options import InfotextOptions
from lora_studio.dataset.texts import MAX_FILE, texts_of
from lora_studio.errors import InvalidInput
from lora_studio.prompt.readers import Reading, Remark, read_pasted, read_texts
from lora_studio.store.recall import SENTENCES


def run(options: InfotextOptions) -> None:
    """Read, and print one JSON object or lines for people."""
    if options.file is None:
        raise InvalidInput("FILE is missing; give a picture, a text file, or - for standard input.", code="missing",
                           given="FILE")  # fmt: skip
    reading = read_source(options.file)
    answer = {
        "fields": dict(reading.fields),
        "prompt": reading.prompt or "",
        "negative": reading.negative or "",
        "adapters": [dataclasses.asdict(adapter) for adapter in reading.adapters],
        "program": reading.program,
        "settings": dict(reading.settings),
        "warnings": [{"code": remark.code, "values": dict(remark.values)} for remark in reading.remarks],
    }
    if options.json:
        print(json.dumps(answer, ensure_ascii=False))
        return
    print(answer["prompt"])
    if answer["negative"]:
        print(f"Negative prompt: {answer['negative']}")
    for adapter in reading.adapters:
        print(f"LoRA: {adapter.name} {adapter.weight:g} {adapter.hash}".rstrip())
    for name, value in reading.settings.items():
        print(f"{name}: {value}")
    for remark in reading.remarks:
        print(remark.sentence(SENTENCES), file=sys.stderr)


def read_source(file: str) -> Reading:
    """What a file or standard input (`-`) holds: a picture's texts, or text.

    Raises:
        InvalidInput: it cannot be read, is larger than what is read, or is no UTF-8.
    """
    try:
        data = _beginning(file)
    except OSError as problem:
        raise InvalidInput(
            f"FILE was given as {file!r}, which cannot be read ({problem.strerror}); give a picture or a text file.",
            code="infotext_unreadable",
            given=file,
        ) from None
    if len(data) > MAX_FILE:
        raise InvalidInput(
            f"FILE was given as {file!r}, which has more than {MAX_FILE // 1_000_000} MB; larger ones are not read; "
            "give a smaller one.",
            code="infotext_large",
            given=file,
            allowed=MAX_FILE // 1_000_000,
        )
    found = texts_of(data)
    if "texts_unknown" not in found.problems:
        reading = read_texts(found.texts)
        unread = (Remark(code) for code in found.problems)
        return dataclasses.replace(reading, remarks=(*unread, *reading.remarks))
    try:
        return read_pasted(data.decode("utf-8-sig"))
    except UnicodeDecodeError as problem:
        raise InvalidInput(
            f"FILE was given as {file!r}, which is neither a PNG, JPEG or WebP picture nor UTF-8 text (byte "
            f"{problem.start}); give one of these.",
            code="infotext_not_utf8",
            given=file,
        ) from None


def _beginning(file: str) -> bytes:
    """The bytes of a file or of standard input, one more than what is read where there are as many."""
    if file == "-":
        return sys.stdin.buffer.read(MAX_FILE + 1)
    with Path(file).expanduser().open("rb") as opened:
        return opened.read(MAX_FILE + 1)
