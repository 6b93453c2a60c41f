"""`train`: a folder of pictures becomes a LoRA file and an entry of the library.

Everything that can be checked without the base is checked before an engine is built. It does not know how training
works, nor how pictures are read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_studio.cli.files import copy_atomically, target_file
from lora_studio.cli.follow import OWNER, EngineFactory, Teller, duration, follow, loaded_base, opened, running, spec
from lora_studio.cli.options import given_settings
from lora_studio.cli.runs import find_run, way_on
from lora_studio.cli.train_options import FIELDS, TrainOptions
from lora_studio.errors import DatasetError, InvalidInput, NotFound, StorageError
from lora_studio.settings import Settings, load_settings
from lora_studio.store import Workspace
from lora_studio.types import DatasetManifest, JobSpec, TrainConfig, recipe, to_json

REPORTED = ("steps", "seconds", "final_loss", "trainable_parameters", "base_parameters")
"""What of the engine's result stands in the answer, beside the file and its sha256."""


def run(options: TrainOptions, build: EngineFactory) -> None:
    """Train or go on with a training, write the file, print the answer."""
    asked = None if options.resume else asked_for(options)
    if options.out is None:
        raise InvalidInput("--out is missing; give the .safetensors file to write.", code="missing", given="--out")
    settings = load_settings(**given_settings(options))
    folder = None if options.resume else _folder(options.folder)
    if options.resume:
        _nothing_else(options)
    out = target_file(options.out, ".safetensors")
    teller = Teller()
    with opened(settings) as workspace:
        place = (settings, workspace, teller)
        if asked is not None and folder is not None:
            check_word(workspace, str(asked["embedding"] or ""), out)
            job = spec("train", {})
            with _set_for(job.id, folder, workspace) as dataset:
                asked["dataset"] = dataset
                _fill(workspace, dataset, folder, asked["trigger"] or asked["embedding"] or "", teller)
                result = _train(job, asked, build, place)
        else:
            run_id = find_run(workspace, str(options.resume))
            check_word(workspace, word_of(workspace, run_id), out, entered=True)
            result = _train(spec("train", {"resume": run_id}), None, build, place)
        written = _export(workspace, result, out, None if asked is None else asked["name"], teller)
    answer = {"file": str(out), "sha256": result["adapter"]} | {key: result[key] for key in REPORTED}
    if options.json:
        print(json.dumps(answer | ({} if written is None else {"embedding": written})))
    else:
        told = f"{result['steps']} steps in {duration(result['seconds'])}, loss {result['final_loss']:.4f}"
        print(f"{out}\n{result['name']}: {told}")
        if written is not None:
            print(f"{written['file']}\n{written['name']}: {written['vectors']} vectors, read where a prompt names it")


def asked_for(options: TrainOptions) -> dict[str, Any]:
    """What was asked for, as arguments of `recipe`, checked; dataset and base are not known yet.

    Raises:
        InvalidInput: a value is missing or not allowed.
    """
    if options.folder is None:
        raise InvalidInput("DIR is missing; give the folder of pictures to learn from.", code="missing", given="DIR")
    if options.name is None:
        raise InvalidInput("--name is missing; say what the new LoRA is called.", code="missing", given="--name")
    called = {FIELDS.get(field.name, field.name): field.name for field in dataclasses.fields(options)}
    # A config's base is a hash, an option's one a place.
    fields = [field.name for field in dataclasses.fields(TrainConfig) if field.name != "base"]
    asked = {name: getattr(options, called[name]) for name in ("kind", *fields) if name in called} | {"dataset": ""}
    asked["preview_prompts"] = options.preview_prompt or None
    _word_first(options)
    recipe(**asked)
    return asked


def _word_first(options: TrainOptions) -> None:
    """Refuse settings of a new word where there is none."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name.startswith("embedding_") and value is not None and not options.embedding:
            flag = f"--{field.name.replace('_', '-')}"
            raise InvalidInput(
                f"{flag} was given as {str(value)!r} without --embedding; name the new word, or leave it out.",
                code="embedding_unnamed",
                field=flag,
                given=str(value),
            )


def word_path(out: Path, name: str) -> Path:
    """Where the file of a learnt word is written: beside the LoRA, called as the word, as A1111 wants it."""
    return out.with_name(f"{name}.safetensors")


def word_of(workspace: Workspace, run_id: str) -> str:
    """The word that a run learns, "" where it learns none."""
    config = workspace.jobs.get(run_id).payload.get("config", {})
    return str(config.get("embedding", ""))


def check_word(workspace: Workspace, name: str, out: Path, *, entered: bool = False) -> None:
    """Refuse a new word whose name or file is taken, before anything is done.

    Args:
        entered: True for a run that goes on: its name was looked up when it began.

    Raises:
        InvalidInput: the library has an embedding of that name, or its file would replace another.
    """
    if not name:
        return
    if not entered:
        workspace.embeddings.check_free(name, OWNER)
    path = word_path(out, name)
    if path == out or path.exists():
        why = "is the LoRA's own" if path == out else "is there already"
        raise InvalidInput(
            f"The file of the new word would be {str(path)!r}, which {why}; give another --out or another --embedding.",
            code="embedding_file_taken",
            field="--out",
            given=str(path),
        )


def _folder(folder: Path | None) -> Path:
    """`folder` as it is when it is one."""
    path = Path(folder or "").expanduser()
    if not os.path.isdir(path):
        kind = "is a file" if os.path.exists(path) else "does not exist"
        raise InvalidInput(
            f"DIR was given as {str(folder)!r}, which {kind}; give the folder that holds the pictures.",
            code="folder_missing",
            given=str(folder),
        )
    return path


def _nothing_else(options: TrainOptions) -> None:
    """Refuse options that a run which goes on cannot take any more."""
    free = {"resume", "out", "json", *Settings.model_fields}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name not in free and value != field.default:
            shown = "DIR" if field.name == "folder" else f"--{field.name.replace('_', '-')}"
            raise InvalidInput(
                f"{shown} was given as {str(value)!r} beside --continue, but a run goes on with the settings it began "
                "with; leave it out.",
                code="continue_changes",
                field=shown,
                given=str(value),
            )


@contextlib.contextmanager
def _set_for(job_id: str, folder: Path, workspace: Workspace) -> Iterator[str]:
    """A new, empty set that is called as `folder`; where no training was begun it goes again, whatever the error was:
    nothing else would ever name it."""
    dataset = workspace.datasets.create(folder.resolve().name or str(folder), OWNER)
    try:
        yield dataset.id
    finally:
        try:
            workspace.jobs.get(job_id)
        except NotFound:
            workspace.datasets.delete(dataset.id)


def _fill(workspace: Workspace, dataset: str, folder: Path, trigger: str, teller: Teller) -> None:
    """Take the pictures of `folder` into a set.

    Raises:
        DatasetError: there is no usable picture, or pictures without caption and no trigger word.
    """
    manifest = workspace.datasets.add_folder(dataset, folder)
    for refused in manifest.refused:
        teller.say(f"note: {refused.message}")
    _usable(manifest, folder, trigger)


def _usable(manifest: DatasetManifest, folder: Path, trigger: str) -> None:
    """Raise `DatasetError` for a set without pictures, or with pictures that nothing describes."""
    if not manifest.items:
        raise DatasetError(
            f"The folder {str(folder)!r} holds no picture that can be used ({len(manifest.refused)} files refused); "
            "put PNG, JPEG or WebP pictures there.",
            code="no_pictures",
            given=str(folder),
            refused=len(manifest.refused),
        )
    bare = [item for item in manifest.items if not item.caption.strip()]
    if bare and not trigger.strip():
        raise DatasetError(
            f"{len(bare)} of {len(manifest.items)} pictures in {str(folder)!r} have no caption (the first is "
            f"{bare[0].source!r}); write captions into .txt files beside them or give a word by --trigger.",
            code="no_captions",
            given=bare[0].source,
            missing=len(bare),
        )


def _train(
    job: JobSpec, asked: dict[str, Any] | None, build: EngineFactory, place: tuple[Settings, Workspace, Teller]
) -> dict[str, Any]:
    """The result of the training; after Ctrl-C the run is left interrupted and the way on is told."""
    settings, workspace, teller = place
    run_id = str(job.payload.get("resume", job.id))
    try:
        with running(build, settings, workspace) as engine:
            base = loaded_base(engine, settings, teller)
            if asked is not None:
                config = replace(recipe(base=base, **asked), base=base.sha256)
                job = replace(job, payload={"config": to_json(config)})
            before = len(workspace.jobs.events(run_id)) if "resume" in job.payload else 0
            job_id = engine.submit(job)
            teller.say(f"run {run_id[:12]}")
            return follow(engine, job_id, teller, since=before if job_id == run_id else 0, keep=True)
    except KeyboardInterrupt:
        left = [found.id for found in workspace.jobs.list(kinds=["train"], states=["interrupted"], limit=10_000)]
        left = [name for name in (job.id, run_id) if name in left]
        if left:
            teller.say(f"Stopped; go on by: {way_on(left[0], settings)}")
        raise
    finally:
        teller.done()


def _export(
    workspace: Workspace, result: dict[str, Any], out: Path, asked: str | None, teller: Teller
) -> dict[str, Any] | None:
    """Copy the adapter to `out`, and the word learnt with it beside; what is to be told of the word, None without one.

    Raises:
        StorageError: a file cannot be written; both are still in the library, and the sentence says so.
    """
    name, word = result["name"], result.get("embedding")
    if asked is not None and name != asked:
        teller.say(f"note: the library has a LoRA called {asked!r} already; this one is called {name!r}")
    try:
        copy_atomically(workspace.files.path(result["adapter"]), out)
        if word is not None:
            copy_atomically(workspace.files.path(word["sha256"]), word_path(out, word["name"]))
    except StorageError as problem:
        raise StorageError(
            f"{problem.message.rstrip('.')}; the LoRA itself is safe in the library as {name!r}.",
            code=f"{problem.code}_kept",
            name=name,
            **problem.values,
        ) from None
    return None if word is None else {"file": str(word_path(out, word["name"]))} | word
