"""What a LoRA file is by its header alone: kind of file, family, rank, and what it says of itself.

It looks at names, shapes and metadata; whether the numbers are usable and fit a base is the door's business
(`lora_studio.adapters.door`). What is a part of a LoRA, and what names and widths tell of a family, is read by the very
functions that the door uses.

Sources: kohya-ss/sd-scripts (library/sai_model_spec.py, train_network.py: `modelspec.*`, `ss_*`); Stability AI's Model
Metadata Specification; invoke-ai/InvokeAI (model probe: families by widths); LyCORIS (names of LoHa, LoKr, OFT, IA3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lora_studio.headers.bundled import NAMES
from lora_studio.headers.embeddings import is_embedding
from lora_studio.headers.parts import changes, split_names, trained_rank
from lora_studio.headers.transformers import may_be, sides_of, transformer_of
from lora_studio.headers.unets import unet_of
from lora_studio.types.library import BUNDLED

Kind = Literal["lora", "embedding", "other"]
_Modules = Mapping[str, Mapping[str, tuple[int, ...]]]
"""The shapes of each module's parts."""

TITLES = {
    "sd1": "SD 1.5",
    "sd2": "SD 2.x",
    "sdxl": "SDXL",
    "lora-studio-base": "LoRA Studio's own base",
    "sd3": "SD 3",
    "flux": "FLUX.1",
    "flux2": "FLUX.2",
    "chroma": "Chroma",
    "cascade": "Stable Cascade",
    "wan": "Wan video",
    "hunyuan-video": "HunyuanVideo",
    "hunyuan-image": "HunyuanImage",
    "hidream": "HiDream",
    "qwen-image": "Qwen-Image",
    "z-image": "Z-Image",
    "lumina2": "Lumina 2",
    "ltx-video": "LTX-Video",
    "pixart": "PixArt",
    "sana": "Sana",
    "auraflow": "AuraFlow",
    "cogvideox": "CogVideoX",
    "cogview4": "CogView 4",
    "mochi": "Mochi",
    "kandinsky": "Kandinsky",
    "cosmos": "Cosmos",
    "anima": "Anima",
    "transformer": "DiT",
}
"""Families as people know them."""

HINTS = ("ss_output_name", "modelspec.title", "modelspec.license", "sshs_model_hash", "sshs_legacy_hash")
"""Entries of the metadata by which files are found; all others are read only where one file is looked at."""

READER = 2
"""Grows when `examine`, or what is taken out of a file beside it, comes to tell more: files of folders are then looked
at once more."""

MOST_WORDS = 40
LONGEST_WORD = 200

_FAMILIES = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"stable-diffusion-xl|sdxl", "sdxl"),
        (r"stable-diffusion-v?3|\bsd[_.]?v?3", "sd3"),
        (r"stable-diffusion-v?2|\bsd[_.]?v?2", "sd2"),
        (r"stable-diffusion-v?1|\bsd[_.]?v?1", "sd1"),
        (r"chroma", "chroma"),
        (r"flux[-_.]?2", "flux2"),
        (r"flux", "flux"),
        (r"cascade", "cascade"),
        (r"hunyuan[-_ ]?image", "hunyuan-image"),
        (r"hunyuan|framepack", "hunyuan-video"),
        (r"hidream", "hidream"),
        (r"qwen", "qwen-image"),
        (r"z[-_]?image", "z-image"),
        (r"lumina", "lumina2"),
        (r"\bwan", "wan"),
        (r"\bltx", "ltx-video"),
        (r"pixart", "pixart"),
        (r"\bsana", "sana"),
        (r"\banima\b", "anima"),
        (r"cosmos", "cosmos"),
        (r"aura[-_]?flow", "auraflow"),
        (r"cogvideo", "cogvideox"),
        (r"cogview", "cogview4"),
        (r"mochi", "mochi"),
        (r"kandinsky", "kandinsky"),
    )
)
_CUSTOM = re.compile(r"stable-diffusion-custom-(\d+)")
_OWN = re.compile(r"(lora-studio-[a-z-]+?)(?:-v\d+)?\Z")
_KINDS = (
    ("hada_", "LoHa"),
    ("lokr_", "LoKr"),
    ("oft_", "OFT"),
    ("on_input", "IA3"),
    ("ia3_l", "IA3"),
    ("a1", "GLoRA"),
    ("b1", "GLoRA"),
)
_GENERIC = re.compile(
    r"\d?(girl|boy|other)s?|solo|male focus|looking at viewer|simple background|(white|grey|black) background"
    r"|masterpiece|best quality|highres|upper body|full body|portrait|standing|smile|open mouth|closed mouth"
)


@dataclass(frozen=True)
class AdapterHeader:
    """What the header of a file says.

    Attributes:
        kind: a LoRA (of any make), an embedding, or something else (a checkpoint, an autoencoder).
        format: how it is written: kohya, diffusers, peft, LoHa, LoKr, full, ...; "" where `kind` is no LoRA.
        family: key of `TITLES`, a name of its own for others, "" where nothing says it.
        rank: the rank that all layers have, None where they differ or have none.
        ranks: smallest and largest rank, None where there is none.
        layers: modules that it changes.
        text_encoder: True where some of them are a text encoder's.
        dora: True where magnitudes are learnt too.
        metadata: its `__metadata__`.
    """

    kind: Kind
    format: str = ""
    family: str = ""
    rank: int | None = None
    ranks: tuple[int, int] | None = None
    layers: int = 0
    text_encoder: bool = False
    dora: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """Trigger words by the metadata (`words_of`)."""
        return words_of(self.metadata)

    @property
    def hints(self) -> dict[str, str]:
        """Those entries of the metadata by which files are found, cut at 200 characters."""
        return hints_of(self.metadata)

    def as_report(self) -> dict[str, Any]:
        """The facts as JSON, with the keys that the door's report has too."""
        return {
            "format": self.format + (" + DoRA" if self.dora else ""),
            "family": self.family,
            "ranks": None if self.ranks is None else list(self.ranks),
            "layers_in_file": self.layers,
            "text_encoder": self.text_encoder,
            "license": self.metadata.get("modelspec.license", "")[:200],
        }


def examine(header: Mapping[str, Any]) -> AdapterHeader:
    """Say what a file is.

    Args:
        header: as `lora_studio.headers.header.read` gives it, `__metadata__` included.
    """
    metadata = {key: text for key, text in header.get("__metadata__", {}).items() if key != BUNDLED}
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    names, _, _ = split_names(name for name in tensors if not NAMES.match(name))
    modules = {
        module: {part: tuple(tensors[name]["shape"]) for part, name in own.items()} for module, own in names.items()
    }
    changing = {module: parts for module, parts in modules.items() if changes(parts)}
    if not changing:
        return AdapterHeader("embedding" if is_embedding(tensors) else "other", metadata=metadata)
    every = {part for parts in changing.values() for part in parts}
    ranks = sorted({rank for parts in changing.values() if (rank := trained_rank(parts))})
    return AdapterHeader(
        kind="lora",
        format=_format(every, tensors),
        family=_family(metadata, modules, changing),
        rank=ranks[0] if len(ranks) == 1 else None,
        ranks=(ranks[0], ranks[-1]) if ranks else None,
        layers=len(changing),
        text_encoder=any(_is_text(module) for module in changing),
        dora=bool(every & {"dora_scale", "magnitude"}),
        metadata=metadata,
    )


def family_of(metadata: Mapping[str, str]) -> str:
    """The family that metadata name, "" where they do not."""
    for key in ("modelspec.architecture", "ss_base_model_version", "baseModel", "base_model_name"):
        named = metadata.get(key, "").casefold().partition("/lora")[0].strip()
        custom, own = _CUSTOM.search(named), _OWN.match(named)
        if custom or own:
            return f"sd-width-{custom[1]}" if custom else own[1] if own else ""
        for pattern, family in _FAMILIES:
            if pattern.search(named):
                return family
    return "sd2" if metadata.get("ss_v2", "").casefold() == "true" else ""


def family_named(text: str) -> str:
    """The family that people mean by "SD 1.5", "SDXL 1.0", "Pony", "Flux.1 D" ..., "" where that is not known.

    Pony, Illustrious and NoobAI are SDXL's children: their files fit SDXL.
    """
    plain = re.sub(r"[\s._-]+", "", text.casefold())
    for start, family in (
        ("sdxl", "sdxl"),
        ("pony", "sdxl"),
        ("illustrious", "sdxl"),
        ("noobai", "sdxl"),
        ("sd1", "sd1"),
        ("sd2", "sd2"),
        ("sd3", "sd3"),
        ("flux2", "flux2"),
        ("flux", "flux"),
    ):
        if plain.startswith(start):
            return family
    return ""


def hints_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """Those entries of the metadata that lists need: by which files are found (`HINTS`), cut at 200 characters, and the
    library's own."""
    found = {key: metadata[key][:200] for key in HINTS if metadata.get(key)}
    return found | ({BUNDLED: metadata[BUNDLED]} if metadata.get(BUNDLED) else {})


def words_of(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Trigger words: what the file says they are, else tags that (nearly) all pictures of its training had.

    Such tags are guessed from kohya's `ss_tag_frequency`: at most three that at least nine of ten pictures had, words
    that every picture of people has left out.
    """
    written = metadata.get("modelspec.trigger_phrase", "")
    return split_words([written]) if written.strip() else _frequent(metadata)


def split_words(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts cut at commas that stand in no brackets; each word once, at most 40 of at most 200 characters."""
    found: dict[str, None] = {}
    for text in texts:
        depth, start = 0, 0
        for place, sign in enumerate(text + ","):
            depth += (sign in "([{<") - (sign in ")]}>")
            if sign == "," and (depth <= 0 or place == len(text)):
                found[" ".join(text[start:place].split())] = None
                depth, start = 0, place + 1
    return tuple(word for word in found if word and len(word) <= LONGEST_WORD)[:MOST_WORDS]


def _frequent(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Tags that nearly all pictures had, the most frequent first."""
    counts: dict[str, int] = {}
    for tags in _table(metadata.get("ss_tag_frequency", "")).values():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int) and not isinstance(count, bool):
                name = " ".join(str(tag).encode("utf-8", "replace").decode("utf-8").split())  # half a character is none
                counts[name] = counts.get(name, 0) + count
    folders = _table(metadata.get("ss_dataset_dirs", "")).values()
    known = [entry.get("img_count") for entry in folders if isinstance(entry, dict)]
    pictures = sum(count for count in known if isinstance(count, int)) or max(counts.values(), default=0)
    often = [tag for tag, count in sorted(counts.items(), key=lambda item: -item[1]) if count * 10 >= pictures * 9]
    return tuple(tag for tag in often if tag and len(tag) <= LONGEST_WORD and not _GENERIC.fullmatch(tag))[:3]


def _table(text: str) -> dict[str, Any]:
    """A JSON object, {} for what is none."""
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _format(every: Collection[str], names: Iterable[str]) -> str:
    """How a file with these parts is written."""
    for beginning, kind in _KINDS:
        if any(part.startswith(beginning) for part in every):
            return kind
    names = list(names)
    if any(name.startswith("base_model.model.") for name in names):
        return "peft"
    if any(".lora_down." in name or ".lora_up." in name for name in names):
        return "kohya"
    if any(".lora_A" in name or ".lora_B" in name for name in names):
        return "diffusers"
    return "full difference" if {"diff", "diff_b", "w_norm", "b_norm"}.intersection(every) else "diffusers, old"


def _family(metadata: Mapping[str, str], modules: _Modules, changing: _Modules) -> str:
    """What the tensors say, else the metadata, which tell apart what has the same tensors."""
    sides = {module: sides_of(parts) for module, parts in modules.items()}
    found = transformer_of(sides) or unet_of({module: sides[module] for module in changing})
    said = family_of(metadata)
    own = said.startswith(("lora-studio-", "sd-width-"))
    return said if said and (own or not found or may_be(found, said)) else found


def _is_text(module: str) -> bool:
    """True for a module of a text encoder."""
    return module.startswith(("lora_te", "text_encoder", "te1_", "te2_")) or "text_model" in module
