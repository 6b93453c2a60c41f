"""The door's report: what it says of a file, measured against plain numpy, and without a base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lora_studio.adapters import admit, inspect
from lora_studio.adapters.door import FileOptions
from lora_studio.adapters.formats.algebra import shape_of
from lora_studio.adapters.report import rank_of
from lora_studio.adapters.strength import block_of
from tests.adapters.corpus import Made, kinds
from tests.adapters.test_corpus import put
from tests.support.tiny_models import TinyModels, tiny_models

BY_NAME = {kind.name: kind for kind in kinds()}


@pytest.fixture(scope="module")
def tiny() -> TinyModels:
    return tiny_models("sd")


def made(name: str, tiny: TinyModels, folder: Path) -> tuple[Made, Path]:
    file = BY_NAME[name].make(tiny, folder)
    return file, put(file, folder)


def norm(values: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(float((value.astype(np.float64) ** 2).sum()) for value in values)))


@pytest.mark.parametrize(
    "name", ["kohya LoCon", "DoRA, columns", "LoKr, whole", "GLoRA", "IA3, inputs", "OFT", "norms"]
)
def test_strength_is_the_quotient_of_norms(name: str, tiny: TinyModels, tmp_path: Path) -> None:
    """|ΔW|/|W| over all changed layers and for each block, from the dense differences."""
    file, path = made(name, tiny, tmp_path)
    _, report = admit(path, "0" * 64, tiny.layers, options=FileOptions(weights=tiny.slots))
    blocks: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for key, (delta, _) in file.deltas.items():
        assert delta is not None
        changed, whole = blocks.setdefault(block_of(key), ([], []))
        changed.append(delta.numpy())
        whole.append(tiny.module(key).weight.numpy())  # type: ignore[operator]
    wanted = {block: norm(changed) / norm(whole) for block, (changed, whole) in blocks.items()}
    assert set(report.blocks) == set(wanted)
    for block, value in wanted.items():
        assert report.blocks[block] == pytest.approx(value, rel=1e-4)
    whole_file = norm([v for c, _ in blocks.values() for v in c]) / norm([v for _, w in blocks.values() for v in w])
    assert report.strength == pytest.approx(whole_file, rel=1e-4)


@pytest.mark.parametrize(
    ("key", "block"),
    [
        ("unet.down_blocks.1.attentions.0.proj_in", "unet.down_blocks.1"),
        ("unet.mid_block.resnets.0.conv1", "unet.mid_block"),
        ("unet.conv_in", "unet"),
        ("text_encoder_2.text_model.encoder.layers.0.mlp.fc1", "text_encoder_2"),
        ("transformer.transformer_blocks.11.attn.to_q", "transformer.transformer_blocks.11"),
    ],
)
def test_blocks(key: str, block: str) -> None:
    assert block_of(key) == block


def test_ranks_alphas_and_counts(tiny: TinyModels, tmp_path: Path) -> None:
    _, path = made("kohya, mixed ranks", tiny, tmp_path)
    _, report = admit(path, "5" * 64, tiny.layers)
    assert (report.ranks, report.alphas) == ((1, 6), (0.5, 5.5))
    assert (report.rank, report.alpha) == (None, None)
    assert (report.layers_matched, report.layers_in_file) == (6, 6)
    assert report.layers_in_base == len([s for s in tiny.layers.values() if not s.is_norm])
    assert (report.text_encoder, report.sha256, report.dtypes) == (False, "5" * 64, ("F32",))
    assert report.refused is None
    assert report.finite


@pytest.mark.parametrize(
    ("name", "ranks"),
    [
        ("LoHa", (2, 2)),
        ("LoKr, one factored", (1, 1)),
        ("GLoRA", (4, 4)),
        ("GLoRA, exchanged", (4, 4)),
        ("OFT", None),
    ],
)
def test_the_rank_is_what_the_trainer_was_told(
    name: str, ranks: tuple[int, int] | None, tiny: TinyModels, tmp_path: Path
) -> None:
    """The factors of a LoHa have the square of it."""
    _, path = made(name, tiny, tmp_path)
    assert admit(path, "0" * 64, tiny.layers)[1].ranks == ranks


def test_whole_lokr_matrices_have_no_alpha(tiny: TinyModels, tmp_path: Path) -> None:
    """LyCORIS writes 1e10 beside them: shown as the file's alpha it would frighten."""
    _, path = made("LoKr, alpha 1e10", tiny, tmp_path)
    assert admit(path, "0" * 64, tiny.layers)[1].alphas is None


FORMATS = {
    "kohya": "kohya LoRA",
    "DoRA, rows": "kohya DoRA",
    "LoHa": "kohya LoHa",
    "LoKr, whole": "kohya LoKr",
    "norms": "kohya norm",
    "full difference": "kohya full",
    "IA3, inputs": "kohya IA3",
    "GLoRA": "kohya GLoRA",
    "OFT": "kohya OFT",
    "BOFT": "kohya BOFT",
    "diffusers": "diffusers LoRA",
    "diffusers before 0.20": "diffusers (old) LoRA",
    "peft": "peft LoRA",
    "peft, DoRA": "peft DoRA",
    "peft, LoHa": "peft LoHa",
    "OneTrainer, dotted": "OneTrainer LoRA",
    "ComfyUI": "ComfyUI LoRA",
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_by_name(name: str, tiny: TinyModels, tmp_path: Path) -> None:
    _, path = made(name, tiny, tmp_path)
    assert inspect(path, "0" * 64, tiny.layers)[1].format == FORMATS[name]


def test_what_is_ignored_and_why(tiny: TinyModels, tmp_path: Path) -> None:
    _, path = made("layers of no base", tiny, tmp_path)
    assert {one.why for one in admit(path, "0" * 64, tiny.layers)[1].ignored} == {"not_in_base", "unknown"}
    folder = tmp_path / "other"
    folder.mkdir()
    _, path = made("second text encoder on SD 1.x", tiny, folder)
    assert {one.why for one in admit(path, "0" * 64, tiny.layers)[1].ignored} == {"other_component"}


def test_a_refused_file_is_described_as_far_as_it_was_read(tiny: TinyModels, tmp_path: Path) -> None:
    _, path = made("FLUX.1 by diffusers", tiny, tmp_path)
    adapter, report = inspect(path, "0" * 64, tiny.layers)
    assert adapter is None
    assert report.refused is not None
    assert (report.family, report.format, report.layers_in_file) == ("flux", "diffusers LoRA", 1)
    folder = tmp_path / "nan"
    folder.mkdir()
    _, path = made("NaN", tiny, folder)
    assert inspect(path, "0" * 64, tiny.layers)[1].finite is False


def test_without_a_base_the_file_speaks_for_itself(tiny: TinyModels, tmp_path: Path) -> None:
    """Of an architecture of its own (24 wide texts) the names stay those of the file."""
    file, path = made("kohya LoCon", tiny, tmp_path)
    adapter, report = inspect(path, "0" * 64)
    assert adapter is not None
    assert report.refused is None
    assert (report.layers_in_base, report.layers_in_file, report.family) == (0, len(file.deltas), "")
    wanted = sorted(float(delta.norm()) for delta, _ in file.deltas.values() if delta is not None)
    assert sorted(change.norm() for change in adapter.layers.values()) == pytest.approx(wanted, rel=1e-5)  # type: ignore[union-attr]


def test_strong_files_are_told_of(tiny: TinyModels, tmp_path: Path) -> None:
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    path = tmp_path / "strong.safetensors"
    tensors = {f"{name}.lora_down.weight": torch.ones(4, 32), f"{name}.lora_up.weight": torch.ones(32, 4)}
    save_file(tensors, path, metadata={"modelspec.license": "CC0"})
    _, report = admit(path, "0" * 64, tiny.layers, options=FileOptions(weights=tiny.slots))
    assert "adapter_strong" in [warning["code"] for warning in report.warnings]
    assert report.license == "CC0"


def test_without_a_base_nothing_is_said_of_one(tiny: TinyModels, tmp_path: Path) -> None:
    """Bug: rotations and gains, which do not tell how large a layer is, were said to fit no layer of "the loaded base"
    where none was loaded."""
    _, path = made("OFT", tiny, tmp_path)
    adapter, report = inspect(path, "0" * 64)
    assert adapter is None
    assert report.refused is not None
    assert report.refused.code == "adapter_needs_base"
    assert "the loaded base" not in report.refused.message
    folder = tmp_path / "mixed"
    folder.mkdir()
    _, path = made("every kind in one file", tiny, folder)
    adapter, report = inspect(path, "0" * 64)
    assert adapter is not None
    codes = {warning["code"]: warning["values"] for warning in report.warnings}
    left = [one for one in report.ignored if one.why == "no_shape"]
    assert "layers_ignored" not in codes
    assert codes["layers_shapeless"] == {"ignored": len(left), "layers": report.layers_in_file}
    assert len(left) + len(adapter.layers) == report.layers_in_file
    assert "layers_shapeless" not in {w["code"] for w in inspect(path, "0" * 64, tiny.layers)[1].warnings}


def test_a_glora_tells_the_shape_of_its_layer_whichever_way_round() -> None:
    parts = {"a1": (24, 4), "a2": (4, 24), "b1": (36, 4), "b2": (4, 24)}
    swapped = {one: parts[other] for one, other in (("a1", "a2"), ("a2", "a1"), ("b1", "b2"), ("b2", "b1"))}
    for shapes in (parts, swapped):
        assert shape_of({part: torch.ones(shape) for part, shape in shapes.items()}) == (36, 24)
        assert rank_of({part: torch.ones(shape) for part, shape in shapes.items()}) == 4
