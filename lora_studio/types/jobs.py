"""What crosses the engine's boundary: specs, events, states, and what the engine says of itself. Plain JSON only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

JobKind = Literal["generate", "train", "load_base", "import_adapter", "import_embedding", "download_adapter"]
"""generate: payload is a `GenerateRequest` (+ optional "notebook", "cell").
train: payload is {"config": TrainConfig} or {"resume": run's job id}.
load_base: payload is {"base": embedded | folder | hub id}.
import_adapter: payload is {"file": sha256 in the store, "name": what to call it}; it may be an embedding too.
import_embedding: payload is the same.
download_adapter: payload is {"source": what to fetch (`lora_studio.engine.sources`)}; it ends as import_adapter."""

JobState = Literal["queued", "running", "stopping", "done", "failed", "cancelled", "interrupted"]
"""queued: waits for its first turn. running: has had one. stopping: cancelled, its present turn runs out.
done: has its result. failed: has an error. cancelled: somebody stopped it. interrupted: a training that a
crash, a kill or a close ended, and that can go on from its last checkpoint."""

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
progress {"phase": encode|sample|decode|export|load|download, "step", "steps", "seconds_left", "picture", "pictures"};
glimpse {"image": data URI of a small picture, "step"}: never stored, only the newest matters;
preview {"step", "prompt", "seed", "sha256"} a stored picture of a training, `picture` {"index", "seed", "sha256"} of a
generation; checkpoint {"step", "sha256"}; resumed {"step"}; warning {"code", "message", "values"};
done {...result}; error {"type", "code", "message", "values"}.
Result of generate: {"images": [{"sha256", "seed", "width", "height"}], "seconds"};
of train: {"adapter": sha256, "name", "steps", "seconds", "final_loss", "trainable_parameters", "base_parameters"};
of load_base: {"base": BaseInfo}; of import_adapter: {"adapter": sha256, "name", "warnings": [...]};
of import_embedding: {"embedding": sha256, "name", "vectors", "warnings": [...]}."""


@dataclass(frozen=True)
class JobSpec:
    """A request for work. The id is chosen by whoever asks (uuid4 hex), so that asking twice does it once."""

    id: str
    kind: JobKind
    owner: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """Something that happened to a job; `seq` counts from 0 within the job, `time` is in seconds since 1970."""

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
    text_widths: dict[str, int] = field(default_factory=dict)
    """Width of the vectors of each text encoder, {"clip_l": 768}: what an embedding must have to act here."""
    small: bool = False
    """True for the embedded base: the app then says what it can learn from and what to use for real work."""


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
