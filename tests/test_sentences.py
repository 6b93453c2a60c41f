"""`lora_studio.sentences`: the pages' words where no page says them."""

from __future__ import annotations

from lora_studio.sentences import sentence


def test_a_code_is_said_with_its_values() -> None:
    assert sentence("bracket_stray", {"bracket": ")", "count": 2}) == (
        ") is closed and not opened (2 times): it is read as a character."
    )
    assert "10000" in sentence("weight_clamped", {"given": "1e9", "used": 1e4})
    assert "第 5 步" in sentence("schedule_never", {"text": "[a:b:5]", "step": "5", "steps": 4}, "zh")
    assert sentence("job_missing", {"job": "x"}).startswith("There is no job x")


def test_a_code_without_words_is_shown() -> None:
    assert sentence("no_such_code", {"a": 1}) == "no_such_code {'a': 1}"
