"""What the reader of headers gives on: texts that a database and a file can hold."""

from __future__ import annotations

import io

from lora_studio.headers import header
from tests.support import lora_files as made


def test_half_a_character_in_the_metadata_becomes_a_question_mark() -> None:
    """JSON can say half a character; the folder's reader stood still at such a file, and no list could be sent."""
    data = made.file_bytes(made.kohya(), {"modelspec.description": "cut \ud83d off", "whole": "猫"})
    found = header.read(io.BytesIO(data), len(data))
    assert found["__metadata__"] == {"modelspec.description": "cut ? off", "whole": "猫"}
