"""What the workbench's tools are asked for: one frozen dataclass for each tool. Files are named by sha256.

The payload of a workbench job is {"tool": name, "request": the tool's dataclass as JSON} and, where wanted, "name":
enter the result into the library under this name; "labels": sha256 to what sentences call a file; "configs": sha256
of a peft file to the text of its `adapter_config.json`. It does not know how the tools work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lora_studio.errors import InvalidInput
from lora_studio.types.fields import check, from_json, spec

LAYOUTS = ("kohya", "diffusers", "peft")
DTYPES = ("float16", "bfloat16", "float32")
METHODS = (
    "cat",
    "svd",
    "linear",
    "ties",
    "ties_svd",
    "dare_linear",
    "dare_linear_svd",
    "dare_ties",
    "dare_ties_svd",
    "magnitude_prune",
    "magnitude_prune_svd",
)
"""peft's names for ways to combine."""

ELECTIONS = ("total", "frequency")
MOST_PARTS = 32
LARGEST_RANK = 4096

LAYOUT_DOC = "Whose layout the file has; kohya's is read by A1111, Forge, ComfyUI and diffusers."
DTYPE_DOC = "Number format of the file."
RANK_DOC = "Rank to cut each layer to; beside an energy rule the most that a layer may have."
CONV_DOC = "The same for convolutions larger than 1x1; as rank if left out."
RATIO_DOC = "Keep singular values of at least the largest one divided by this."
FRO_DOC = "Keep the fewest singular values that hold this share of the norm of the change."
CUMULATIVE_DOC = "Keep the fewest singular values whose sum is this share of the sum of all."
TE_DOC = "The same for the text encoders; as the other if left out."


def layout_field() -> Any:
    """The layout of the file to be made."""
    return spec("kohya", doc=LAYOUT_DOC, choices=LAYOUTS)


def dtype_field() -> Any:
    """The number format of the file to be made."""
    return spec("float16", doc=DTYPE_DOC, choices=DTYPES)


@dataclass(frozen=True)
class InspectRequest:
    """What a file is; `other` is a second one to compare it with."""

    file: str
    other: str = ""
    details: bool = spec(False, doc="Tell singular values, ranks, blocks and metadata too.")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ConvertRequest:
    """The same adapter in another layout."""

    file: str
    to: str = layout_field()
    dtype: str = dtype_field()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CombinePart:
    """One adapter of a combination."""

    file: str
    weight: float = spec(1.0, doc="What it counts.", minimum=-10, maximum=10)
    text_encoder_weight: float | None = spec(None, doc=TE_DOC, minimum=-10, maximum=10)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CombineRequest:
    """Several adapters with weights as one."""

    parts: tuple[CombinePart, ...]
    method: str = spec("cat", doc="How to combine: cat is the exact sum.", choices=METHODS)
    rank: int | None = spec(None, doc="Rank of the result of svd and ..._svd.", minimum=1, maximum=LARGEST_RANK)
    density: float = spec(0.5, doc="Share of values that ties, dare and pruning keep.", minimum=0.01, maximum=1)
    election: str = spec("total", doc="How ties elects a sign: by the sum or by most.", choices=ELECTIONS)
    seed: int = spec(0, doc="Seed of what dare drops.", minimum=0, maximum=2**32 - 1)
    to: str = layout_field()
    dtype: str = dtype_field()

    def __post_init__(self) -> None:
        check(self)
        if not 1 <= len(self.parts) <= MOST_PARTS:
            raise InvalidInput(
                f"{len(self.parts)} adapters were given to combine; allowed are 1 to {MOST_PARTS}; change that.",
                code="workbench_parts",
                given=len(self.parts),
                allowed=MOST_PARTS,
            )
        if self.rank is not None and self.method != "svd" and not self.method.endswith("_svd"):
            raise InvalidInput(
                f"rank was given as {self.rank} for the method {self.method}, which keeps its own; leave it out, or "
                "use svd or a method that ends in _svd.",
                code="workbench_rank_unused",
                given=self.rank,
                method=self.method,
            )


@dataclass(frozen=True)
class RankRule:
    """What each layer is cut to: a rank, or what one of the energy rules asks for."""

    rank: int | None = spec(None, doc=RANK_DOC, minimum=1, maximum=LARGEST_RANK)
    conv_rank: int | None = spec(None, doc=CONV_DOC, minimum=1, maximum=LARGEST_RANK)
    sv_ratio: float | None = spec(None, doc=RATIO_DOC, minimum=1, maximum=1e9)
    sv_fro: float | None = spec(None, doc=FRO_DOC, minimum=0.01, maximum=1)
    sv_cumulative: float | None = spec(None, doc=CUMULATIVE_DOC, minimum=0.01, maximum=1)

    def __post_init__(self) -> None:
        check(self)
        rules = [name for name in ("sv_ratio", "sv_fro", "sv_cumulative") if getattr(self, name) is not None]
        if not rules and self.rank is None:
            raise InvalidInput(
                "Neither a rank nor a rule for it was given; give a rank, or one of sv_ratio, sv_fro and sv_cumulative "
                "(with a rank: at most that).",
                code="workbench_rank_missing",
            )
        if len(rules) > 1:
            given = ", ".join(rules)
            raise InvalidInput(
                f"The rank was left to {given}; give one of sv_ratio, sv_fro and sv_cumulative (with a rank: at most "
                "that), or a rank alone.",
                code="workbench_rank_rule",
                given=given,
            )

    @property
    def rule(self) -> tuple[str, float]:
        """The rule's name and value; ("rank", 0) for a fixed rank."""
        for name in ("sv_ratio", "sv_fro", "sv_cumulative"):
            value = getattr(self, name)
            if value is not None:
                return name, float(value)
        return "rank", 0.0


@dataclass(frozen=True)
class ResizeRequest:
    """An adapter of another rank."""

    file: str
    rule: RankRule
    to: str = layout_field()
    dtype: str = dtype_field()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ExtractRequest:
    """An adapter out of two models, each a folder, a `.safetensors` file or a base's name."""

    before: str
    after: str
    rule: RankRule
    text_encoders: bool = spec(True, doc="Compare the text encoders too.")
    to: str = layout_field()
    dtype: str = dtype_field()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class BakeRequest:
    """An adapter whose weight 1 is what another weight was."""

    file: str
    scale: float = spec(doc="What every change is multiplied by.", minimum=-10, maximum=10)
    text_encoder_scale: float | None = spec(None, doc=TE_DOC, minimum=-10, maximum=10)
    to: str = layout_field()
    dtype: str = dtype_field()

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class MetaRequest:
    """Other metadata; without `write` what would be written is only told."""

    file: str
    put: dict[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    strip: bool = spec(False, doc="Remove file names, folders, captions and tag frequencies.")
    hashes: bool = spec(False, doc="Add sshs_model_hash, sshs_legacy_hash and modelspec.hash_sha256.")
    thumbnail: str = ""
    """sha256 of a picture that becomes `modelspec.thumbnail`."""
    write: bool = False

    def __post_init__(self) -> None:
        check(self)
        if not all(isinstance(key, str) and isinstance(value, str) for key, value in self.put.items()):
            raise InvalidInput(
                "The metadata to set must be texts by name, like modelspec.title=My LoRA; change it.", code="meta_texts"
            )


ToolRequest = (
    InspectRequest | ConvertRequest | CombineRequest | ResizeRequest | ExtractRequest | BakeRequest | MetaRequest
)
TOOLS = ("inspect", "convert", "combine", "resize", "extract", "bake", "meta")


def tool_request(payload: dict[str, Any]) -> tuple[str, ToolRequest]:
    """Tool and request of a workbench job's payload.

    Raises:
        InvalidInput: there is no such tool, or its request is not allowed.
    """
    kinds: dict[str, type[ToolRequest]] = dict(
        zip(
            TOOLS,
            (InspectRequest, ConvertRequest, CombineRequest, ResizeRequest, ExtractRequest, BakeRequest, MetaRequest),
            strict=True,
        )
    )
    tool = str(payload.get("tool", ""))
    if tool not in kinds:
        raise InvalidInput(
            f"The workbench has no tool {tool[:80]!r}; it has {', '.join(TOOLS)}; choose one of these.",
            code="workbench_tool",
            given=tool[:80],
            allowed=", ".join(TOOLS),
        )
    return tool, from_json(kinds[tool], payload.get("request"))


def files_of(request: ToolRequest) -> tuple[str, ...]:
    """The sha256 of every file that a request names."""
    if isinstance(request, CombineRequest):
        return tuple(part.file for part in request.parts)
    if isinstance(request, ExtractRequest):
        return ()
    named = [request.file, getattr(request, "other", ""), getattr(request, "thumbnail", "")]
    return tuple(sha256 for sha256 in named if sha256)
