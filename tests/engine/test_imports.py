"""Files that are brought in by the real engine: pickles, folders of peft, and what comes within a LoRA."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from lora_studio.engine.imports import open_import_embedding
from lora_studio.engine.inline import InlineEngine
from lora_studio.pipeline import Report, SharedBase
from lora_studio.pipeline.calls import WaitElsewhere
from lora_studio.pipeline.device import describe
from lora_studio.store import Workspace
from lora_studio.types import LOCAL, AdapterWeight, BaseChoice, JobSpec
from lora_studio.types.library import BUNDLED, bundled_in
from tests.engine.test_download import tools_of
from tests.support.contract import draw, ended, pictures, request, submit
from tests.support.tiny import EXACT, load_tiny, write_tiny_base

KEY = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def base(folder: Path) -> SharedBase:
    return load_tiny(folder)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def engine(workspace: Workspace, folder: Path) -> Iterator[InlineEngine]:
    made = InlineEngine(workspace, lambda choice: load_tiny(folder), BaseChoice("tiny"), lambda: describe(EXACT))
    yield made
    made.close()


def factors(base: SharedBase) -> tuple[Tensor, Tensor]:
    out, inputs = base.layers[KEY].shape
    draw_ = torch.Generator().manual_seed(1)
    return torch.randn(2, inputs, generator=draw_), torch.randn(out, 2, generator=draw_)


def kohya(base: SharedBase) -> dict[str, Tensor]:
    down, up = factors(base)
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    return {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(2.0)}


def bring(engine: InlineEngine, workspace: Workspace, path: Path, **more: str) -> dict[str, Any]:
    payload = {"file": workspace.files.put_file(path), "name": path.stem, **more}
    last = ended(engine, submit(engine, "import_adapter", payload))
    assert last.type == "done", last.data
    return dict(last.data)


def drawn(engine: InlineEngine, workspace: Workspace, **changes: Any) -> bytes:
    """The pixels of one small picture."""
    job = draw(engine, request(engine, **({"num_inference_steps": 2} | changes)))
    assert ended(engine, job).type == "done"
    return pictures(workspace, engine.job(job))[0].tobytes()


@pytest.mark.slow
def test_a_pickle_is_kept_as_safetensors(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    """The same file twice is one entry, and the entry is opened without another process."""
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": kohya(base)}, path)
    done = bring(engine, workspace, path)
    assert [warning["code"] for warning in done["warnings"]][::2] == ["adapter_few_layers", "adapter_converted"]
    with safe_open(str(workspace.files.path(done["adapter"])), "pt") as file:
        assert set(file.keys()) == set(kohya(base))
    assert bring(engine, workspace, path)["adapter"] == done["adapter"]
    assert len(workspace.adapters.list()) == 1
    entry = workspace.adapters.get(done["adapter"])
    assert (entry.rank, entry.alpha) == (2, 2.0)


@pytest.mark.slow
def test_a_pickled_embedding_dropped_as_a_lora_becomes_one(
    engine: InlineEngine, workspace: Workspace, tmp_path: Path
) -> None:
    from tests.support.embeddings import write_pt

    done = bring(engine, workspace, write_pt(tmp_path / "words.pt", 3))
    assert done["vectors"] == 3
    assert [entry.name for entry in workspace.embeddings.list("ann")] == ["words"]
    assert workspace.adapters.list() == []


def test_pefts_config_travels_with_the_file(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    """alpha 8 at rank 2 stands in adapter_config.json alone: without it the effect would be a quarter."""
    down, up = factors(base)
    peft = {f"base_model.model.{KEY.removeprefix('unet.')}.lora_{p}.weight": t for p, t in (("A", down), ("B", up))}
    path = tmp_path / "adapter_model.safetensors"
    save_file(peft, path)
    config = json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 8, "base_model_name_or_path": "/home/me/secret"})
    done = bring(engine, workspace, path, config=config)
    assert not {w["code"] for w in done["warnings"]} & {"adapter_no_config", "adapter_converted"}
    with safe_open(str(workspace.files.path(done["adapter"])), "pt") as file:
        kept = json.loads(file.metadata()["lora_adapter_metadata"])
    assert kept == {"peft_type": "LORA", "r": 2, "lora_alpha": 8}
    four = {n: (4 * t if "lora_up" in n else t) for n, t in kohya(base).items()}
    same = tmp_path / "same.safetensors"
    save_file(four, same)
    other = bring(engine, workspace, same)
    told = [
        drawn(engine, workspace, adapters=(AdapterWeight(one["adapter"], one["name"], 1.0),)) for one in (done, other)
    ]
    assert told[0] == told[1]


def test_what_comes_within_a_lora_is_named_while_it_is_in_the_stack(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    """`bundle_emb.<name>`: with the LoRA its name is its vectors, without it ordinary words."""
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    path = tmp_path / "both.safetensors"
    save_file(kohya(base) | {"bundle_emb.mycat.string_to_param.*": vectors}, path, metadata={BUNDLED: "[[]]"})
    plain = tmp_path / "plain.safetensors"
    save_file(kohya(base), plain)
    both, alone = bring(engine, workspace, path), bring(engine, workspace, plain)
    (embedding,) = bundled_in(workspace.adapters.get(both["adapter"]))
    assert (embedding.name, embedding.vectors, embedding.widths) == ("mycat", 2, {"clip_l": 32})
    assert bundled_in(workspace.adapters.get(alone["adapter"])) == ()

    def seen(sha256: str, prompt: str, weight: float = 0.5) -> bytes:
        return drawn(engine, workspace, prompt=prompt, adapters=(AdapterWeight(sha256, "x", weight),))

    assert seen(both["adapter"], "a dog") == seen(alone["adapter"], "a dog")
    assert seen(both["adapter"], "mycat") != seen(alone["adapter"], "mycat")
    assert seen(both["adapter"], "mycat", 0.0) == seen(alone["adapter"], "mycat", 0.0)
    given = request(engine, "mycat", num_inference_steps=1, adapters=(AdapterWeight(both["adapter"], "x", 0.5),))
    payload = engine.job(draw(engine, given)).payload
    assert payload["request"]["embeddings"] == [{"name": "mycat", "sha256": embedding.sha256}]


def test_deleting_the_lora_frees_what_came_within(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    path = tmp_path / "both.safetensors"
    save_file(kohya(base) | {"bundle_emb.mycat.clip_l": torch.ones(1, 32)}, path)
    done = bring(engine, workspace, path)
    (embedding,) = bundled_in(workspace.adapters.get(done["adapter"]))
    assert workspace.files.has(embedding.sha256)
    workspace.adapters.delete(done["adapter"])
    assert workspace.files.has(embedding.sha256), "it can be brought back for an hour"
    workspace.adapters.purge(time.time() + 1)
    assert not workspace.files.has(embedding.sha256)


def test_what_comes_within_a_lora_of_a_folder_acts_too(folder: Path, base: SharedBase, tmp_path: Path) -> None:
    """A folder that is read in place: the same picture as with the file brought in."""
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "both.safetensors"
    save_file(kohya(base) | {"bundle_emb.mycat.string_to_param.*": vectors}, path)
    pictures_ = []
    for name, folders in (("there", [path.parent]), ("here", [])):
        with Workspace.open(tmp_path / name, folders) as workspace:
            made = InlineEngine(
                workspace, lambda choice: load_tiny(folder), BaseChoice("tiny"), lambda: describe(EXACT)
            )
            list(workspace.folders.scan())
            sha256 = workspace.adapters.find("both").sha256 if folders else bring(made, workspace, path)["adapter"]
            (embedding,) = bundled_in(workspace.adapters.get(sha256))
            assert (embedding.name, embedding.vectors, embedding.widths) == ("mycat", 2, {"clip_l": 32})
            lora = (AdapterWeight(sha256, "x", 0.5),)
            pictures_.append([drawn(made, workspace, prompt=text, adapters=lora) for text in ("mycat", "a dog")])
            made.close()
    assert pictures_[0] == pictures_[1]
    assert pictures_[0][0] != pictures_[0][1]


def test_checking_a_lora_of_the_command_line_leaves_its_entry(
    engine: InlineEngine, workspace: Workspace, base: SharedBase, tmp_path: Path
) -> None:
    """It became a second entry of the browser's owner, without the stars and notes that were given to the first."""
    path = tmp_path / "ears.safetensors"
    save_file(kohya(base), path)
    payload = {"file": workspace.files.put_file(path), "name": "ears"}
    made = ended(engine, submit(engine, "import_adapter", payload, LOCAL)).data["adapter"]
    workspace.adapters.update(made, owner=LOCAL, name="Cat ears", stars=5, notes="good")
    checked = ended(engine, submit(engine, "import_adapter", {"file": made, "name": "Cat ears"}, "ann"))
    assert (checked.type, checked.data["adapter"]) == ("done", made)
    (entry,) = workspace.adapters.shelf("ann")
    assert (entry.owner, entry.name, entry.stars, entry.notes) == (LOCAL, "Cat ears", 5, "good")


def test_what_another_process_opens_leaves_the_device_to_others(
    workspace: Workspace, base: SharedBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job slept in its turns, which were charged like computing."""
    from tests.support.embeddings import vectors, write_pt

    class Pretended:
        """The other process: it ends at the third look."""

        def __init__(self, *_: Any, **__: Any) -> None:
            self.looks = 0

        def __enter__(self) -> Pretended:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def wait(self, seconds: float) -> bool:
            self.looks += 1
            return self.looks > 3

        def result(self) -> bytes:
            return save({"emb_params": vectors(2)})

    monkeypatch.setattr("lora_studio.adapters.unpacking.Unpacking", Pretended)
    file = workspace.files.put_file(write_pt(tmp_path / "words.pt", 2))
    spec = JobSpec("1" * 32, "import_embedding", "ann", {"file": file, "name": "words"})
    wants = list(open_import_embedding(spec, tools_of(base, workspace)))
    assert [type(want) for want in wants] == [WaitElsewhere] * 3 + [Report]
    assert workspace.embeddings.get(file).vectors == 2
