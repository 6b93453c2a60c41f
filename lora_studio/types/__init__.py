"""The words of the domain as frozen dataclasses; no torch, no files, no widgets.

`fields` holds the machinery (a field carries its own doc line and check), `generate` what a picture is asked
for, `mix` how each adapter acts in it, `train` what a training is asked for, `jobs` what the engine's boundary speaks,
`library` what is kept, `limits` what one person may take.
"""

from lora_studio.types.explain import ExplainOptions
from lora_studio.types.fields import FieldSpec, describe, from_json, to_json
from lora_studio.types.generate import EMPHASES, SAMPLERS, EmbeddingUse, GenerateRequest, parse_sampler
from lora_studio.types.jobs import (
    NO_BASE,
    BaseChoice,
    BaseDefaults,
    BaseInfo,
    DeviceInfo,
    EngineInfo,
    Event,
    EventType,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Tag,
)
from lora_studio.types.library import (
    LOCAL,
    AdapterEntry,
    Cell,
    DatasetItem,
    DatasetManifest,
    EmbeddingEntry,
    Notebook,
    RefusedPicture,
    StyleEntry,
    adapter_name,
    embedding_name,
)
from lora_studio.types.limits import Limits
from lora_studio.types.mix import AdapterWeight, UNetBlocks
from lora_studio.types.train import RECIPES, TrainConfig, recipe

__all__ = [
    "EMPHASES",
    "LOCAL",
    "NO_BASE",
    "RECIPES",
    "SAMPLERS",
    "AdapterEntry",
    "AdapterWeight",
    "BaseChoice",
    "BaseDefaults",
    "BaseInfo",
    "Cell",
    "DatasetItem",
    "DatasetManifest",
    "DeviceInfo",
    "EmbeddingEntry",
    "EmbeddingUse",
    "EngineInfo",
    "Event",
    "EventType",
    "ExplainOptions",
    "FieldSpec",
    "GenerateRequest",
    "Job",
    "JobKind",
    "JobSpec",
    "JobState",
    "Limits",
    "Notebook",
    "RefusedPicture",
    "StyleEntry",
    "Tag",
    "TrainConfig",
    "UNetBlocks",
    "adapter_name",
    "describe",
    "embedding_name",
    "from_json",
    "parse_sampler",
    "recipe",
    "to_json",
]
