"""What pages may ask of their texts: explaining, styles in and out of a file, tags and styles in pictures."""

from __future__ import annotations

from typing import Any

import pytest

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.types import LOCAL, StyleEntry
from lora_studio.ui.studio import Studio
from tests.ui.conftest import Call, ended, uid

FORM: dict[str, Any] = {"prompt": "1girl", "negative_prompt": "", "seed": "7", "adapters": []}


def made(studio: Studio, call: Call, compare: bool = False, **form: Any) -> dict[str, Any]:
    """A cell whose job has ended, and the job's requests."""
    cell = call("make", cell=uid(), job=uid(), form=FORM | form, compare=compare)["cell"]
    job = ended(studio, cell["job"])
    assert job.state == "done", job.error
    shown = next(one for one in call("cells")["cells"] if one["id"] == cell["id"])
    return shown | {"made": job.payload["requests"]}


def sha_of(studio: Studio, name: str) -> str:
    return studio.workspace.adapters.find(name).sha256


# ---------------------------------------------------------------- explaining
def test_explaining_while_it_is_typed(studio: Studio, call: Call) -> None:
    told = call("explain", prompt="a (cat:1.2) <lora:cat_ears:0.5> [b:c:3]", negative="badhandv4", steps=4)
    assert (told["steps"], told["counted"]) == (4, True)
    assert told["prompt"]["tags"][0]["adapter"] == sha_of(studio, "Cat ears")
    assert [warn["code"] for warn in told["negative"]["warnings"]] == ["embedding_not_installed"]


@pytest.mark.parametrize("steps", [None, "x", 0, 10_000, True])
def test_steps_that_are_none_yet_are_the_base_s(call: Call, steps: Any) -> None:
    told = call("explain", prompt="a", steps=steps)
    assert told["steps"] == 18


def test_what_is_no_text_is_refused(call: Call) -> None:
    with pytest.raises(InvalidInput):
        call("explain", prompt=["a"])
    with pytest.raises(InvalidInput):
        call("explain", prompt="a", styles="ink")


# ---------------------------------------------------------------- styles
def test_styles_are_kept_picked_and_deleted(studio: Studio, call: Call) -> None:
    listed = call("save_style", name=" Ink ", prompt="{prompt}, ink", negative_prompt="colour")["styles"]
    assert listed == [{"name": "Ink", "prompt": "{prompt}, ink", "negative_prompt": "colour", "mine": True}]
    studio.workspace.styles.save([StyleEntry("Shell", LOCAL, "x")])
    assert [(one["name"], one["mine"]) for one in call("styles")["styles"]] == [("Ink", True), ("Shell", False)]
    assert [one["name"] for one in call("styles", "ben")["styles"]] == ["Shell"]
    with pytest.raises(NotFound):
        call("delete_style", name="Shell")
    assert [one["name"] for one in call("delete_style", name="Ink")["styles"]] == ["Shell"]


def test_a_file_of_styles_goes_in_and_out(call: Call) -> None:
    text = '\ufeffname,prompt,negative_prompt\r\nInk,"{prompt}, ink",colour\r\n,nameless,\r\nSoft,pastel,\r\n'
    answer = call("import_styles", text=text)
    assert (answer["count"], [one["name"] for one in answer["styles"]]) == (2, ["Ink", "Soft"])
    assert [(warn["code"], warn["values"]["problem"]) for warn in answer["warnings"]] == [("style_file_row", "name")]
    written = call("export_styles")["text"]
    assert call("import_styles", "ben", text=written)["styles"] == call("styles")["styles"]


def test_a_style_acts_and_the_cell_keeps_what_was_typed(studio: Studio, call: Call) -> None:
    call("save_style", name="Ink", prompt="{prompt}, ink", negative_prompt="colour")
    cell = made(studio, call, styles=["Ink"])
    assert (cell["request"]["prompt"], cell["request"]["styles"]) == ("1girl", ["Ink"])
    assert (cell["made"][0]["prompt"], cell["made"][0]["negative_prompt"]) == ("1girl, ink", "colour")
    call("save_style", name="Ink", prompt="something else")
    again = call("again", source=cell["id"], cell=uid(), job=uid())["cell"]
    assert again["request"] == cell["request"]
    assert ended(studio, again["job"]).payload["requests"] == cell["made"], "made again from what it was then"


# ---------------------------------------------------------------- tags
def test_a_tag_acts_and_the_cell_names_its_lora(studio: Studio, call: Call) -> None:
    cell = made(studio, call, prompt="1girl <lora:cat_ears:0.5:0.75>")
    assert cell["request"]["prompt"] == "1girl <lora:cat_ears:0.5:0.75>"
    assert [(a["name"], a["weight"], a["text_encoder_weight"]) for a in cell["request"]["adapters"]] == [
        ("Cat ears", 0.75, 0.5)
    ]
    assert cell["made"][0]["adapters"] == cell["request"]["adapters"]
    plain = made(studio, call)
    assert cell["images"][0]["sha256"] != plain["images"][0]["sha256"]


def test_a_row_that_is_switched_off_stays_off(studio: Studio, call: Call) -> None:
    off = [{"sha256": sha_of(studio, "Cat ears"), "name": "Cat ears", "weight": "0"}]
    cell = made(studio, call, prompt="1girl <lora:cat_ears:0.5>", adapters=off)
    assert [a["weight"] for a in cell["made"][0]["adapters"]] == [0.0]


def test_of_alternatives_the_one_that_is_drawn_acts(studio: Studio, call: Call) -> None:
    """Both LoRAs of `{<lora:a:1>|<lora:b:1>}` acted, whichever was drawn."""
    text = "1girl {cat ears <lora:cat_ears:0.5>|paper <lora:papercut_style:0.7>}"
    seen = set()
    for seed in range(8):
        cell = made(studio, call, prompt=text, dynamic=True, seed=str(seed))
        (request,) = cell["made"]
        (used,) = request["adapters"]
        assert ("cat ears" in request["prompt"], used["name"]) in ((True, "Cat ears"), (False, "Papercut style"))
        assert cell["request"]["prompt"] == text
        seen.add(used["name"])
    assert len(seen) == 2


def test_a_comparison_is_without_the_tags_too(studio: Studio, call: Call) -> None:
    """The tag stands in both texts: where its LoRA was merely left out, it came back when the job was submitted."""
    cell = made(studio, call, compare=True, prompt="1girl <lora:cat_ears:0.5>")
    assert [[a["weight"] for a in one["adapters"]] for one in cell["made"]] == [[0.5], [0.0]]
    with_them, without = cell["images"]
    assert with_them["sha256"] != without["sha256"]


def test_both_weights_of_a_row_are_taken(studio: Studio, call: Call) -> None:
    row = {"sha256": sha_of(studio, "Cat ears"), "weight": "0.5", "text_encoder_weight": 0.25}
    cell = made(studio, call, adapters=[row])
    assert [(a["weight"], a["text_encoder_weight"]) for a in cell["made"][0]["adapters"]] == [(0.5, 0.25)]
