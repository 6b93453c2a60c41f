"""Grids on the pretended engine: one job, one cell, a picture for each value."""

from __future__ import annotations

from typing import Any

import pytest

from lora_studio.errors import InvalidInput
from lora_studio.types import StyleEntry
from lora_studio.ui.studio import Studio
from tests.ui.conftest import Call, ended, uid

FORM: dict[str, Any] = {"prompt": "1girl, brown hair", "negative_prompt": "", "seed": "7", "num_images": "4"}


def sha_of(studio: Studio, name: str) -> str:
    return studio.workspace.adapters.find(name, "samples").sha256


def axis(what: str, values: str, adapter: str = "") -> dict[str, Any]:
    return {"what": what, "values": values, "adapter": adapter}


def made(studio: Studio, call: Call, x: Any, y: Any = None, **form: Any) -> dict[str, Any]:
    """The cell when its job has ended, and the requests that were made as `made`."""
    cell = call("make", cell=uid(), job=uid(), form=FORM | form, grid={"x": x, "y": y})["cell"]
    return finished(studio, call, cell)


def finished(studio: Studio, call: Call, cell: dict[str, Any]) -> dict[str, Any]:
    job = ended(studio, cell["job"])
    shown = next(one for one in call("cells")["cells"] if one["id"] == cell["id"])
    return shown | {"made": studio.workspace.jobs.get(job.id).payload["requests"], "job": job.id}


def test_a_grid_is_one_job_with_a_picture_for_each_value(studio: Studio, call: Call) -> None:
    ears = sha_of(studio, "Cat ears")
    rows = [{"sha256": ears, "weight": "0.8"}]
    cell = made(studio, call, axis("weight", "0-1 [3]", ears), axis("seed", "3, 5"), adapters=rows)
    assert (cell["kind"], cell["state"]) == ("grid", "done")
    assert cell["grid"] == {
        "x": {"what": "weight", "values": [0.0, 0.5, 1.0], "adapter": ears},
        "y": {"what": "seed", "values": [3.0, 5.0], "adapter": ""},
    }
    assert [(one["seed"], one["adapters"][0]["weight"]) for one in cell["made"]] == [
        (3, 0.0), (3, 0.5), (3, 1.0), (5, 0.0), (5, 0.5), (5, 1.0),
    ]  # fmt: skip
    assert [image["seed"] for image in cell["images"]] == [3, 3, 3, 5, 5, 5]
    assert len({image["sha256"] for image in cell["images"]}) == 6
    assert cell["request"]["seed"] == 7, "the form's own values are kept, for whoever edits the cell"
    assert cell["request"]["adapters"][0]["weight"] == 0.8


def test_a_lora_that_a_tag_names_is_varied_without_a_word_too_many(studio: Studio, call: Call) -> None:
    """Its tag says another weight in nearly every picture; the words of the cell stay as they were typed."""
    ears = sha_of(studio, "Cat ears")
    text = "1girl <lora:cat_ears:0.5:stop=10>"
    cell = made(studio, call, axis("weight", "0, 1", ears), prompt=text)
    assert [one["adapters"][0]["weight"] for one in cell["made"]] == [0.0, 1.0]
    assert [one["adapters"][0]["stop"] for one in cell["made"]] == [0.5, 0.5]
    assert cell["request"]["prompt"] == text
    events = studio.engine.events(cell["job"])
    assert [event.data for event in events if event.type == "warning"] == []


def test_tags_of_styles_and_prompts_of_tags_alone(studio: Studio, call: Call) -> None:
    """A tag of a style came back after those of the prompt were taken out, and filled in what a cell left open."""
    ears = sha_of(studio, "Cat ears")
    studio.workspace.styles.save([StyleEntry("late", "ann", "{prompt}, soft <lora:cat_ears:0.5:start=10>")])
    cell = made(studio, call, axis("from", "1, 10", ears), styles=["late", "lost"])
    assert [one["adapters"][0]["start"] for one in cell["made"]] == [0.0, 0.5]
    assert [one["prompt"].strip() for one in cell["made"]] == ["1girl, brown hair, soft"] * 2
    assert cell["request"]["styles"] == ["late", "lost"], "whoever edits the cell finds them chosen"
    told = [event.data["code"] for event in studio.engine.events(cell["job"]) if event.type == "warning"]
    assert told == ["style_unknown"]
    cell = made(studio, call, axis("weight", "0, 1", ears), prompt="<lora:cat_ears:0.5:start=10>")
    assert [(one["adapters"][0]["weight"], one["adapters"][0]["start"]) for one in cell["made"]] == [(0, 0.5), (1, 0.5)]


def test_again_with_and_without_another_seed(studio: Studio, call: Call) -> None:
    cell = made(studio, call, axis("guidance_scale", "2, 4"))
    once_more = finished(studio, call, call("again", source=cell["id"], cell=uid(), job=uid())["cell"])
    assert (once_more["grid"], once_more["request"]) == (cell["grid"], cell["request"])
    assert [image["sha256"] for image in once_more["images"]] == [image["sha256"] for image in cell["images"]]
    other = finished(studio, call, call("again", source=cell["id"], cell=uid(), job=uid(), seed=9)["cell"])
    assert [(one["seed"], one["guidance_scale"]) for one in other["made"]] == [(9, 2.0), (9, 4.0)]
    seeds = made(studio, call, axis("seed", "1-2"))
    other = finished(studio, call, call("again", source=seeds["id"], cell=uid(), job=uid(), seed=9)["cell"])
    assert [one["seed"] for one in other["made"]] == [1, 2], "seeds that an axis names are what was asked for"


@pytest.mark.parametrize(
    ("x", "y", "code"),
    [
        (None, None, "grid_empty"),
        ({"what": "seed", "values": " , "}, None, "grid_empty"),
        ({"what": "seed", "values": "many"}, None, "grid_unreadable"),
        ({"what": "seed", "values": "0.5"}, None, "field_number"),
        ({"what": "prompt", "values": "1"}, None, "grid_axis"),
        ({"what": "weight", "values": "1", "adapter": "f" * 64}, None, "grid_adapter"),
        ({"what": "seed", "values": "1-10"}, {"what": "guidance_scale", "values": "1-8"}, "grid_large"),
        ("seed", None, "grid_empty"),
    ],
)
def test_what_is_refused_leaves_no_cell(call: Call, x: Any, y: Any, code: str) -> None:
    with pytest.raises(InvalidInput) as told:
        call("make", cell=uid(), job=uid(), form=FORM, grid={"x": x, "y": y})
    assert told.value.code == code
    assert call("cells")["cells"] == []
