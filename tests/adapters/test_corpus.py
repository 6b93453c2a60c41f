"""Every kind of file: its effect is that of W + ΔW reckoned by plain code or by the library that wrote it, or it is
refused by its sentence and nothing has changed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lora_studio.adapters import AdapterReport, CanonicalAdapter, admit, inspect
from lora_studio.errors import AdapterRefused
from lora_studio.headers import header
from lora_studio.headers.adapter import examine
from lora_studio.sentences import sentence
from tests.adapters.corpus import Kind, Made, kinds
from tests.support.tiny_models import TinyModels, alike, tiny_models

ALL = kinds()
ACTING = [kind for kind in ALL if not kind.refused]
REFUSED = [kind for kind in ALL if kind.refused]


@pytest.fixture(scope="module")
def models() -> dict[str, TinyModels]:
    return {"sd": tiny_models("sd"), "sdxl": tiny_models("sdxl")}


def put(made: Made, folder: Path) -> Path:
    """The file of a kind on the disk."""
    if made.path is not None:
        return made.path
    path = folder / f"a lora{made.suffix}"
    if made.raw is not None:
        path.write_bytes(made.raw)
    else:
        save_file({name: t.contiguous() for name, t in made.tensors.items()}, path, metadata=made.metadata or None)
    return path


@pytest.mark.parametrize("kind", ACTING, ids=lambda kind: kind.name)
def test_the_effect_is_that_of_the_dense_difference(kind: Kind, models: dict[str, TinyModels], tmp_path: Path) -> None:
    """At weight 1 and, where ΔW is known, at 0.6 and -0.5 in one batch."""
    tiny = models[kind.base]
    made = kind.make(tiny, tmp_path)
    before = tiny.run()
    path = put(made, tmp_path)
    adapter, report = admit(path, hashlib.sha256(path.read_bytes()).hexdigest(), tiny.layers)
    if made.suffix == ".safetensors":
        _check_header(path, report)
    alone = tiny.with_adapter(((adapter, 1.0),))
    wanted = made.outputs or tiny.with_deltas(made.deltas)
    assert alike(alone, wanted) < 1e-5
    moved = alike(before, wanted)
    assert moved > 1e-3 or "adapter_zero" in made.warns, "the file would not show"
    if made.outputs is None:
        rows = tiny.with_adapter(((adapter, 0.6),), ((adapter, -0.5),), ())
        for row, weight in enumerate((0.6, -0.5, 0.0)):
            assert alike(rows, tiny.with_deltas(made.deltas, weight), row) < 1e-5
    _check_report(made, adapter, report)
    assert alike(tiny.run(), before) == 0


def _check_report(made: Made, adapter: CanonicalAdapter, report: AdapterReport) -> None:
    codes = [warning["code"] for warning in report.warnings]
    assert set(made.warns) <= set(codes)
    assert report.layers_matched == len(adapter.layers)
    if made.deltas:
        assert set(adapter.layers) == set(made.deltas)
    text = json.dumps([report.format, report.family, *codes])
    assert all(word in text for word in made.says)


def _check_header(path: Path, report: AdapterReport) -> None:
    """Whoever reads the header alone takes it for what it is. Bug: files of folders that act were called no LoRA."""
    with path.open("rb") as file:
        told = examine(header.read(file, path.stat().st_size))
    assert (told.kind, told.ranks) == ("lora", report.ranks)
    assert told.layers >= report.layers_matched


def _check_clause(refusal: AdapterRefused) -> None:
    """Why it is damaged is said in the language of the sentence. Bug: Chinese sentences held an English clause."""
    assert sentence(refusal.code, refusal.values) == refusal.message
    chinese = sentence(refusal.code, refusal.values, "zh")
    assert str(refusal.values["why"]) not in chinese
    assert not re.search("[a-z] (is|has|holds|the|its) [a-z]", chinese)


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_refused_by_a_sentence_and_nothing_changed(kind: Kind, models: dict[str, TinyModels], tmp_path: Path) -> None:
    tiny = models[kind.base]
    made = kind.make(tiny, tmp_path)
    path = put(made, tmp_path)
    state, before, names = tiny.state(), tiny.run(), [n for t in tiny.trees.values() for n, _ in t.named_modules()]
    with pytest.raises(AdapterRefused) as caught:
        admit(path, "b" * 64, tiny.layers)
    assert caught.value.code == kind.refused
    assert path.name in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith(".")
    assert all(word in caught.value.message for word in made.says)
    if kind.refused == "adapter_damaged":
        _check_clause(caught.value)
    after = tiny.state()
    assert state.keys() == after.keys()
    assert all(torch.equal(state[key], after[key]) for key in state)
    assert names == [n for t in tiny.trees.values() for n, _ in t.named_modules()]
    assert all(torch.equal(value, before[key]) for key, value in tiny.run().items())
    adapter, report = inspect(path, "b" * 64, tiny.layers)
    assert adapter is None
    assert report.refused is not None
    assert report.refused.message == caught.value.message
