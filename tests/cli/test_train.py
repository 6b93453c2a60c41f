"""`python -m lora_studio train` from pictures to file, without a model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lora_studio.store import Workspace
from lora_studio.store.datasets import Datasets
from lora_studio.types import RECIPES, EmbeddingEntry, TrainConfig
from tests.cli.conftest import Studio
from tests.cli.fake import Faults, write_pictures


def test_a_training_becomes_a_file_and_an_entry(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 4)
    answer = studio(
        "train", str(pictures), "--name", "cat ears", "--steps", "9", "--rank", "4", "--alpha", "2", "--lr", "2e-3",
        "--seed", "5", "--recipe", "quick", "--out", "deep/er/cats.safetensors", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    file = tmp_path / "here" / "deep" / "er" / "cats.safetensors"
    assert set(result) == {
        "file", "sha256", "steps", "seconds", "final_loss", "trainable_parameters", "base_parameters",
    }  # fmt: skip
    assert result["file"] == str(file)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == result["sha256"]
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert "step 5 of 5, loss 0.2000" in answer.err
    workspace = Workspace.open(tmp_path / "ws")
    assert workspace.adapters.find("cat ears").sha256 == result["sha256"]
    job = workspace.jobs.list(kinds=["train"])[0]
    config = job.payload["config"]
    wanted = {
        "steps": 9,
        "rank": 4,
        "alpha": 2.0,
        "learning_rate": 2e-3,
        "seed": 5,
        "recipe": "quick",
        "preview_every": RECIPES["quick"]["preview_every"],
    }
    assert {key: config[key] for key in wanted} == wanted
    assert len(workspace.datasets.get(config["dataset"]).items) == 4
    workspace.close()
    assert answer.engines[0].closed


def test_without_json_it_says_what_it_made(studio: Studio, tmp_path: Path) -> None:
    answer = studio("train", str(write_pictures(tmp_path / "cats", 2)), "--name", "N", "--out", "a.safetensors")
    assert answer.code == 0
    assert answer.out.splitlines() == [str(tmp_path / "here" / "a.safetensors"), "N: 5 steps in 1 min 2 s, loss 0.2000"]


def test_what_libraries_print_does_not_reach_the_json(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 2)
    faults = Faults(noise=True)
    answer = studio("train", str(pictures), "--name", "N", "--out", "a.safetensors", "--json", faults=faults)
    assert json.loads(answer.out)["steps"] == 5
    assert "a library says hello" in answer.err


def test_one_broken_picture_is_named_and_the_others_are_used(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 3)
    (pictures / "01.png").write_bytes((pictures / "01.png").read_bytes()[:60])
    answer = studio("train", str(pictures), "--name", "N", "--out", "a.safetensors", "--json")
    assert answer.code == 0
    notes = [line for line in answer.err.splitlines() if "01.png" in line]
    assert len(notes) == 1
    assert "damaged" in notes[0]
    assert json.loads(answer.out)["steps"] == 5


def test_pictures_without_captions_train_on_the_trigger_word(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 2, captions=False)
    answer = studio("train", str(pictures), "--name", "N", "--out", "a.safetensors")
    assert answer.code == 2
    assert "2 of 2 pictures" in answer.err
    assert "--trigger" in answer.err
    assert not answer.engines
    assert studio("train", str(pictures), "--name", "N", "--trigger", "blob", "--out", "a.safetensors").code == 0


def test_a_taken_name_is_told(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 2)
    assert studio("train", str(pictures), "--name", "N", "--steps", "1", "--out", "a.safetensors").code == 0
    answer = studio("train", str(pictures), "--name", "N", "--steps", "2", "--out", "b.safetensors")
    assert answer.code == 0
    assert "called 'N' already; this one is called 'N 2'" in answer.err


def sets(tmp_path: Path) -> list[str]:
    """Names of the sets of pictures that the command line has made."""
    with Workspace.open(tmp_path / "ws") as workspace:
        return [found.name for found in workspace.datasets.list("local")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "--trigger"),
        (("--trigger", "blob", "--base", "./none"), "'./none'"),
    ],
    ids=["captions are missing", "a base that is not there"],
)
def test_a_refused_training_leaves_no_set_behind(
    studio: Studio, tmp_path: Path, given: tuple[str, ...], said: str
) -> None:
    """A set of the command line is named by its run alone: what no run knows could never be deleted."""
    pictures = write_pictures(tmp_path / "cats", 2, captions=False)
    answer = studio("train", str(pictures), "--name", "N", "--out", "a.safetensors", *given)
    assert answer.code == 2
    assert said in answer.err
    assert sets(tmp_path) == []


def test_whatever_goes_wrong_before_a_training_leaves_no_set_behind(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only errors with a sentence had been thought of: after any other, and after Ctrl-C, the set stayed."""
    pictures = write_pictures(tmp_path / "cats", 2)
    real = Datasets.add_folder
    problems: list[BaseException] = [ValueError("a fault of ours"), KeyboardInterrupt()]

    def broken(self: Datasets, dataset_id: str, folder: Path) -> None:
        """Half of the work, then the fault."""
        real(self, dataset_id, folder)
        raise problems.pop(0)

    monkeypatch.setattr(Datasets, "add_folder", broken)
    with pytest.raises(ValueError, match="a fault of ours"):
        studio("train", str(pictures), "--name", "N", "--out", "a.safetensors")
    assert studio("train", str(pictures), "--name", "N", "--out", "a.safetensors").code == 130
    assert problems == []
    assert sets(tmp_path) == []


def test_a_stopped_training_keeps_its_set(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 2)
    studio("train", str(pictures), "--name", "N", "--out", "a.safetensors", faults=Faults(interrupt="train"))
    assert sets(tmp_path) == ["cats"]


def test_every_field_of_a_recipe_can_be_given(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 2)
    given = {
        "batch_size": 1, "resolution": 96, "layers": "all", "caption_dropout": 0.25, "caption_shuffle": 0.5,
        "least_weight": 0.5, "most_weight": 1.5, "lr_scheduler": "constant", "warmup_steps": 3, "min_snr_gamma": 4.0,
        "snr_floor": 0.1, "weight_decay": 0.01, "max_grad_norm": 2.0, "preview_every": 7, "checkpoint_every": 8,
    }  # fmt: skip
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    switches = ("--no-flip", "--keep-unprompted", "--publish-captions")
    previews = ("--preview-prompt", "a cat", "--preview-prompt", "a dog")
    where = ("--device", "cpu", "--dtype", "float32", "--threads", "2", "--offline")
    answer = studio(
        "train", str(pictures), "--name", "N", "--out", "a.safetensors", *flags, *switches, *previews, *where
    )
    assert answer.code == 0, answer.err
    settings = answer.engines[0].settings
    assert (settings.device, settings.dtype, settings.threads, settings.offline) == ("cpu", "float32", 2, True)
    with Workspace.open(tmp_path / "ws") as workspace:
        config = workspace.jobs.list(kinds=["train"])[0].payload["config"]
    assert {name: config[name] for name in given} == given
    assert (config["flip"], config["keep_unprompted"], config["publish_captions"]) == (False, True, True)
    assert config["preview_prompts"] == ["a cat", "a dog"]


def test_ctrl_c_leaves_a_run_that_goes_on(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 2)
    stopped = studio(
        "train", str(pictures), "--name", "N", "--out", "a.safetensors", "--json", faults=Faults(interrupt="train")
    )
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.engines[0].closed
    assert not (tmp_path / "here" / "a.safetensors").exists()
    told = [line for line in stopped.err.splitlines() if "--continue" in line]
    begun = [line for line in stopped.err.splitlines() if line.startswith("run ")]
    run = told[0].split("--continue ")[1].split()[0]
    assert begun == [f"run {run}"], "after a crash nobody could tell it any more"
    on = studio("train", "--continue", run, "--out", "a.safetensors", "--json")
    assert on.code == 0, on.err
    assert json.loads(on.out)["final_loss"] == 0.2
    assert "step 5 of 5" in on.err
    assert "step 2 of 5" not in on.err, "the events of before the stop are not told again"


def test_a_run_knows_its_base_and_the_way_on_names_it(studio: Studio, tmp_path: Path) -> None:
    """Who trained on another base and followed that line went on on the default one, and lost the run."""
    pictures = write_pictures(tmp_path / "cats", 2)
    asked = ("train", str(pictures), "--name", "N", "--out", "a.safetensors", "--base", "big")
    stopped = studio(*asked, faults=Faults(interrupt="train"))
    (told,) = [line for line in stopped.err.splitlines() if "--continue" in line]
    assert "--base big" in told
    assert f"--workspace {tmp_path / 'ws'}" in told
    with Workspace.open(tmp_path / "ws") as workspace:
        (run,) = workspace.jobs.list(kinds=["train"])
    assert run.payload["config"]["base"] == "b" * 64


def test_continue_takes_no_other_settings(studio: Studio) -> None:
    answer = studio("train", "--continue", "abcdef", "--steps", "7", "--out", "a.safetensors")
    assert answer.code == 2
    assert "--steps was given as '7' beside --continue" in answer.err


def test_an_unknown_run_is_named(studio: Studio, tmp_path: Path) -> None:
    answer = studio("train", "--continue", "abcdef", "--out", "a.safetensors")
    assert answer.code == 2
    assert "'abcdef' is not known; there is none that could go on" in answer.err
    pictures = write_pictures(tmp_path / "cats", 2)
    studio("train", str(pictures), "--name", "N", "--out", "a.safetensors", faults=Faults(interrupt="train"))
    workspace = Workspace.open(tmp_path / "ws")
    run = workspace.jobs.list(kinds=["train"])[0].id
    workspace.close()
    assert f"runs that can go on are {run[:12]}" in studio("train", "--continue", "zzzz", "--out", "a.safetensors").err


def test_an_older_file_is_replaced_whole(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "here" / "a.safetensors").write_bytes(b"old" * 1000)
    assert studio("train", str(write_pictures(tmp_path / "c", 2)), "--name", "N", "--out", "a.safetensors").code == 0
    assert (tmp_path / "here" / "a.safetensors").read_bytes() == f"adapter N {TrainConfig.steps}".encode()


def test_a_word_is_written_beside_the_lora(studio: Studio, tmp_path: Path) -> None:
    """Both files are told, the word's called as the word is; its settings reach the run."""
    pictures = write_pictures(tmp_path / "cats", 2, captions=False)
    given = (
        "--embedding",
        "zxq",
        "--embedding-vectors",
        "4",
        "--embedding-words",
        "cat ears",
        "--embedding-lr",
        "0.01",
    )
    more = ("--embedding-share", "0.5", "--embedding-decay", "0.001", "--embedding-pull", "0")
    answer = studio("train", str(pictures), "--name", "N", *given, *more, "--out", "a.safetensors", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    word = told["embedding"]
    assert word["file"] == str(tmp_path / "here" / "zxq.safetensors")
    assert (word["name"], word["vectors"]) == ("zxq", 4)
    data = Path(word["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == word["sha256"]
    assert hashlib.sha256(Path(told["file"]).read_bytes()).hexdigest() == told["sha256"]
    workspace = Workspace.open(tmp_path / "ws")
    run = workspace.jobs.list(kinds=["train"])[0].payload["config"]
    workspace.close()
    kept = {key.removeprefix("embedding_"): value for key, value in run.items() if key.startswith("embedding")}
    assert kept == {
        "embedding": "zxq", "vectors": 4, "words": "cat ears", "rate": 0.01, "share": 0.5, "decay": 0.001, "pull": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--embedding", "a b"), "The new word was given as 'a b'"),
        (("--embedding", "zxq", "--embedding-vectors", "76"), "--embedding-vectors was given as '76'"),
        (("--embedding-lr", "0.1"), "--embedding-lr was given as '0.1' without --embedding"),
        (("--embedding", "zxq", "--embedding-share", "2"), "--embedding-share was given as '2'"),
        (("--embedding", "a"), "a.safetensors', which is the LoRA's own"),
        (("--embedding", "there"), "there.safetensors', which is there already"),
        (("--embedding", "ZXQ"), "has an embedding 'zxq' already"),
    ],
)
def test_words_that_cannot_be_are_refused_before_an_engine_is_built(
    studio: Studio, tmp_path: Path, given: tuple[str, ...], said: str
) -> None:
    pictures = write_pictures(tmp_path / "cats", 2)
    (tmp_path / "here" / "there.safetensors").write_bytes(b"mine")
    with Workspace.open(tmp_path / "ws") as workspace:
        workspace.embeddings.add(EmbeddingEntry("1" * 64, "zxq", "local", 1.0, 9, 2, {"clip_l": 768}))
    answer = studio("train", str(pictures), "--name", "N", *given, "--out", "a.safetensors")
    assert (answer.code, answer.out, answer.engines) == (2, "", [])
    assert said in answer.err
    assert (tmp_path / "here" / "there.safetensors").read_bytes() == b"mine"


def test_a_run_with_a_word_goes_on(studio: Studio, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "cats", 2)
    stopped = studio(
        "train", str(pictures), "--name", "N", "--embedding", "zxq", "--out", "a.safetensors",
        faults=Faults(interrupt="train"),
    )  # fmt: skip
    run = stopped.err.split("--continue ")[1].split()[0]
    assert studio("train", "--continue", run, "--embedding-vectors", "3", "--out", "a.safetensors").code == 2
    own = studio("train", "--continue", run, "--out", "zxq.safetensors")
    assert (own.code, "which is the LoRA's own" in own.err) == (2, True)
    on = studio("train", "--continue", run, "--out", "a.safetensors")
    assert on.code == 0, on.err
    assert on.out.splitlines()[2:] == [
        str(tmp_path / "here" / "zxq.safetensors"), "zxq: 2 vectors, read where a prompt names it",
    ]  # fmt: skip
