"""What the workbench's results are in the library and how large: words, embeddings that lie within, DoRA, refusals
before the work, and files that the loaded base does not fit."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.formats import kohya_name
from lora_studio.engine.inline import InlineEngine
from lora_studio.headers import header
from lora_studio.headers.factors import factors_of
from lora_studio.pipeline import SharedBase
from lora_studio.pipeline.device import describe
from lora_studio.store import Workspace
from lora_studio.types import LOCAL, NO_BASE, AdapterEntry, BaseChoice, Event, JobSpec
from lora_studio.types.library import BUNDLED, bundled_in
from lora_studio.types.workbench import tool_request
from lora_studio.ui.sizes import planned
from tests.support.tiny import EXACT, kohya_file, load_tiny, random_adapter


def built(workspace: Workspace, base: str) -> Iterator[InlineEngine]:
    choice = BaseChoice(base)
    made = InlineEngine(workspace, lambda wanted: load_tiny(Path(wanted.base)), choice, lambda: describe(EXACT))
    yield made
    made.close()


@pytest.fixture(scope="module")
def engine(workspace: Workspace, folder: Path) -> Iterator[InlineEngine]:
    """With the tiny base."""
    yield from built(workspace, str(folder))


@pytest.fixture(scope="module")
def shed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The workspace of the engine without a base."""
    with Workspace.open(tmp_path_factory.mktemp("shed")) as opened:
        yield opened


@pytest.fixture(scope="module")
def bare(shed: Workspace) -> Iterator[InlineEngine]:
    """Without a base."""
    yield from built(shed, NO_BASE)


def events(engine: InlineEngine, tool: str, request: dict[str, Any], **more: Any) -> list[Event]:
    spec = JobSpec(uuid.uuid4().hex, "workbench", "ann", {"tool": tool, "request": request, **more})
    return list(engine.events(engine.submit(spec)))


def done(engine: InlineEngine, tool: str, request: dict[str, Any], **more: Any) -> dict[str, Any]:
    last = events(engine, tool, request, **more)[-1]
    assert last.type == "done", last.data
    return dict(last.data)


def put(workspace: Workspace, tensors: dict[str, Tensor], folder: Path, **metadata: str) -> str:
    path = folder / f"{uuid.uuid4().hex}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata=metadata or None)
    return workspace.files.put_file(path)


def tensors_of(base: SharedBase, folder: Path, seed: int = 1, **options: Any) -> dict[str, Tensor]:
    return load_file(kohya_file(random_adapter(base, seed, **options), folder / "made.safetensors"))


def pair(name: str, out: int, inputs: int, rank: int = 4) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(out)
    return {
        f"{name}.lora_down.weight": torch.randn(rank, inputs, generator=draw),
        f"{name}.lora_up.weight": torch.randn(out, rank, generator=draw),
    }


# ---------------------------------------------------------------- embeddings that lie within
WORD = "bundle_emb.mycat.string_to_param.*"


def vectors(seed: int) -> Tensor:
    return torch.randn(2, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("tool", "request_"),
    [
        ("resize", {"rule": {"rank": 1}}),
        ("convert", {"to": "kohya", "dtype": "float16"}),
        ("convert", {"to": "diffusers"}),
        ("bake", {"scale": 0.5}),
        ("meta", {"put": {"modelspec.title": "x"}, "write": True}),
        ("combine", {}),
    ],
)
def test_a_word_that_lies_in_a_lora_lies_in_what_is_made_of_it(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path, tool: str, request_: dict[str, Any]
) -> None:
    """Bug: the file lost it (of the metadata's tool the library's entry), and its trigger was a word that meant
    nothing."""
    foreign = {BUNDLED: '[["x", "y", 1, {}]]'}
    sha256 = put(workspace, tensors_of(base, tmp_path) | {WORD: vectors(1)}, tmp_path, **foreign)
    files = {"parts": [{"file": sha256}, {"file": sha256}]} if tool == "combine" else {"file": sha256}
    made = done(engine, tool, files | request_, name=f"{tool} {request_}")
    assert not {"workbench_bundled_twice", "workbench_bundled_left"} & {w["code"] for w in made.get("warnings", [])}
    entry = workspace.adapters.get(made["adapter"], "ann")
    (embedding,) = bundled_in(entry)
    assert (embedding.name, embedding.vectors, embedding.widths) == ("mycat", 2, {"clip_l": 32})
    (kept,) = load_file(workspace.files.path(embedding.sha256)).values()
    assert torch.equal(kept, vectors(1))
    assert torch.equal(load_file(workspace.files.path(made["adapter"]))[WORD], vectors(1))


def test_words_that_cannot_be_kept_are_told_of(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    files = [put(workspace, tensors_of(base, tmp_path, n) | {WORD: vectors(n)}, tmp_path) for n in (1, 2)]
    both = done(engine, "combine", {"parts": [{"file": sha256} for sha256 in files]})
    (warning,) = [w for w in both["warnings"] if w["code"] == "workbench_bundled_twice"]
    assert warning["values"] == {"names": "mycat"}
    assert torch.equal(load_file(workspace.files.path(both["files"][0]["sha256"]))[WORD], vectors(1))
    peft = done(engine, "convert", {"file": files[0], "to": "peft"})
    assert "workbench_bundled_left" in {w["code"] for w in peft["warnings"]}


# ---------------------------------------------------------------- what the library says of a result
def entered(workspace: Workspace, sha256: str, owner: str, **more: Any) -> AdapterEntry:
    return workspace.adapters.add(AdapterEntry(sha256, f"from {sha256[:6]}", owner, 1.0, 1, **more))


def test_a_lora_of_a_folder_keeps_its_words(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    """Bug: entries of folders belong to the command line, and their words were not found for a page's user."""
    sha256 = put(workspace, tensors_of(base, tmp_path, 5), tmp_path)
    entered(workspace, sha256, LOCAL, trigger_words=("typed words",), base_sha256="b" * 64)
    made = done(engine, "resize", {"file": sha256, "rule": {"rank": 1}}, name="of a folder")
    entry = workspace.adapters.get(made["adapter"], "ann")
    assert (entry.owner, entry.trigger_words, entry.base_sha256) == ("ann", ("typed words",), "b" * 64)


def test_what_was_stripped_does_not_come_back_as_words(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    """Bug: the entry of a stripped file held every private key of the file that it was made of."""
    private = {"ss_tag_frequency": json.dumps({"a": {"secret tag": 3}}), "modelspec.title": "t"}
    sha256 = put(workspace, tensors_of(base, tmp_path, 6), tmp_path, **private)
    entered(workspace, sha256, "ann", trigger_words=("secret tag",), alpha=3.0)
    made = done(engine, "meta", {"file": sha256, "strip": True, "write": True}, name="stripped")
    entry = workspace.adapters.get(made["adapter"], "ann")
    assert (entry.trigger_words, entry.alpha, entry.rank) == ((), 3.0, 3)
    assert entry.metadata == {"modelspec.title": "t"}
    renamed = {"file": sha256, "put": {"modelspec.trigger_phrase": "new words"}, "write": True}
    made = done(engine, "meta", renamed, name="renamed")
    assert workspace.adapters.get(made["adapter"], "ann").trigger_words == ("new words",)


# ---------------------------------------------------------------- DoRA
def dora(base: SharedBase, adapter: CanonicalAdapter, folder: Path) -> dict[str, Tensor]:
    tensors = load_file(kohya_file(adapter, folder / "dora.safetensors"))
    for number, key in enumerate(adapter.layers):
        shape = base.layers[key].shape
        rows = torch.rand(shape[0], *[1] * (len(shape) - 1), generator=torch.Generator().manual_seed(number))
        tensors[f"{kohya_name(key)}.dora_scale"] = rows + 0.5
    return tensors


@pytest.mark.parametrize(
    ("tool", "request_", "grown"),
    [
        ("convert", {}, False),
        ("bake", {"scale": 1.0}, False),
        ("bake", {"scale": 0.5}, True),
        ("combine", {"method": "cat"}, True),
        ("combine", {"method": "svd"}, False),
        ("combine", {"method": "svd", "rank": 8}, False),
        ("resize", {"rule": {"rank": 8}}, False),
        ("resize", {"rule": {"rank": 8, "conv_rank": 2}}, False),
    ],
)
def test_the_size_of_what_is_made_of_a_dora_is_told_before(
    engine: InlineEngine,
    workspace: Workspace,
    base: SharedBase,
    tmp_path: Path,
    tool: str,
    request_: dict[str, Any],
    grown: bool,
) -> None:
    """Bug: "at most about 60 MB" was said of a file of 5 GB."""
    sha256 = put(workspace, dora(base, random_adapter(base, 1, rank=2), tmp_path), tmp_path)
    files = {"parts": [{"file": sha256}]} if tool == "combine" else {"file": sha256}
    request = files | {"dtype": "float32"} | request_
    path = workspace.files.path(sha256)
    with path.open("rb") as opened:
        known = factors_of(header.read(opened, path.stat().st_size))
    told = planned(tool_request({"tool": tool, "request": request})[1], [known])
    made = done(engine, tool, request)
    size = made["files"][0]["size"]
    assert told is not None
    assert told.most
    assert 0.6 * told.size < size < told.size + 20_000
    found = [w["values"] for w in made["warnings"] if w["code"] == "workbench_grown"]
    assert bool(found) == grown
    assert all(one["layers"] == made["layers"] for one in found)
    if request_ == {"method": "svd"}:
        assert made["rank"] == {"min": 2, "max": 2}


# ---------------------------------------------------------------- before the work
def test_a_layout_without_names_is_refused_before_the_work(
    engine: InlineEngine, workspace: Workspace, tmp_path: Path
) -> None:
    """Bug: `workbench_no_name` came when every layer of two FLUX folders had been taken apart."""
    for model in ("before", "after"):
        (tmp_path / model / "transformer").mkdir(parents=True)
        weights = {"transformer_blocks.0.attn.to_q.weight": torch.randn(4, 4)}
        save_file(weights, tmp_path / model / "transformer" / "model.safetensors")
    models = {"before": str(tmp_path / "before"), "after": str(tmp_path / "after"), "rule": {"rank": 1}}
    named = "transformer.transformer_blocks.0.attn.to_q.lora_"
    factors = {f"{named}A.weight": torch.ones(4, 1536), f"{named}B.weight": torch.ones(1536, 4)}
    lora = put(workspace, factors, tmp_path)
    for tool, request in (("extract", models), ("resize", {"file": lora, "rule": {"rank": 1}})):
        told = events(engine, tool, request)
        assert (told[-1].type, told[-1].data["code"]) == ("error", "workbench_no_name")
        assert [event.type for event in told if event.type == "progress"] == []
    made = done(engine, "extract", models | {"to": "diffusers"})
    assert made["rank"] == {"min": 1, "max": 1}


# ---------------------------------------------------------------- files that do not fit
XL = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
SD = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize("loaded", [True, False])
def test_files_that_do_not_fit_are_inspected_and_compared(
    request: pytest.FixtureRequest, tmp_path: Path, loaded: bool
) -> None:
    """Bug: with a base loaded, as always on the command line, two files of SDXL were not compared, without a word."""
    used: InlineEngine = request.getfixturevalue("engine" if loaded else "bare")
    workspace: Workspace = request.getfixturevalue("workspace" if loaded else "shed")
    sha256 = put(workspace, pair(XL, 640, 2048), tmp_path)
    result = done(used, "inspect", {"file": sha256, "other": sha256, "details": True})
    assert (result["refusal"] is not None) == loaded == (result["report"]["refused"] is not None)
    assert result["overlap"]["cosine"] == pytest.approx(1)
    assert result["details"]["rank_99"]["max"] == 4
    small = put(workspace, pair(SD, 320, 768), tmp_path)
    result = done(used, "inspect", {"file": sha256, "other": small})
    assert result["overlap"] is None
    assert result["report"]["warnings"][-1]["code"] == "workbench_unlike"
    assert result["report"]["family"] == "sdxl"
    junk = workspace.files.put_bytes(b"no lora at all", ".safetensors")
    last = events(used, "inspect", {"file": sha256, "other": junk})[-1]
    assert (last.type, last.data["code"]) == ("error", "adapter_damaged")


def test_what_needs_a_base_is_told_beside_the_report(
    bare: InlineEngine, shed: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    """Bug: the details of a DoRA without its base ended the job, and its report was lost."""
    sha256 = put(shed, dora(base, random_adapter(base, 1), tmp_path), tmp_path)
    result = done(bare, "inspect", {"file": sha256, "details": True})
    assert result["report"]["format"] == "kohya DoRA"
    assert result["report"]["warnings"][-1]["code"] == "workbench_needs_base"
    assert set(result["details"]) == {"metadata"}
