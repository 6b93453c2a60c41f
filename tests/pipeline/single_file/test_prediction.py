"""Epsilon or v: found where the file tells it, said to be assumed where not, and what a person chose instead."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_studio.errors import InvalidInput
from lora_studio.pipeline import load_base
from lora_studio.pipeline.single_file.contents import read_contents
from lora_studio.pipeline.single_file.prediction import NORM, predicted
from lora_studio.pipeline.source import find_base
from lora_studio.types import BaseChoice, BaseInfo
from tests.support.ldm import write_both, write_file
from tests.support.tiny import EXACT


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return write_both(tmp_path_factory.mktemp("sdxl"), "sdxl")


def loaded(path: Path, **choice: str) -> BaseInfo:
    return load_base(find_base(str(path), path), EXACT, BaseChoice(str(path), **choice)).info


@pytest.mark.parametrize(
    ("metadata", "marks", "kind", "zero", "code"),
    [
        ({}, (), "epsilon", False, "base_prediction_assumed"),
        ({"modelspec.prediction_type": "epsilon"}, (), "epsilon", False, "base_prediction_metadata"),
        ({"modelspec.prediction_type": "v"}, (), "v_prediction", False, "base_prediction_metadata"),
        (
            {"modelspec.architecture": "stable-diffusion-v2-768-v"},
            (),
            "v_prediction",
            False,
            "base_prediction_metadata",
        ),
        ({}, ("v_pred",), "v_prediction", False, "base_prediction_marker"),
        ({}, ("v_pred", "ztsnr"), "v_prediction", True, "base_prediction_marker"),
        ({"modelspec.prediction_type": "something"}, (), "epsilon", False, "base_prediction_assumed"),
    ],
)
def test_what_the_file_tells(
    tmp_path: Path, metadata: dict[str, str], marks: tuple[str, ...], kind: str, zero: bool, code: str
) -> None:
    path = write_file({mark: torch.zeros(0) for mark in (*marks, "x")}, tmp_path / "a.safetensors", **metadata)
    found = predicted(read_contents("a", path), "sdxl", lambda name: torch.zeros(1))
    assert (found.kind, found.zero_snr, found.remark["code"]) == (kind, zero, code)
    assert found.remark["values"]["given"] == kind


@pytest.mark.parametrize(("spread", "kind"), [(0.05, "epsilon"), (0.2, "v_prediction")])
def test_stable_diffusion_2_is_told_by_its_weights(tmp_path: Path, spread: float, kind: str) -> None:
    biases = torch.randn(320, generator=torch.Generator().manual_seed(0)) * spread
    path = write_file({NORM: biases}, tmp_path / "a.safetensors")
    found = predicted(read_contents("a", path), "sd2", lambda name: {NORM: biases}[name])
    assert (found.kind, found.remark["code"]) == (kind, "base_prediction_weights")
    assert predicted(read_contents("a", path), "sd1", lambda name: biases).kind == "epsilon"


@pytest.mark.slow
def test_the_base_says_what_it_is_read_as(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    plain = write_file(tensors, tmp_path / "plain.safetensors")
    marked = write_file(tensors | marks, tmp_path / "marked.safetensors")
    info = loaded(plain)
    assert (info.prediction_type, info.zero_terminal_snr) == ("epsilon", False)
    assert [told["code"] for told in info.remarks] == ["base_prediction_assumed"]
    info = loaded(marked)
    assert (info.prediction_type, info.zero_terminal_snr) == ("v_prediction", True)
    info = loaded(marked, prediction_type="epsilon", zero_terminal_snr="off")
    assert (info.prediction_type, info.zero_terminal_snr) == ("epsilon", False)
    assert [told["code"] for told in info.remarks] == ["base_prediction_chosen"]
    info = loaded(plain, prediction_type="v_prediction", zero_terminal_snr="on")
    assert (info.prediction_type, info.zero_terminal_snr) == ("v_prediction", True)


def test_a_choice_that_is_none() -> None:
    with pytest.raises(InvalidInput, match=r"velocity.*auto, epsilon, v_prediction"):
        BaseChoice("embedded", prediction_type="velocity")
    with pytest.raises(InvalidInput, match="on"):
        BaseChoice("embedded", zero_terminal_snr="yes")
    with pytest.raises(InvalidInput, match=r"\.safetensors"):
        BaseChoice("  ")
