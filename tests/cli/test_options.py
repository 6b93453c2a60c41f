"""`lora_studio.cli.options` and its kin: every field has its option, help says what is allowed, settings go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lora_studio.cli.adapter_options import AdapterConvertOptions, AdapterMetaOptions
from lora_studio.cli.options import GenerateOptions, ServeOptions, given_settings
from lora_studio.cli.train_options import FIELDS, TrainOptions
from lora_studio.settings import allowed_of
from lora_studio.types import TrainConfig
from tests.cli.conftest import Studio

RUNS = {"device", "threads", "offline"}
"""The settings that say how a base runs, whatever is done with it."""


def names(options: type) -> set[str]:
    return {field.name for field in dataclasses.fields(options)}


def test_every_field_of_a_recipe_is_an_option() -> None:
    """Batch size, resolution, layers and previews could be chosen on the page alone."""
    called = {FIELDS.get(name, name) for name in names(TrainOptions)}
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert fields - called == {"recipe", "dataset"}, "FIELDS calls the recipe kind, and the folder becomes the set"
    assert "base" in called, "the option names a base, of which the field holds the hash"


@pytest.mark.parametrize("options", [TrainOptions, GenerateOptions, ServeOptions, AdapterConvertOptions])
def test_where_the_base_runs_is_an_option_of_whatever_needs_one(options: type) -> None:
    assert names(options) >= RUNS
    assert options is TrainOptions or "lora_folders" in names(options)


def test_what_was_given_reaches_the_settings() -> None:
    given = given_settings(GenerateOptions(device="cpu", offline=True, lora_folders=(Path("a"),)))
    assert given["device"] == "cpu"
    assert given["offline"] is True
    assert given["lora_folders"] == (Path("a"),)
    left = given_settings(GenerateOptions(prompt="a", seed=1))
    assert set(left.values()) == {None}, "what was not given is left to the environment and the file"
    tool = given_settings(AdapterConvertOptions(dtype="float16", device="cpu"), "dtype")
    assert (tool["device"], "dtype" in tool) == ("cpu", False), "its --dtype is the file's"
    assert set(given_settings(AdapterMetaOptions())) == {"lora_folders", "workspace"}


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("device", "auto, cpu, cuda, mps"),
        ("prediction_type", "auto, epsilon, v_prediction"),
        ("port", "1 to 65535"),
        ("threads", "0 to 1024"),
        ("offline", "true, false"),
        ("lora_folders", "a list; in the environment apart by : (on Windows by ;)"),
        ("base", ""),
    ],
)
def test_what_a_setting_may_be_is_said(name: str, allowed: str) -> None:
    assert allowed_of(name) == allowed


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("generate", ("auto|epsilon|v_prediction", "auto|on|off", "auto|cpu|cuda|mps", "(0 to 1024)", "Repeatable;")),
        ("train", ("constant|cosine", "--flip", "--no-flip", "(attention,", "(1 to 1024)")),
        ("serve", ("auto|float32|bfloat16|float16", "(1 to 65535)")),
    ],
)
def test_help_says_what_is_allowed(studio: Studio, command: str, words: tuple[str, ...]) -> None:
    """Only an error had told what --prediction-type, --zero-terminal-snr, --device and --dtype may be."""
    shown = " ".join(studio(command, "--help").out.split())
    assert [word for word in words if word not in shown] == []
