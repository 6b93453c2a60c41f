"""Textual-inversion embeddings: what a file must pass before its vectors may stand among a prompt's tokens.

Order: size, header or (for pickles and pictures) a process of its own, layout, number and width of the vectors,
finiteness. Nothing of a refused file reaches a text encoder. It does not know prompts or the pipeline; it is handed the
widths that the base's text encoders take.

Layouts (AUTOMATIC1111/stable-diffusion-webui, modules/textual_inversion/textual_inversion.py,
`create_embedding_from_data`; diffusers, src/diffusers/loaders/textual_inversion.py):

    emb_params                            safetensors of one text encoder
    string_to_param: {"*": vectors}       A1111's .pt, and the JSON in its pictures
    {"<token>": vectors}                  diffusers, one vector or several; any single tensor
    clip_l, clip_g                        SDXL; diffusers' trainer says text_encoders_0, text_encoders_1

Source: Gal et al. 2022, An Image is Worth One Word, arXiv 2208.01618.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lora_studio.adapters.tensors import TensorFile, TensorIndex
from lora_studio.adapters.turns import finished
from lora_studio.adapters.unpack import PNG, TOLD
from lora_studio.adapters.unpacking import UnpackingError, unpacked
from lora_studio.errors import EmbeddingRefused
from lora_studio.headers import header
from lora_studio.headers.embeddings import ENCODERS, MAX_VECTORS, is_lora
from lora_studio.headers.embeddings import is_embedding as is_embedding
from lora_studio.headers.reasons import coded, reason, shown
from lora_studio.prompt.chunks import CHUNK

MAX_FILE = 64 * 2**20
LARGEST_VALUE = 1e4
"""A number beyond this is damage: the tokens of CLIP stay below 1, trained vectors below about 100."""

_FLOATS = ("F16", "BF16", "F32", "F64")

Kind = Literal["safetensors", "torch", "picture"]


@dataclass(frozen=True, eq=False)
class TextEmbedding:
    """One embedding as the text encoders take it.

    Attributes:
        name: what prompts call it.
        sha256: of the file that it came from.
        vectors: `clip_l` (and `clip_g` for SDXL) to float32 (n, width), the same n for all.
    """

    name: str
    sha256: str
    vectors: Mapping[str, Tensor]

    @property
    def count(self) -> int:
        """Number of vectors n: places that it takes in a prompt."""
        return int(next(iter(self.vectors.values())).shape[0])

    @property
    def widths(self) -> dict[str, int]:
        """Width of the vectors of each text encoder."""
        return {key: int(tensor.shape[1]) for key, tensor in self.vectors.items()}


@dataclass(frozen=True)
class EmbeddingReport:
    """What was found in a file that was let in.

    Attributes:
        tensors: the safetensors form of a pickle or a picture, to be kept so that it is opened only once; None where
            the file is one itself.
        metadata: what the file says of itself: name, step, sd_checkpoint_name ...
    """

    kind: Kind
    tensors: bytes | None
    metadata: Mapping[str, str]
    warnings: tuple[dict[str, Any], ...]


Admitted = tuple[TextEmbedding, EmbeddingReport]


def admit(path: Path, sha256: str, widths: Mapping[str, int], name: str = "") -> Admitted:
    """`admitting` in one go: reads the file and waits for the other process where there is one."""
    return finished(admitting(path, sha256, widths, name))


def admitting(path: Path, sha256: str, widths: Mapping[str, int], name: str = "") -> Generator[None, None, Admitted]:
    """Read the file at `path` for a base with these `widths`; yields while another process opens it.

    Args:
        path: the file; it must not change while it is read.
        sha256: of the file, the embedding's identity.
        widths: of the base's text encoders, e.g. {"clip_l": 768}.
        name: what prompts will call it and sentences call the file; its own name when empty.

    Raises:
        EmbeddingRefused: one sentence that says what is wrong with the file.
    """
    given = name or path.name
    size = path.stat().st_size
    if size > MAX_FILE:
        raise EmbeddingRefused(
            f"{given} has {size / 1e6:.0f} MB; an embedding has at most {MAX_FILE / 1e6:.0f} MB; choose another file.",
            code="embedding_large",
            given=given,
            size=f"{size / 1e6:.0f}",
            allowed=f"{MAX_FILE / 1e6:.0f}",
        )
    kind = kind_of(path)
    try:
        data = _bytes(path) if kind == "safetensors" else (yield from unpacked(path, "embedding"))
    except UnpackingError as error:
        raise _sentence(error, given) from None
    tensors, metadata = _tensors(data, given)
    vectors, ignored = _vectors(tensors, given)
    embedding = TextEmbedding(name or path.stem, sha256, vectors)
    check_widths(embedding.widths, widths, given)
    _check_values(embedding, given)
    report = EmbeddingReport(
        kind=kind,
        tensors=None if kind == "safetensors" else data,
        metadata={key: metadata[key][:200] for key in (*TOLD, "modelspec.title") if key in metadata},
        warnings=tuple(_warnings(embedding, ignored)),
    )
    return embedding, report


def kind_of(path: Path) -> Kind:
    """How a file must be opened, by its first bytes and never by its name."""
    with path.open("rb") as file:
        start = file.read(9)
    if start[:8] == PNG:
        return "picture"
    # A safetensors file begins with its header's length in eight bytes and an opening bracket: a pickle's first bytes
    # could be such a length, a zip's could not (its header would be larger than is allowed).
    pickled = start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04") and start[8:9] != b"{"
    return "torch" if pickled or start.startswith(b"PK\x03\x04") else "safetensors"


def check_widths(has: Mapping[str, int], widths: Mapping[str, int], given: str) -> None:
    """Raise `EmbeddingRefused` for vectors of another width than the base's text encoders take."""
    if dict(has) != dict(widths):
        shown, allowed = said_widths(has), said_widths(widths)
        raise EmbeddingRefused(
            f"{given} was made for another kind of base: its vectors have width {shown}, the loaded base takes "
            f"{allowed}; load its base or choose another embedding.",
            code="embedding_width",
            given=given,
            has=shown,
            allowed=allowed,
        )


def said_widths(widths: Mapping[str, int]) -> str:
    """Widths for a sentence: "768", for SDXL "768 + 1280"."""
    return " + ".join(str(widths[key]) for key in sorted(widths, reverse=True))


# ---------------------------------------------------------------- the steps
def _bytes(path: Path) -> bytes:
    """What is in the file now, should it have grown meanwhile at most what an embedding may have."""
    with path.open("rb") as file:
        return file.read(MAX_FILE)


def _sentence(error: UnpackingError, given: str) -> EmbeddingRefused:
    """What the other process found, as a refusal."""
    detail = error.detail
    if error.reason == "code":
        return EmbeddingRefused(
            f"{given} holds program code ({detail}), which is never run here; choose a .safetensors file.",
            code="embedding_code",
            given=given,
            found=detail,
        )
    if error.reason == "plain_picture":
        return EmbeddingRefused(
            f"{given} is a picture that carries no embedding; give a .safetensors, .pt or .bin file, or a picture that "
            "was saved with its embedding.",
            code="embedding_plain_picture",
            given=given,
        )
    if error.reason in ("large", "large_picture", "memory", "time"):
        return EmbeddingRefused(
            f"{given} takes more memory or time to open than an embedding may; choose another file.",
            code="embedding_bomb",
            given=given,
        )
    if error.reason == "terms":
        return _layout(given, f"{detail} terms")
    if error.reason == "layout":
        return _layout(given, detail)
    return _damaged(given, reason("file_end"))


def _tensors(data: bytes, given: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and texts of a safetensors file, its header checked first."""
    file = io.BytesIO(data)
    try:
        named = header.read(file, len(data))
    except header.HeaderDamagedError as error:
        raise _damaged(given, error.reason) from None
    metadata = named.pop("__metadata__", {})
    if not named:
        raise EmbeddingRefused(
            f"{given} holds no vectors; choose a file of a trained embedding.", code="embedding_empty", given=given
        )
    if is_lora(named):
        raise EmbeddingRefused(
            f"{given} is a LoRA, not an embedding; add it as a LoRA.", code="embedding_is_lora", given=given
        )
    if not is_embedding(named):
        raise _layout(given, min(named)[:80])
    for name, entry in named.items():
        if entry.get("dtype") not in _FLOATS:
            raise _damaged(given, reason("not_floats", name=shown(name), found=str(entry.get("dtype"))))
    opened = TensorFile(file, TensorIndex(named, metadata, file.tell(), {}))
    try:
        return {name: opened.tensor(name) for name in named}, metadata
    except header.HeaderDamagedError as error:
        raise _damaged(given, error.reason) from None


def _vectors(tensors: Mapping[str, Tensor], given: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The vectors by text encoder, each float32 (n, width), and the names of what is no part of an embedding."""
    known = {ENCODERS[name]: tensor for name, tensor in tensors.items() if name in ENCODERS}
    ignored = tuple(sorted(name for name in tensors if name not in ENCODERS)) if known else ()
    found = known or {"clip_l": next(iter(tensors.values()))}
    vectors = {}
    for key, tensor in sorted(found.items(), reverse=True):
        rows = tensor.unsqueeze(0) if tensor.dim() == 1 else tensor
        if rows.dim() != 2 or not 1 <= rows.shape[0] <= MAX_VECTORS or not rows.shape[1]:
            raise EmbeddingRefused(
                f"{given} holds {' x '.join(map(str, tensor.shape)) or 'one'} numbers where 1 to {MAX_VECTORS} vectors "
                "must stand; choose another file.",
                code="embedding_shape",
                given=given,
                shape=" x ".join(map(str, tensor.shape)) or "1",
                allowed=f"1 to {MAX_VECTORS}",
            )
        vectors[key] = rows.float().clone()
    if len({rows.shape[0] for rows in vectors.values()}) != 1:
        raise _damaged(given, reason("vectors_apart"))
    return vectors, ignored


def _check_values(embedding: TextEmbedding, given: str) -> None:
    for rows in embedding.vectors.values():
        value = float(rows.abs().max())
        if not bool(torch.isfinite(rows).all()) or value > LARGEST_VALUE:
            raise EmbeddingRefused(
                f"{given} holds values that no training gives ({value:g}); it is damaged; choose another file.",
                code="embedding_not_finite",
                given=given,
                value=f"{value:g}",
            )


def _warnings(embedding: TextEmbedding, ignored: tuple[str, ...]) -> list[dict[str, Any]]:
    """What a person should know of a file that was let in."""
    found: list[dict[str, Any]] = []
    if embedding.count > CHUNK:
        values = {"name": embedding.name, "vectors": embedding.count, "allowed": CHUNK}
        found.append(
            {
                "code": "embedding_too_long",
                "message": f"{embedding.name} has {embedding.count} vectors, more than the {CHUNK} that stand together "
                "in a prompt: its name is read as ordinary words.",
                "values": values,
            }
        )
    if ignored:
        found.append(
            {
                "code": "embedding_parts_ignored",
                "message": f"{', '.join(ignored)[:200]} in the file is no part that this base reads and does nothing.",
                "values": {"parts": ", ".join(ignored)[:200]},
            }
        )
    return found


def _layout(given: str, found: str) -> EmbeddingRefused:
    return EmbeddingRefused(
        f"{given} is not in a layout of embeddings that is read here (found: {found}; read are one table of vectors, "
        "A1111's string_to_param, and SDXL's clip_l with clip_g); choose another file.",
        code="embedding_layout",
        given=given,
        found=found,
    )


def _damaged(given: str, clause: str) -> EmbeddingRefused:
    return EmbeddingRefused(
        f"{given} is no usable embedding: {clause}; choose another file.",
        code="embedding_damaged",
        given=given,
        why=str(clause),
        **coded(clause),
    )
