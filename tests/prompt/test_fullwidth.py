"""`lora_studio.prompt.fullwidth`: pointed out, changed only when asked."""

from __future__ import annotations

from lora_studio.prompt.attention import parse_attention
from lora_studio.prompt.fullwidth import FULL_WIDTH, find_full_width, to_half_width
from lora_studio.prompt.source import Place, SourceText


def test_the_conversion_makes_the_language_of_it() -> None:
    text = "（红发：1.3），［猫｜狗］"
    assert to_half_width(text) == "(红发:1.3),[猫|狗]"
    assert to_half_width(FULL_WIDTH) == "()[]:|,<>#\\"
    assert [s.weight for s in parse_attention(SourceText.typed(text))[0]] == [1.0], "as it stands it is words"


def test_one_warning_names_them_all() -> None:
    (found,) = find_full_width("红发，（猫），狗")
    assert found.code == "full_width"
    assert dict(found.values) == {"characters": "，（）", "count": 4}
    assert found.position == Place(2, 3)
    assert find_full_width("red hair, (cat:1.2)。") == ()
