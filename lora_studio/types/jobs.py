"""What crosses the engine's boundary: specs, events, states, and what the engine says of itself. Plain JSON only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lora_studio.errors import InvalidInput
from lora_studio.types.fields import check, spec
from lora_studio.types.mix import NO_BLOCKS, UNetBlocks

JobKind = Literal[
    "generate", "train", "load_base", "import_adapter", "import_embedding", "workbench", "download_adapter"
]
"""generate: payload is a `GenerateRequest` (+ optional "notebook", "cell").
train: payload is {"config": TrainConfig} or {"resume": run's job id}.
load_base: payload is a `BaseChoice` as JSON, {"base": embedded | folder | file | hub id} at least.
import_adapter: payload is {"file": sha256 in the store, "name": what to call it}; it may be an embedding too.
import_embedding: payload is the same.
workbench: see `lora_studio.types.workbench`; it needs no base unless its files do.
download_adapter: payload is {"source": what to fetch (`lora_studio.engine.sources`)}; it ends as import_adapter."""

JobState = Literal["queued", "running", "stopping", "done", "failed", "cancelled", "interrupted"]
"""queued: waits for its first turn. running: has had one. stopping: cancelled, its present turn runs out.
done: has its result. failed: has an error; a training that has a checkpoint can go on all the same. cancelled:
somebody stopped it. interrupted: a training that a crash, a kill or a close ended, and that can go on from its last
checkpoint."""

NO_BASE = "none"
"""The base of an engine that shall load none: enough for the workbench's tools, until a load_base job brings one."""

FINAL: tuple[JobState, ...] = ("done", "failed", "cancelled", "interrupted")

EventType = Literal[
    "queued",
    "started",
    "step",
    "progress",
    "glimpse",
    "preview",
    "picture",
    "checkpoint",
    "resumed",
    "warning",
    "done",
    "cancelled",
    "interrupted",
    "error",
]
"""What an event tells, with its data:
queued {"ahead"}; started {};
step {"step", "steps", "loss", "learning_rate", "seconds_left", "seconds"} of a training;
progress {"phase": encode|sample|decode|export|load|workbench|download, "step", "steps", "seconds_left", "picture",
"pictures"};
glimpse {"image": data URI of a small picture, "step"}: never stored, only the newest matters;
preview {"step", "prompt", "seed", "sha256"} a stored picture of a training, `picture` {"index", "seed", "sha256"} of a
generation; checkpoint {"step", "sha256"}; resumed {"step"}; warning {"code", "message", "values"};
done {...result}; error {"type", "code", "message", "values"}.
Result of generate: {"images": [{"sha256", "seed", "width", "height"}], "seconds"};
of train: {"adapter": sha256, "name", "steps", "seconds", "final_loss", "trainable_parameters", "base_parameters"};
of load_base: {"base": BaseInfo}; of import_adapter: {"adapter": sha256, "name", "warnings": [...]};
of import_embedding: {"embedding": sha256, "name", "vectors", "warnings": [...]};
of workbench: see `lora_studio.engine.workbench`."""


@dataclass(frozen=True)
class JobSpec:
    """A request for work. The id is chosen by whoever asks (uuid4 hex), so that asking twice does it once."""

    id: str
    kind: JobKind
    owner: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """Something that happened to a job; `seq` counts from 0 within the job, `time` is in seconds since 1970.

    What is not stored has the `seq` -1: a glimpse, and the error of a job whose end cannot be written (yet).
    """

    job_id: str
    seq: int
    time: float
    type: EventType
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job as it stands."""

    id: str
    kind: JobKind
    owner: str
    state: JobState
    payload: dict[str, Any]
    created: float
    finished: float | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Tag:
    """A word the base was trained on: how often, and its Chinese name."""

    tag: str
    count: int
    zh: str = ""


@dataclass(frozen=True)
class BaseDefaults:
    """What a base wants where nobody says otherwise."""

    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    sampler: str
    batch_size: int
    """Pictures made together in one batch; a part of what decides the last bit of the pixels."""
    preview_prompts: tuple[str, ...] = ()
    guidance_rescale: float = 0.0


PREDICTION_TYPES = ("auto", "epsilon", "v_prediction")
SWITCH = ("auto", "on", "off")


@dataclass(frozen=True)
class BaseChoice:
    """Which base, and how it is read where its files do not say or say it wrong."""

    base: str
    """embedded, a folder in diffusers' layout, a .safetensors file, or a Hugging Face id."""
    prediction_type: str = spec(
        "auto",
        doc="What the base was trained to predict; auto finds out where its files tell it.",
        choices=PREDICTION_TYPES,
    )
    zero_terminal_snr: str = spec(
        "auto",
        doc="Whether its noise schedule ends in pure noise (zero terminal SNR); auto goes by its files.",
        choices=SWITCH,
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.base.strip():
            raise InvalidInput(
                "The base was given as ''; give 'embedded', a folder, a .safetensors file, or a Hugging Face id.",
                code="base_empty",
                given="",
            )


@dataclass(frozen=True)
class BaseInfo:
    """The loaded base. `ref` is what it was loaded by; `sha256` is over its weights, in whatever files they lie."""

    ref: str
    title: str
    sha256: str
    unet_file_sha256: str
    family: str
    """embedded bases have an architecture name of their own, never stable-diffusion-v1."""
    size_step: int
    """Width and height of pictures are multiples of this many pixels."""
    bucket_step: int
    parameters: int
    prediction_type: str
    defaults: BaseDefaults
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Recipe name to the training settings that were measured best on this base."""
    blocks: UNetBlocks = NO_BLOCKS
    """What block weights of an adapter are of."""
    text_widths: dict[str, int] = field(default_factory=dict)
    """Width of the vectors of each text encoder, {"clip_l": 768}: what an embedding must have to act here."""
    small: bool = False
    """True for the embedded base: the app then says what it can learn from and what to use for real work."""
    zero_terminal_snr: bool = False
    """True where the noise schedule ends in pure noise."""
    remarks: tuple[dict[str, Any], ...] = ()
    """What was found out, chosen or assumed when it was loaded: {"code", "message", "values"}, as warnings are told."""


@dataclass(frozen=True)
class DeviceInfo:
    """Where the base runs; memory in bytes (0 where it is not known)."""

    device: str
    name: str
    dtype: str
    memory_total: int = 0
    memory_free: int = 0


@dataclass(frozen=True)
class EngineInfo:
    """What the engine says of itself; polled by every page, so it is small."""

    base: BaseInfo | None
    device: DeviceInfo
    running: tuple[Job, ...] = ()
    queued: tuple[Job, ...] = ()
    loading: str | None = None
    """The base that is being loaded, or waits for running jobs to end before it is."""
