"""The whole recipe of the base as frozen sections with checks, read from one TOML file (`recipe.toml`).

Each setting carries its own doc line and its range. A key that no section has, a value of another type or out of its
range is an error that says what to write instead. It knows neither torch nor files other than the recipe.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

RECIPE = Path(__file__).with_name("recipe.toml")
_S = TypeVar("_S")


class RecipeError(ValueError):
    """A recipe that cannot be followed; one sentence says what was given, what is allowed and what to do."""


def setting(
    default: Any, doc: str, least: float | None = None, most: float | None = None, among: tuple[str, ...] = ()
) -> Any:
    """A field of a section: default, doc line, and the range or the words that it allows."""
    return field(default=default, metadata={"doc": doc, "least": least, "most": most, "among": among})


class Section:
    """What every section does: check each value against its field."""

    def __post_init__(self) -> None:
        for one in dataclasses.fields(self):  # type: ignore[arg-type]
            if "doc" in one.metadata:
                _check(f"{type(self).__name__}.{one.name}", getattr(self, one.name), one.metadata)


def _check(name: str, given: Any, rule: typing.Mapping[str, Any]) -> None:
    values = given if isinstance(given, tuple) else (given,)
    if rule["among"] and given not in rule["among"]:
        raise RecipeError(f"{name} is {given!r}; allowed are {', '.join(rule['among'])}; write one of these.")
    if isinstance(given, tuple) and not given:
        raise RecipeError(f"{name} is empty; at least one value is needed; write one.")
    for value in values:
        low = rule["least"] is not None and not value >= rule["least"]
        if low or (rule["most"] is not None and not value <= rule["most"]):
            most = "any" if rule["most"] is None else rule["most"]
            raise RecipeError(
                f"{name} is {given!r}; allowed is {rule['least']} to {most}; write a value in that range."
            )


@dataclass(frozen=True)
class Pictures(Section):
    """What the painter paints."""

    count: int = setting(24_000, "pictures; a multiple of `shard`", 1)
    shard: int = setting(1_000, "pictures in one file", 1)
    processes: int = setting(0, "processes that paint; 0 is one for every core", 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count % self.shard:
            raise RecipeError(
                f"Pictures.count is {self.count}; it must be a multiple of shard, {self.shard}; "
                f"write {self.count + -self.count % self.shard}."
            )


@dataclass(frozen=True)
class Tokenizer(Section):
    """Byte-level BPE in CLIP's layout."""

    vocabulary: int = setting(2_046, "most entries that merging may reach, bytes included", 512, 65_000)
    length: int = setting(77, "tokens of a prompt, begin and end included", 8, 77)


@dataclass(frozen=True)
class Optimizer(Section):
    """Muon for matrices and kernels, AdamW for the rest; warm-up, constant, linear decay; weight average."""

    muon_rate: float = setting(0.02, "rate of Muon", 0, 1)
    adam_rate: float = setting(2e-3, "rate of AdamW", 0, 1)
    weight_decay: float = setting(0.01, "of Muon alone, times its rate", 0, 1)
    iterations: int = setting(5, "Newton-Schulz iterations of Muon", 1, 10)
    warmup: int = setting(100, "steps in which the rate rises", 0)
    decay: float = setting(0.5, "share of all steps, at the end, in which the rate falls linearly", 0, 1)
    last: float = setting(0.02, "share of the rate at the very end", 0, 1)
    clip: float = setting(1.0, "largest norm of the gradient", 1e-6)
    average: float = setting(0.9995, "weight average (EMA) kept from step to step", 0, 1)


@dataclass(frozen=True)
class Cadence(Section):
    """How often a training writes what."""

    log_seconds: float = setting(30.0, "seconds between two lines of progress", 0)
    checkpoint_minutes: float = setting(10.0, "minutes between two checkpoints", 0)
    sheet_steps: int = setting(2_000, "steps between two sheets of samples; 0 is none", 0)
    keep_steps: int = setting(0, "steps between two exports that stay (a base folder each); 0 is none", 0)


@dataclass(frozen=True)
class AutoencoderModel(Section):
    """AutoencoderKL; used for a new one only, a continued one keeps its own."""

    channels: tuple[int, ...] = setting((16, 32, 64, 96), "channels of its levels; each level but one halves", 1)
    latent_channels: int = setting(8, "channels of the latents", 1)
    groups: int = setting(2, "norm groups; few, or colour is lost", 1)
    layers: int = setting(1, "residual blocks of a level", 1)


@dataclass(frozen=True)
class AutoencoderLoss(Section):
    """Weights of the parts of the loss; pictures are in -1 to 1."""

    absolute: float = setting(1.0, "mean absolute error", 0)
    squared: float = setting(0.5, "mean squared error: what PSNR counts", 0)
    gradient: float = setting(0.5, "absolute error of differences between neighbours: sharp lines", 0)
    chroma: float = setting(1.0, "absolute error of the two colour differences", 0)
    pooled: float = setting(1.0, "absolute error of 8 x 8 means", 0)
    latent: float = setting(2e-3, "mean square of the latents; with the encoder in training only", 0)


@dataclass(frozen=True)
class Autoencoder(Section):
    """Training of the autoencoder."""

    start: str = setting("base", "continue the base's weights, or begin new ones", among=("base", "new"))
    train: str = setting("decoder", "what is trained; `decoder` leaves every latent as it is", among=("decoder", "all"))
    steps: int = setting(20_000, "optimizer steps in all", 1)
    batch: int = setting(16, "pictures a step", 1)
    crop: int = setting(64, "pixels of a square cut out, a multiple of 8; 0 is the whole picture", 0)
    latent_noise: float = setting(0.05, "noise on the latents before decoding, in their own units", 0)
    seed: int = setting(0, "of everything that is drawn", 0)
    model: AutoencoderModel = field(default_factory=AutoencoderModel)
    loss: AutoencoderLoss = field(default_factory=AutoencoderLoss)
    optimizer: Optimizer = field(default_factory=Optimizer)
    cadence: Cadence = field(default_factory=Cadence)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop % 8:
            raise RecipeError(
                f"Autoencoder.crop is {self.crop}; allowed are multiples of 8; write {self.crop // 8 * 8}."
            )
        if self.start == "new" and self.train == "decoder":
            raise RecipeError(
                'Autoencoder.train is "decoder" with start "new"; a new encoder must learn too; write train = "all".'
            )


@dataclass(frozen=True)
class UNet(Section):
    """UNet2DConditionModel. A continued base must have these very sizes."""

    channels: tuple[int, ...] = setting((64, 128, 192), "channels of its levels", 1)
    attention: tuple[bool, ...] = setting((True, True, False), "whether a level looks at the words")
    layers: int = setting(1, "residual blocks of a level", 1)
    heads: int = setting(4, "attention heads", 1)
    groups: int = setting(16, "norm groups", 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.attention) != len(self.channels):
            raise RecipeError(
                f"UNet.attention has {len(self.attention)} values and channels {len(self.channels)}; "
                "both must have one a level; write as many."
            )


@dataclass(frozen=True)
class TextEncoder(Section):
    """CLIPTextModel. A continued one may grow: more layers, a wider feed-forward part, or (learnt anew) more width."""

    width: int = setting(192, "numbers a token; another than the base's begins a new text encoder", 8)
    layers: int = setting(3, "layers; those added begin as doing nothing", 1)
    heads: int = setting(6, "attention heads", 1)
    feed_forward: int = setting(768, "hidden width of the feed-forward part; what is added begins as doing nothing", 8)
    trained: bool = setting(True, "whether it is trained")
    rate: float = setting(1.0, "its learning rates, times those of the UNet", 0)


@dataclass(frozen=True)
class Captions(Section):
    """What is done to captions. Shares of all samples; what is left of 1 is given as written."""

    dropped: float = setting(0.1, "share with no words at all, for guidance; in long steps half have stray words", 0, 1)
    few: float = setting(0.0, "share that names only `few_least` to `few_most` things beside the head", 0, 1)
    shortened: float = setting(0.27, "share shuffled and cut", 0, 1)
    shuffled: float = setting(0.18, "share shuffled", 0, 1)
    few_least: int = setting(2, "fewest things named", 1)
    few_most: int = setting(3, "most things named", 1)
    shortest: float = setting(0.35, "least share of its tags that a shortened caption keeps", 0, 1)
    keep_head: bool = setting(True, "whether quality, style and who is there stay in front when tags are left out")
    underscores: float = setting(0.04, "share of tags written with underscores", 0, 1)
    long: float = setting(0.0, "share of steps whose prompts are long: see `pretrain.diffusion.clutter`", 0, 1)
    chunks: int = setting(4, "most chunks of 75 tokens of a long prompt", 1)
    weighted: float = setting(0.35, "share of the words of a long prompt that have a weight", 0, 1)
    heaviest: float = setting(1.5, "largest weight of a word", 1.05)

    def __post_init__(self) -> None:
        super().__post_init__()
        total = self.dropped + self.few + self.shortened + self.shuffled
        if total > 1 + 1e-9:
            raise RecipeError(
                f"Captions: dropped, few, shortened and shuffled make {total:.3f}; at most 1 is possible; lower one."
            )
        if self.few_least > self.few_most:
            raise RecipeError(
                f"Captions.few_least is {self.few_least} and few_most {self.few_most}; the first must not be the "
                "larger; swap them."
            )


@dataclass(frozen=True)
class Text(Section):
    """Training of the text encoder alone; its sizes are those of `diffusion.text_encoder`."""

    steps: int = setting(1_000, "optimizer steps in all", 1)
    batch: int = setting(96, "captions a step", 1)
    seed: int = setting(0, "of everything that is drawn", 0)
    anchor: float = setting(1.0, "weight of the distance from what the base's text encoder says", 0)
    optimizer: Optimizer = field(default_factory=Optimizer)
    cadence: Cadence = field(default_factory=Cadence)


@dataclass(frozen=True)
class Reader(Section):
    """Training of the reader of tags."""

    steps: int = setting(1_500, "optimizer steps in all", 1)
    batch: int = setting(256, "pictures a step", 1)
    seed: int = setting(0, "of everything that is drawn", 0)
    least: int = setting(100, "captions that must have a tag for it to be asked", 1)
    widths: tuple[int, ...] = setting((64, 96, 160), "channels of its levels, multiples of 8; each but one halves", 8)
    optimizer: Optimizer = field(default_factory=Optimizer)
    cadence: Cadence = field(default_factory=Cadence)


@dataclass(frozen=True)
class Reading(Section):
    """What the reader's word counts in the diffusion's training."""

    weight: float = setting(0.0, "of the loss of reading; 0 needs no reader", 0)
    folder: str = setting("build/pretrain/reader", "folder of the trained reader")


@dataclass(frozen=True)
class Diffusion(Section):
    """Training of UNet and text encoder; the autoencoder is frozen."""

    start: str = setting("base", "continue the base's weights, or begin new ones", among=("base", "new"))
    steps: int = setting(40_000, "optimizer steps in all", 1)
    batch: int = setting(32, "pictures a step", 1)
    seed: int = setting(0, "of everything that is drawn", 0)
    gamma: float = setting(5.0, "min-SNR: weight min(SNR, gamma) / (SNR + 1) + floor", 0)
    floor: float = setting(0.2, "least weight, at pure noise, where composition and colours are decided", 0)
    shift: float = setting(1.0, "timesteps drawn nearer to pure noise: u -> s u / (1 + (s - 1) u)", 0.05, 20)
    mirrored: float = setting(0.5, "share of pictures mirrored", 0, 1)
    workers: int = setting(0, "processes that put batches together; 0 is none (CPU), 4 for a GPU", 0)
    sheet_prompts: tuple[str, ...] = setting(("1girl, blue hair, smile", "no humans, red star"), "prompts of a sheet")
    sheet_steps: int = setting(18, "denoising steps of a sheet", 1)
    sheet_guidance: float = setting(4.0, "guidance of a sheet", 0)
    unet: UNet = field(default_factory=UNet)
    text_encoder: TextEncoder = field(default_factory=TextEncoder)
    captions: Captions = field(default_factory=Captions)
    reading: Reading = field(default_factory=Reading)
    optimizer: Optimizer = field(default_factory=Optimizer)
    cadence: Cadence = field(default_factory=Cadence)


@dataclass(frozen=True)
class Recipe(Section):
    """Everything, in the order in which it is made."""

    base: str = setting("assets/base", "folder that is continued; tokenizer, autoencoder and scheduler come from it")
    device: str = setting("auto", "where to compute", among=("auto", "cpu", "cuda"))
    numbers: str = setting(
        "auto", "bf16 in matrix products or not; auto probes what pays", among=("auto", "bf16", "fp32")
    )
    pictures: Pictures = field(default_factory=Pictures)
    tokenizer: Tokenizer = field(default_factory=Tokenizer)
    autoencoder: Autoencoder = field(default_factory=Autoencoder)
    text: Text = field(default_factory=Text)
    reader: Reader = field(default_factory=Reader)
    diffusion: Diffusion = field(default_factory=Diffusion)


def load_recipe(path: Path | str = RECIPE, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of a file with changes of the form `diffusion.batch=64` (values as in TOML).

    Raises:
        RecipeError: a file that is no TOML, an unknown key, a value of another type or out of range.
    """
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is no TOML ({error}); mend that place.") from error
    for change in changes:
        _apply(table, change)
    return read_section(Recipe, table)


def _apply(table: dict[str, Any], change: str) -> None:
    """Sets one value of a table of tables."""
    name, sign, text = change.partition("=")
    if not sign:
        raise RecipeError(f"{change!r} changes nothing; write it as section.name=value, like diffusion.batch=64.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a word without quotes
    *sections, key = name.strip().split(".")
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise RecipeError(f"{change!r} goes into {section!r}, which is a value; write section.name=value.")
    table[key] = value


def read_section(section: type[_S], table: dict[str, Any], where: str = "") -> _S:
    """A section from its TOML table; absent keys take their defaults."""
    hints = typing.get_type_hints(section)
    names = [one.name for one in dataclasses.fields(section)]  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, 1) or names
            raise RecipeError(
                f"The recipe names {where + key!r}, which nobody reads; allowed are {', '.join(names)}; "
                f"did you mean {near[0]}?"
            )
        values[key] = _value(hints[key], value, where + key)
    return section(**values)


def _value(kind: Any, value: Any, name: str) -> Any:
    """A TOML value as the type of its field."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise RecipeError(f"{name} is {value!r}; it is a section; write [{name}] and its settings below.")
        return read_section(typing.cast(type, kind), value, name + ".")
    if isinstance(kind, types.GenericAlias):
        if not isinstance(value, list):
            raise RecipeError(f"{name} is {value!r}; it must be a list; write it in brackets.")
        return tuple(_value(kind.__args__[0], one, name) for one in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise RecipeError(f"{name} is {value!r}; it must be of type {kind.__name__}; write such a value.")
    return value


def differences(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[str]:
    """Names of the settings in which two recipes (as nested dictionaries) differ."""
    found: list[str] = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{where}{key}.")
        elif (list(a) if isinstance(a, (tuple, list)) else a) != (list(b) if isinstance(b, (tuple, list)) else b):
            found.append(where + key)
    return found
