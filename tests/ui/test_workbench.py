"""The workbench as pages ask for it: only LoRAs that the caller sees, models that are offered, its own pictures."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lora_studio.adapters.workbench.plain import KINDS
from lora_studio.errors import InvalidInput, NotFound
from lora_studio.sentences import sentence
from lora_studio.settings import Settings
from lora_studio.types import AdapterEntry
from lora_studio.types.library import ADAPTER_SUFFIXES, BUNDLED, EMBEDDING_SUFFIXES, adapter_name, bundled_in
from lora_studio.ui.actions import actions
from lora_studio.ui.studio import Ask, Studio
from lora_studio.ui.texts import FOLDER, LANGUAGES, strings
from tests.support.fake_engine import adapter_entry, safetensors
from tests.ui.conftest import ROOT, Call, uid

RULE = {"rank": 2}


def sample(call: Call) -> dict[str, Any]:
    """A LoRA that everybody sees."""
    return dict(call("library")["adapters"][0])


def result(call: Call, studio: Studio, owner: str = "ann", **asked: Any) -> dict[str, Any]:
    """The result of a tool's job."""
    job = call("workbench", owner, job=uid(), **asked)["job"]
    list(studio.engine.events(job))  # it loads torch, which may take long
    found = studio.engine.job(job)
    assert found.state == "done", found.error
    return dict(found.result or {})


def test_metadata_is_shown_and_a_file_inspected(call: Call, studio: Studio) -> None:
    lora = sample(call)
    request = {"file": lora["sha256"], "put": {"modelspec.title": "猫"}}
    shown = result(call, studio, tool="meta", request=request)
    assert shown["changes"] == [{"key": "modelspec.title", "before": None, "after": "猫"}]
    assert shown["files"] == []
    refused = result(call, studio, tool="inspect", request={"file": lora["sha256"]})["report"]["refused"]
    assert refused is None or lora["name"] in refused


def test_a_result_takes_over_what_is_said_of_the_lora(call: Call, studio: Studio) -> None:
    """Trigger words and picture stand in the library, not always in the file: a resized LoRA must not lose them."""
    import torch
    from safetensors.torch import save

    data = save({f"lora_unet_conv_in.lora_{n}.weight": torch.ones(s) for n, s in (("down", (2, 4)), ("up", (3, 2)))})
    entry = adapter_entry(studio.workspace, data, "mine", "ann")
    entry = studio.workspace.adapters.add(type(entry)(**(vars(entry) | {"trigger_words": ("cat",)})))
    request = {"file": entry.sha256, "rule": {"rank": 1}}
    made = result(call, studio, tool="resize", request=request, name="mine small")
    found = studio.workspace.adapters.get(made["adapter"], "ann")
    assert (found.name, found.trigger_words, found.rank) == ("mine small", ("cat",), 1)


def test_what_a_page_may_not_name(call: Call, studio: Studio) -> None:
    lora = sample(call)
    secret = adapter_entry(studio.workspace, safetensors({"name": "secret"}), "secret", "ben")
    studio.workspace.adapters.add(secret)
    with pytest.raises(InvalidInput, match="has no tool 'melt'"):
        call("workbench", job=uid(), tool="melt", request={})
    for given in ("/", "/etc", "../base", "file.safetensors", ""):
        with pytest.raises(NotFound) as refused:
            call("workbench", job=uid(), tool="extract", request={"before": given, "after": "embedded", "rule": RULE})
        assert (refused.value.code, refused.value.values["given"]) == ("workbench_model", given)
    parts = [{"file": lora["sha256"]}, {"file": secret.sha256}]
    for tool, request in (
        ("inspect", {"file": secret.sha256}),
        ("inspect", {"file": lora["sha256"], "other": secret.sha256}),
        ("combine", {"parts": parts}),
        ("meta", {"file": secret.sha256}),
        ("meta", {"file": lora["sha256"], "thumbnail": secret.sha256}),
    ):
        with pytest.raises(NotFound):
            call("workbench", job=uid(), tool=tool, request=request)
    assert result(call, studio, "ben", tool="meta", request={"file": secret.sha256})["changes"] == []


def test_a_file_that_names_another_ones_file_gets_nothing_of_it(call: Call, studio: Studio) -> None:
    """A key of ours in a file's own metadata made its owner a holder of whatever file it named."""
    import torch
    from safetensors.torch import save

    secret = studio.workspace.files.put_bytes(b"ben's", ".safetensors")
    tensors = {f"lora_unet_conv_in.lora_{n}.weight": torch.ones(s) for n, s in (("down", (2, 4)), ("up", (3, 2)))}
    data = save(tensors, metadata={BUNDLED: json.dumps([["word", secret, 1, {}]])})
    entry = studio.workspace.adapters.add(adapter_entry(studio.workspace, data, "mine", "ann"))
    request = {"file": entry.sha256, "put": {"sha256": secret, "x": secret}, "write": True}
    made = result(call, studio, tool="meta", request=request, name=secret)
    assert bundled_in(studio.workspace.adapters.get(made["adapter"], "ann")) == ()
    assert not studio.workspace.references.held(secret, ["ann"])


# ---------------------------------------------------------------- what it will come to
def lora(studio: Studio, name: str, rank: int, owner: str = "ann", seed: int = 0) -> AdapterEntry:
    """A LoRA of two layers, a linear one and a convolution, entered into the library."""
    import torch
    from safetensors.torch import save

    generator = torch.Generator().manual_seed(seed)
    shapes = {"to_q": ((rank, 320), (320, rank)), "conv1": ((rank, 32, 3, 3), (64, rank, 1, 1))}
    tensors = {}
    for layer, sides in shapes.items():
        for side, shape in zip(("down", "up"), sides, strict=True):
            key = f"lora_unet_mid_block_{layer}.lora_{side}.weight"
            tensors[key] = torch.randn(*shape, generator=generator).half()
        tensors[f"lora_unet_mid_block_{layer}.alpha"] = torch.tensor(float(rank))
    return studio.workspace.adapters.add(adapter_entry(studio.workspace, save(tensors), name, owner))


@pytest.mark.parametrize(
    ("tool", "more", "most"),
    [
        ("convert", {}, False),
        ("convert", {"dtype": "float32"}, False),
        ("bake", {"scale": 0.5}, False),
        ("resize", {"rule": {"rank": 4}}, False),
        ("resize", {"rule": {"rank": 4, "conv_rank": 2}}, False),
        ("resize", {"rule": {"rank": 99}}, False),
        ("resize", {"rule": {"sv_fro": 0.5}}, True),
    ],
)
def test_the_size_is_told_before(call: Call, studio: Studio, tool: str, more: dict[str, Any], most: bool) -> None:
    """But for the header's texts it is what is written then, or no less than it where it is the most."""
    request = {"file": lora(studio, "big", 8).sha256} | more
    told = call("workbench_plan", tool=tool, request=request, name="big")
    assert (told["name"], told["most"]) == ("big 2", most)
    made = result(call, studio, tool=tool, request=request)["files"][0]["size"]
    beside = 2500  # what the header says beside the layers' names
    assert made < told["size"] + beside
    assert most or made > told["size"] - beside


@pytest.mark.parametrize(("method", "rank", "per_layer"), [("cat", None, 20), ("svd", 5, 5), ("ties_svd", None, 12)])
def test_the_size_of_a_combination_is_told_before(
    call: Call, studio: Studio, method: str, rank: int | None, per_layer: int
) -> None:
    parts = [{"file": lora(studio, "a", 8).sha256}, {"file": lora(studio, "b", 12, seed=1).sha256, "weight": -1}]
    request = {"parts": parts, "method": method, "rank": rank}
    told = call("workbench_plan", tool="combine", request=request, name="a + b")
    made = result(call, studio, tool="combine", request=request)
    assert told["name"] == "a + b"
    assert made["rank"] == {"min": per_layer, "max": per_layer}
    assert abs(made["files"][0]["size"] - told["size"]) < 2500
    assert told["size"] > per_layer * (640 + 32 * 9 + 64) * 2


def test_a_size_that_nobody_can_tell_before(call: Call, studio: Studio) -> None:
    """A LoHa's product has another rank than its factors; a file that cannot be read has none."""
    loha = safetensors({"name": "loha"}).replace(b'"x"', b'"l.hada_w1_a"')
    loha = (len(loha) - 12).to_bytes(8, "little") + loha[8:]
    entry = studio.workspace.adapters.add(adapter_entry(studio.workspace, loha, "loha", "ann"))
    told = call("workbench_plan", tool="convert", request={"file": entry.sha256})
    assert told == {"size": None, "most": False, "name": ""}
    wrong = {"file": entry.sha256, "rule": {"rank": "many"}}
    problem = call("workbench_plan", tool="resize", request=wrong)["problem"]
    assert (problem["code"], problem["values"]["field"]) == ("field_number", "rank")
    problem = call("workbench_plan", tool="combine", request={"parts": [{"file": entry.sha256, "weight": ""}] * 2})
    assert (problem["problem"]["code"], problem["problem"]["values"]["field"]) == ("field_number", "weight")


def test_thirty_two_loras_are_combined(call: Call, studio: Studio) -> None:
    """The page took two, the command line as many as one likes."""
    parts = [{"file": lora(studio, f"l{n}", 1, seed=n).sha256, "weight": 1 / 32} for n in range(32)]
    made = result(call, studio, tool="combine", request={"parts": parts}, name="all")
    assert made["rank"] == {"min": 32, "max": 32}
    call("delete_adapter", sha256=made["adapter"])
    assert made["adapter"] not in {one["sha256"] for one in call("library")["adapters"]}
    call("restore_adapter", sha256=made["adapter"])
    assert made["adapter"] in {one["sha256"] for one in call("library")["adapters"]}
    with pytest.raises(InvalidInput) as refused:
        call("workbench", job=uid(), tool="combine", request={"parts": [*parts, parts[0]]})
    assert (refused.value.code, refused.value.values) == ("workbench_parts", {"given": 33, "allowed": 32})


def test_models_of_the_operators_folder_are_compared(
    call: Call, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import save_file

    (tmp_path / "models" / "sd").mkdir(parents=True)
    weight = torch.randn(24, 24, generator=torch.Generator().manual_seed(0))
    learnt = torch.randn(24, 2, generator=torch.Generator().manual_seed(1)) @ torch.ones(2, 24)
    name = "model.diffusion_model.input_blocks.1.1.proj_in.weight"
    for file, tensor in (("one", weight), ("sd/two", weight + learnt)):
        save_file({name: tensor}, tmp_path / "models" / f"{file}.safetensors")
    monkeypatch.setattr(studio.engine, "_checkpoints", tmp_path / "models")
    studio = Studio(studio.engine, studio.workspace, replace_settings(studio, tmp_path / "models"))
    asked = Ask(studio, "ann", {})
    told = actions()["workbench_models"](asked)
    assert told["folder"] == "models", "no path of this machine leaves it"
    assert [model["ref"] for model in told["models"]] == ["embedded", "one.safetensors", "sd/two.safetensors"]
    request = {"before": "one.safetensors", "after": "sd/two.safetensors", "rule": RULE, "dtype": "float32"}
    values = {"tool": "extract", "request": request, "name": "learnt"}
    assert actions()["workbench_plan"](Ask(studio, "ann", values)) == {"size": None, "most": False, "name": "learnt"}
    job = actions()["workbench"](Ask(studio, "ann", values | {"job": uid()}))["job"]
    list(studio.engine.events(job))
    made = studio.engine.job(job).result or {}
    assert (made["rank"], made["layers"]) == ({"min": 2, "max": 2}, 1)
    assert made["retained"]["min"] > 0.999
    assert studio.workspace.adapters.get(made["adapter"], "ann").name == "learnt"


def replace_settings(studio: Studio, checkpoints: Path) -> Settings:
    """The same settings with a folder of models."""
    return studio.settings.model_copy(update={"checkpoints": checkpoints})


def test_a_refused_file_says_why_in_both_languages(call: Call, studio: Studio) -> None:
    """The report's sentence was English on a Chinese page."""
    refusal = result(call, studio, tool="inspect", request={"file": sample(call)["sha256"]})["refusal"]
    english, chinese = (sentence(refusal["code"], refusal["values"], lang) for lang in LANGUAGES)
    assert english != chinese
    assert re.search("[\u4e00-\u9fff]", chinese)
    assert "{" not in english + chinese


# ---------------------------------------------------------------- every refusal has its words
ROOMS = (
    "adapters/workbench/*.py",
    "engine/workbench.py",
    "engine/products.py",
    "engine/inspection.py",
    "engine/metadata.py",
    "types/workbench.py",
)


def refusals() -> dict[str, set[str]]:
    """Every code that the workbench's rooms raise or warn with, and the values that they give to its sentence."""
    found: dict[str, set[str]] = {}
    for path in (path for room in ROOMS for path in (ROOT / "lora_studio").glob(room)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                named = {keyword.arg or "both": keyword.value for keyword in node.keywords}
                values = {*named} | ({"given", "other"} if "both" in named else set())
            elif isinstance(node, ast.Dict):
                named = {
                    ast.unparse(key).strip("'"): value for key, value in zip(node.keys, node.values, strict=True) if key
                }
                values = {
                    key.value for key in getattr(named.get("values"), "keys", []) if isinstance(key, ast.Constant)
                }
            else:
                continue
            code = named.get("code")
            if isinstance(code, ast.Constant):
                found[str(code.value)] = values
    return found


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_refusal_of_the_workbench_can_be_said(lang: str) -> None:
    """In both languages, and with no more values than there are."""
    texts, found = strings(lang), refusals()
    assert len(found) >= 22
    for code, values in found.items():
        text = texts[f"error.{code}"]
        assert set(re.findall(r"\{(\w+)\}", text)) <= values, code
        assert lang == "en" or re.search("[\u4e00-\u9fff]", text), code
    assert all(texts[f"kind.{kind}"] for kind in KINDS)
    assert lang == "zh" or {kind: texts[f"kind.{kind}"] for kind in KINDS} == KINDS


def test_choosers_of_files_offer_what_is_read() -> None:
    """Pickled LoRAs were read by the server and could not be chosen on the page."""
    scripts = FOLDER.parent / "static" / "js"
    for file, suffixes in (("lora_files.js", ADAPTER_SUFFIXES), ("embedding_files.js", EMBEDDING_SUFFIXES)):
        offered = re.search(r'export const KINDS = "([^"]+)"', (scripts / file).read_text(encoding="utf-8"))
        assert offered is not None
        assert tuple(offered[1].split(",")) == suffixes
    for path in scripts.glob("*.js"):
        assert 'accept: ".safetensors' not in path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("name", ["notes.txt", "model.onnx", "safetensors", ".pt"])
def test_other_files_are_refused_with_what_is_read(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        adapter_name(name)
    assert refused.value.values == {"given": name, "allowed": ".safetensors, .pt, .ckpt, .bin"}
    assert sentence("adapter_suffix", refused.value.values, "zh").endswith("：.safetensors, .pt, .ckpt, .bin。")
