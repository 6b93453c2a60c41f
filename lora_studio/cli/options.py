"""What can be given on the command line: one frozen dataclass per command, each field with its flag and its help.

`command` makes a typer command of such a dataclass, so that no function takes a row of twenty parameters. Help and
ranges come from the `FieldSpec` of the field that an option fills; numbers are read here, so that a value that is no
number is answered by the same sentence as one out of range, with the flag that was typed.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from lora_studio.errors import InvalidInput
from lora_studio.settings import Settings, allowed_of
from lora_studio.types import EMPHASES, SAMPLERS, FieldSpec, GenerateRequest, describe

Options = TypeVar("Options")


def spec_of(cls: type, name: str) -> FieldSpec:
    """The `FieldSpec` of one field of a dataclass of `lora_studio.types`."""
    return next(field for field in describe(cls) if field.name == name)


def number_reader(flag: str, spec: FieldSpec, kind: type[int] | type[float]) -> Callable[[str], Any]:
    """A function that reads one number for `flag` and refuses what `spec` does not allow."""

    def read(given: str) -> Any:
        """The number, or `InvalidInput`."""
        try:
            value = kind(given)
        except (ValueError, OverflowError):
            value = math.nan
        low = spec.minimum is None or value >= spec.minimum
        high = spec.maximum is None or value <= spec.maximum
        if not (math.isfinite(value) and low and high):
            word = "a whole number" if kind is int else "a number"
            span = "" if spec.allowed == "any value" else f" from {spec.allowed}"
            raise InvalidInput(
                f"{flag} was given as {given!r}; it must be {word}{span}; change it and try again.",
                code="field_number",
                field=flag,
                given=given,
                allowed=spec.allowed,
            )
        return value

    return read


def text(flag: str, metavar: str, doc: str) -> Any:
    """An option that is given as text, a path or several texts after `flag`."""
    return typer.Option(flag, metavar=metavar, help=doc, show_default=False)


def number(flag: str, metavar: str, spec: FieldSpec, kind: type[int] | type[float] = int) -> Any:
    """An option that is given as a number after `flag`."""
    doc = _ranged(spec.doc, spec.allowed)
    return typer.Option(flag, metavar=metavar, help=doc, parser=number_reader(flag, spec, kind))


def switch(flag: str, doc: str) -> Any:
    """An option that is True when `flag` is given."""
    return typer.Option(flag, help=doc)


def setting(name: str, metavar: str = "") -> Any:
    """An option that overrides the setting `name`; without `metavar` it is one of a few words, which stand there."""
    allowed = allowed_of(name)
    doc = Settings.model_fields[name].description or ""
    return text(f"--{name.replace('_', '-')}", metavar or "|".join(allowed.split(", ")), _ranged(doc, allowed))


def choice(flag: str, cls: type, name: str, allowed: tuple[str, ...]) -> Any:
    """An option that is one of a few words and fills a field of a dataclass of `lora_studio.types`."""
    short = len(allowed) < 5 and not any(" " in word for word in allowed)
    return text(flag, "|".join(allowed) if short else "NAME", _ranged(spec_of(cls, name).doc, ", ".join(allowed)))


def _ranged(doc: str, allowed: str) -> str:
    return f"{doc} ({allowed})" if allowed else doc


PROMPTS = text("--prompts-from", "FILE", "UTF-8 file with one prompt a line, instead of --prompt.")
PICTURE = text("--from-picture", "FILE", "Take everything from what made this picture; other options override it.")
LORA = text("--lora", "NAME_OR_FILE[:W]", "A LoRA of the library or a file, and its weight, 1 if left out; repeatable.")
EMBEDDING = text("--embedding", "FILE", "An embedding to add to the library; prompts name it as its file; repeatable.")
SAMPLER = text("--sampler", "NAME", f"One of {', '.join(SAMPLERS)}, or A1111's name for it.")
STYLE = text("--style", "NAME", "A saved style to put around the words; repeatable, in this order.")
EXPLAIN = switch("--explain", "Print what is understood of the prompts, and make no picture.")
EMPHASIS = text(
    "--emphasis", "MODE", f"How weights in brackets act: one of {', '.join(EMPHASES)}; original if left out."
)
OUT_FOLDER = text("--out", "DIR", "Folder for the PNGs; they are numbered after those that are there.")
INFOTEXT_FILE = typer.Argument(metavar="FILE", help="A picture, a text file, or - for text on standard input.")
HIRES_STEPS = FieldSpec(
    "hires_steps",
    "Steps of A1111's second pass (hires fix), which is not drawn here; the schedules are then read for that one.",
    None,
    1,
    1000,
)
COMMA_BACKTRACK = FieldSpec(
    "comma_backtrack", "How far back the last comma may be at which a full chunk is cut; 0 turns that off.", 20, 0, 75
)
STAGE = text(
    "--stage",
    "NAME",
    "Run one stage alone on the raw text: schedule, attention, and, networks or chunks; all if left out.",
)
PROMPT_EMBEDDING = text("--embedding", "NAME=VECTORS", "An embedding that the text may name; repeatable.")
JSON = switch("--json", "Print one JSON object on standard output; everything else goes to standard error.")
OFFLINE = switch("--offline", Settings.model_fields["offline"].description or "")
LORA_FOLDERS = text(
    "--lora-folders",
    "DIR",
    f"{Settings.model_fields['lora_folders'].description} Repeatable; these replace those of the setting.",
)


@dataclass(frozen=True)
class GenerateOptions:
    """`generate`: words and LoRAs in, pictures out."""

    prompt: Annotated[str | None, text("--prompt", "P", spec_of(GenerateRequest, "prompt").doc)] = None
    prompts_from: Annotated[Path | None, PROMPTS] = None
    from_picture: Annotated[Path | None, PICTURE] = None
    negative: Annotated[str | None, text("--negative", "P", spec_of(GenerateRequest, "negative_prompt").doc)] = None
    lora: Annotated[tuple[str, ...], LORA] = ()
    style: Annotated[tuple[str, ...], STYLE] = ()
    explain: Annotated[bool, EXPLAIN] = False
    embedding: Annotated[tuple[str, ...], EMBEDDING] = ()
    seed: Annotated[int | None, number("--seed", "S", spec_of(GenerateRequest, "seed"))] = None
    steps: Annotated[int | None, number("--steps", "K", spec_of(GenerateRequest, "num_inference_steps"))] = None
    cfg: Annotated[float | None, number("--cfg", "C", spec_of(GenerateRequest, "guidance_scale"), float)] = None
    guidance_rescale: Annotated[
        float | None, number("--guidance-rescale", "X", spec_of(GenerateRequest, "guidance_rescale"), float)
    ] = None
    sampler: Annotated[str | None, SAMPLER] = None
    size: Annotated[str | None, text("--size", "WxH", "Width and height in pixels, like 128x192.")] = None
    clip_skip: Annotated[int | None, number("--clip-skip", "N", spec_of(GenerateRequest, "clip_skip"))] = None
    emphasis: Annotated[str | None, EMPHASIS] = None
    pad_prompts: Annotated[bool, switch("--pad-prompts", spec_of(GenerateRequest, "pad_prompts").doc)] = False
    old_scheduling: Annotated[bool, switch("--old-scheduling", spec_of(GenerateRequest, "old_scheduling").doc)] = False
    dynamic: Annotated[bool, switch("--dynamic", spec_of(GenerateRequest, "dynamic").doc)] = False
    count: Annotated[int | None, number("--count", "N", spec_of(GenerateRequest, "num_images"))] = None
    base: Annotated[str | None, setting("base", "B")] = None
    prediction_type: Annotated[str | None, setting("prediction_type")] = None
    zero_terminal_snr: Annotated[str | None, setting("zero_terminal_snr")] = None
    checkpoints: Annotated[Path | None, setting("checkpoints", "DIR")] = None
    device: Annotated[str | None, setting("device")] = None
    dtype: Annotated[str | None, setting("dtype")] = None
    threads: Annotated[str | None, setting("threads", "N")] = None
    lora_folders: Annotated[tuple[Path, ...], LORA_FOLDERS] = ()
    offline: Annotated[bool, OFFLINE] = False
    out: Annotated[Path | None, OUT_FOLDER] = None
    workspace: Annotated[Path | None, setting("workspace", "DIR")] = None
    json: Annotated[bool, JSON] = False


@dataclass(frozen=True)
class InfotextOptions:
    """`infotext`: what a picture or a text says of itself."""

    file: Annotated[str | None, INFOTEXT_FILE] = None
    json: Annotated[bool, JSON] = False


@dataclass(frozen=True)
class PromptOptions:
    """`prompt`: how a text on standard input is read."""

    steps: Annotated[int | None, number("--steps", "N", spec_of(GenerateRequest, "num_inference_steps"))] = None
    hires_steps: Annotated[int | None, number("--hires-steps", "M", HIRES_STEPS)] = None
    old_scheduling: Annotated[bool, switch("--old-scheduling", spec_of(GenerateRequest, "old_scheduling").doc)] = False
    comma_backtrack: Annotated[int | None, number("--comma-backtrack", "K", COMMA_BACKTRACK)] = None
    emphasis: Annotated[str | None, EMPHASIS] = None
    embedding: Annotated[tuple[str, ...], PROMPT_EMBEDDING] = ()
    stage: Annotated[str | None, STAGE] = None
    json: Annotated[bool, JSON] = False


LIBRARY_ACTION = typer.Argument(metavar="list|scan|show|edit|fetch", help="What to do; list if left out.")
LIBRARY_NAME = typer.Argument(metavar="NAME", help="A LoRA by name, file name or hash; for fetch where it is.")
STARS = FieldSpec("stars", "How much you like it.", 0, 0, 5)
WEIGHT = FieldSpec("recommended_weight", "The weight that the stack starts with.", 1.0, -10, 10)


@dataclass(frozen=True)
class LibraryOptions:
    """`library`: the LoRAs that are there."""

    action: Annotated[str | None, LIBRARY_ACTION] = None
    name: Annotated[str | None, LIBRARY_NAME] = None
    label: Annotated[str | None, text("--label", "N", "edit: what it is called from now on.")] = None
    words: Annotated[str | None, text("--words", "A,B", "edit: its trigger words, separated by commas.")] = None
    weight: Annotated[float | None, number("--weight", "W", WEIGHT, float)] = None
    stars: Annotated[int | None, number("--stars", "N", STARS)] = None
    notes: Annotated[str | None, text("--notes", "TEXT", "edit: its notes.")] = None
    lora_folders: Annotated[tuple[Path, ...], LORA_FOLDERS] = ()
    workspace: Annotated[Path | None, setting("workspace", "DIR")] = None
    json: Annotated[bool, JSON] = False


@dataclass(frozen=True)
class ServeOptions:
    """`serve`: the page in a browser."""

    host: Annotated[str | None, setting("host", "ADDRESS")] = None
    port: Annotated[str | None, setting("port", "N")] = None
    base: Annotated[str | None, setting("base", "B")] = None
    prediction_type: Annotated[str | None, setting("prediction_type")] = None
    zero_terminal_snr: Annotated[str | None, setting("zero_terminal_snr")] = None
    checkpoints: Annotated[Path | None, setting("checkpoints", "DIR")] = None
    device: Annotated[str | None, setting("device")] = None
    dtype: Annotated[str | None, setting("dtype")] = None
    threads: Annotated[str | None, setting("threads", "N")] = None
    workspace: Annotated[Path | None, setting("workspace", "DIR")] = None
    lora_folders: Annotated[tuple[Path, ...], LORA_FOLDERS] = ()
    offline: Annotated[bool, OFFLINE] = False
    no_browser: Annotated[bool, switch("--no-browser", "Do not open the page in a browser.")] = False


def given_settings(options: Any, *besides: str) -> dict[str, Any]:
    """The settings that an options object gives, as arguments of `load_settings`.

    Args:
        besides: options that are called as a setting and are none.
    """
    names = {field.name for field in dataclasses.fields(options)} & set(Settings.model_fields) - set(besides)
    given = {name: getattr(options, name) for name in names}
    return {name: None if value is False or value == () else value for name, value in given.items()}


def command(options: type[Options], run: Callable[[Options], None]) -> Callable[..., None]:
    """A function whose signature typer can read, and that calls `run` with the filled `options`."""

    def call(**given: Any) -> None:
        run(options(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}))

    parameters = []
    for name, annotation in typing.get_type_hints(options, include_extras=True).items():
        info = typing.get_args(annotation)[1]
        default = getattr(options, name)
        if isinstance(default, tuple):  # typer knows lists only
            annotation, default = Annotated[list[str], info], list(default)
        parameters.append(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        )
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__doc__ = options.__doc__
    return call
