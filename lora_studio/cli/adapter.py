"""`adapter ...`: the workbench's tools on files and on LoRAs of the library, as jobs of the engine.

A file is taken into the workspace first, the result is copied out of it: whole or not at all, never over another file
without --force, never over what it was made of. An engine loads no base for these tools until a file turns out to need
one. What is printed stands in `adapter_print`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_studio.cli.adapter_options import (
    AdapterBakeOptions,
    AdapterCombineOptions,
    AdapterConvertOptions,
    AdapterExtractOptions,
    AdapterInspectOptions,
    AdapterMetaOptions,
    AdapterResizeOptions,
)
from lora_studio.cli.adapter_print import print_inspected, print_made, print_meta
from lora_studio.cli.files import copy_atomically, target_file, target_folder
from lora_studio.cli.follow import EngineFactory, Teller, follow, loaded_base, opened, running, spec
from lora_studio.cli.given import PEFT_FILE, PEFT_PARTS, check_weight, named, peft_config, split_weight
from lora_studio.cli.library import refresh
from lora_studio.cli.options import given_settings
from lora_studio.engine.protocol import Engine
from lora_studio.errors import InvalidInput, NotFound, StudioError
from lora_studio.settings import Settings, load_settings
from lora_studio.store import Workspace
from lora_studio.types import NO_BASE
from lora_studio.types.workbench import RankRule, tool_request

Making = (
    AdapterConvertOptions | AdapterCombineOptions | AdapterResizeOptions | AdapterExtractOptions | AdapterBakeOptions
)
_NEEDS_BASE = ("workbench_needs_base", "workbench_needs_names")


@dataclass
class Desk:
    """The workspace and what was laid on it: stored files by sha256, and the `places` that must stay as they are.

    `checkpoints` is the folder in which the engine looks for the names of models.
    """

    workspace: Workspace
    checkpoints: Path | None = None
    labels: dict[str, str] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    places: list[Path] = field(default_factory=list)

    def lay(self, given: str) -> str:
        """The sha256 of a file or library entry. Raises `NotFound`."""
        asked = named(self.workspace, given)
        if asked.file is None:
            self.labels[asked.sha256] = asked.name
            self.places.append(self.workspace.files.path(asked.sha256))
            return asked.sha256
        sha256 = self.workspace.files.put_file(asked.file)
        self.labels[sha256] = asked.name or asked.file.name
        self.places.append(asked.file)
        config = peft_config(asked.file)
        if config is not None:
            self.configs[sha256] = config
        return sha256

    def model(self, given: str) -> str:
        """A model as the engine is told of it: a path in full, since the engine may stand in another folder."""
        path = Path(given).expanduser()
        if os.path.exists(path):
            self.places.append(path)
            return os.path.abspath(path)
        if self.checkpoints is not None and os.path.exists(self.checkpoints / given):
            self.places.append(self.checkpoints / given)
        return given

    def payload(self, tool: str, request: dict[str, Any], name: str | None = None) -> dict[str, Any]:
        """A job's payload, checked. Raises `InvalidInput`."""
        payload: dict[str, Any] = {
            "tool": tool,
            "request": request,
            "labels": self.labels,
            "configs": self.configs,
        }
        tool_request(payload)
        return payload | ({"name": name} if name else {})


@contextlib.contextmanager
def _desk(settings: Settings) -> Iterator[Desk]:
    """An empty desk in the workspace of `settings`; its folders of LoRAs are looked through, so names are found."""
    with opened(settings) as workspace:
        refresh(workspace, settings)
        yield Desk(workspace, settings.checkpoints)


def inspect(options: AdapterInspectOptions, build: EngineFactory) -> None:
    """Say what a file is; a refused one is an answer too."""
    file = _needed(options.file, "FILE", "give the LoRA to inspect")
    settings = load_settings(**given_settings(options))
    with _desk(settings) as desk:
        request = {"file": desk.lay(file), "other": desk.lay(options.other) if options.other else ""}
        payload = desk.payload("inspect", request | {"details": options.details})
        with _telling() as teller, running(build, settings, desk.workspace) as engine:
            loaded_base(engine, settings, teller)
            result = follow(engine, engine.submit(spec("workbench", payload)), teller)
    print_inspected(result, as_json=options.json)


def convert(options: AdapterConvertOptions, build: EngineFactory) -> None:
    """Write the same adapter in another layout."""
    file = _needed(options.file, "FILE", "give the LoRA to convert")
    _make("convert", options, build, lambda desk: {"file": desk.lay(file)})


def combine(options: AdapterCombineOptions, build: EngineFactory) -> None:
    """Write several adapters with weights as one."""
    if len(options.files) < 2:
        raise InvalidInput(
            f"{len(options.files)} LoRAs were given to combine; give two or more, each with its weight behind a colon.",
            code="combine_few",
            given=len(options.files),
        )
    for given in options.files:
        check_weight(given)
    names = ("method", "rank", "density", "election", "seed")

    def request(desk: Desk) -> dict[str, Any]:
        """The parts and what was said of the method."""
        parts = [_part(desk, given) for given in options.files]
        return {"parts": parts, **_given(options, names)}

    _make("combine", options, build, request)


def resize(options: AdapterResizeOptions, build: EngineFactory) -> None:
    """Write an adapter of another rank."""
    file = _needed(options.file, "FILE", "give the LoRA to resize")
    rule = _rule(options)
    _make("resize", options, build, lambda desk: {"file": desk.lay(file), "rule": rule})


def extract(options: AdapterExtractOptions, build: EngineFactory) -> None:
    """Write the difference of two models as an adapter."""
    before = _needed(options.before, "BEFORE", "give the first model")
    after = _needed(options.after, "AFTER", "give the model that was trained further")
    rule = _rule(options)
    more = {"text_encoders": not options.unet_only, "rule": rule}
    _make("extract", options, build, lambda desk: {"before": desk.model(before), "after": desk.model(after), **more})


def bake(options: AdapterBakeOptions, build: EngineFactory) -> None:
    """Write an adapter whose weight 1 is what another weight was."""
    file = _needed(options.file, "FILE", "give the LoRA")
    if options.scale is None:
        raise InvalidInput("--scale is missing; give the weight that shall become 1.", code="missing", given="--scale")
    scales = _given(options, ("scale", "text_encoder_scale"))
    _make("bake", options, build, lambda desk: {"file": desk.lay(file), **scales})


def meta(options: AdapterMetaOptions, build: EngineFactory) -> None:
    """Show the metadata, or what an edit would change; with --out write it."""
    file = _needed(options.file, "FILE", "give the LoRA whose metadata is meant")
    put = dict(_pair(given) for given in options.put)
    settings = load_settings(**given_settings(options) | {"base": NO_BASE})
    with _desk(settings) as desk:
        workspace = desk.workspace
        request: dict[str, Any] = {"file": desk.lay(file), "put": put, "remove": list(options.remove)}
        request |= {
            "strip": options.strip,
            "hashes": options.hashes,
            "write": options.out is not None or bool(options.name),
        }
        if options.thumbnail is not None:
            request["thumbnail"] = workspace.files.put_file(options.thumbnail.expanduser())
        out = None if options.out is None else _target(options.out, "kohya", options.force, desk)
        payload = desk.payload("meta", request, options.name)
        with _telling() as teller, running(build, settings, workspace) as engine:
            result = follow(engine, engine.submit(spec("workbench", payload)), teller)
        written = [] if out is None else _copied(workspace, result["files"], out, "kohya")
    print_meta(result, written, as_json=options.json)


# ------------------------------------------------------------ the way of all tools that make a file
def _make(tool: str, options: Making, build: EngineFactory, ask: Callable[[Desk], dict[str, Any]]) -> None:
    """Check, run the job, copy what it made, and say so."""
    if options.out is None:
        raise InvalidInput("--out is missing; give the file to write.", code="missing", given="--out")
    layout = options.to or "kohya"
    given = given_settings(options, "dtype")
    settings = load_settings(**given)
    with _desk(settings) as desk:
        request = ask(desk) | _given(options, ("to", "dtype"))
        payload = desk.payload(tool, request, options.name)
        out = _target(options.out, layout, options.force, desk)
        at_once = options.base is not None and tool != "extract"
        first = settings if at_once else load_settings(**given | {"base": NO_BASE})
        with _telling() as teller, running(build, first, desk.workspace) as engine:
            result = _run(engine, payload, settings, teller)
        written = _copied(desk.workspace, result["files"], out, layout)
    print_made(result, written, as_json=options.json)


def _run(engine: Engine, payload: dict[str, Any], settings: Settings, teller: Teller) -> dict[str, Any]:
    """The job's result; where the files need the base, it is loaded and the job is done again."""
    try:
        return follow(engine, engine.submit(spec("workbench", payload)), teller)
    except StudioError as problem:
        if problem.code not in _NEEDS_BASE or engine.info().base is not None:
            raise
        teller.say("note: the base is loaded, which these files need")
        follow(engine, engine.submit(spec("load_base", {"base": settings.base})), teller)
    return follow(engine, engine.submit(spec("workbench", payload)), teller)


@contextlib.contextmanager
def _telling() -> Iterator[Teller]:
    teller = Teller()
    try:
        yield teller
    finally:
        teller.done()


def _target(out: Path, layout: str, force: bool, desk: Desk) -> Path:
    """Where to write. Raises `InvalidInput` for what stands there already and for what is read."""
    path = Path(os.path.abspath(out.expanduser()))
    if any(_writes_over(path, layout, place) for place in desk.places):
        raise InvalidInput(
            f"--out was given as {str(out)!r}, which would write over what is read; sources stay as they are; give "
            "another name.",
            code="out_is_source",
            given=str(out),
        )
    taken = os.path.lexists(path) if layout != "peft" else os.path.isdir(path) and bool(os.listdir(path))
    if taken and not force and not (layout != "peft" and os.path.isdir(path)):
        raise InvalidInput(
            f"--out was given as {str(out)!r}, where something stands already; give another name, or --force to "
            "replace it.",
            code="out_exists",
            given=str(out),
        )
    return target_folder(out) if layout == "peft" else target_file(out, ".safetensors")


def _writes_over(path: Path, layout: str, place: Path) -> bool:
    """True where a result at `path` would replace the source at `place`, or a file within a source that is a folder."""
    target, source = path.resolve(), place.resolve()
    if layout == "peft":  # a folder is written: one file of this name, or one for each part of the model
        return source.name == PEFT_FILE and source.parent in (target, *(target / part for part in PEFT_PARTS))
    return os.path.exists(target) and (source in target.parents or os.path.samefile(target, source))


def _copied(workspace: Workspace, files: list[dict[str, Any]], out: Path, layout: str) -> list[dict[str, Any]]:
    """The files of a result at their places: {"file", "sha256", "size"} of each."""
    written = []
    for made in files:
        target = target_folder((out / made["name"]).parent) / Path(made["name"]).name if layout == "peft" else out
        copy_atomically(workspace.files.path(made["sha256"]), target)
        written.append({"file": str(target), "sha256": made["sha256"], "size": made["size"]})
    return written


# ------------------------------------------------------------ reading what was given
def _needed(given: str | None, name: str, what: str) -> str:
    if not given:
        raise InvalidInput(f"{name} is missing; {what}.", code="missing", given=name)
    return given


def _given(options: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The options that were given; the requests have the defaults."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _rule(options: AdapterResizeOptions | AdapterExtractOptions) -> dict[str, Any]:
    """The rule for the rank, checked. Raises `InvalidInput`."""
    rule = _given(options, ("rank", "conv_rank", "sv_ratio", "sv_fro", "sv_cumulative"))
    RankRule(**rule)
    return rule


def _part(desk: Desk, given: str) -> dict[str, Any]:
    """One LoRA of a combination: a name may hold a colon, so the whole text is tried too."""
    left, weight = split_weight(given)
    if weight is None:
        return {"file": desk.lay(given), "weight": 1.0}
    try:
        return {"file": desk.lay(left), "weight": weight}
    except NotFound as problem:
        with contextlib.suppress(NotFound):
            return {"file": desk.lay(given), "weight": 1.0}
        raise problem from None


def _pair(given: str) -> tuple[str, str]:
    """KEY=VALUE at its first sign. Raises `InvalidInput`."""
    key, sign, value = given.partition("=")
    if not sign:
        raise InvalidInput(
            f"--set was given as {given!r}; it must be KEY=VALUE, like modelspec.title=cat ears; change it.",
            code="meta_pair",
            given=given,
        )
    return key, value
