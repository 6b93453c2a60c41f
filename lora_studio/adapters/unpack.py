"""The child's side of `unpacking`: one torch file or picture in, one safetensors file on standard output.

It is run by its path in a process of its own (`python -P -s unpack.py FILE embedding|adapter`), with bounds on memory,
processor time and output that it sets itself before it opens the file: `weights_only` stops code, not a file that
unpacks to gigabytes. It only flattens what it finds; which layouts are embeddings or LoRAs is decided where its output
is read.

Sources: AUTOMATIC1111/stable-diffusion-webui, modules/textual_inversion/textual_inversion.py
(`create_embedding_from_data`) and image_embedding.py (both ways in which a picture carries an embedding).
"""

from __future__ import annotations

import base64
import binascii
import json
import pickle
import re
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

REFUSED = 3
"""Exit code after a refusal, whose reason stands as JSON on standard output."""

MEGABYTE = 2**20
What = Literal["embedding", "adapter"]


class Limits(NamedTuple):
    """What a file may cost."""

    memory: int
    """Bytes that may be taken beyond what the libraries themselves take."""
    seconds: int
    """Seconds of processor time for the file."""
    output: int
    """Bytes of the answer; also the most that all tensors of a file may come to."""
    entries: int
    """Entries of a zip, whose bytes may come to twice the output."""
    tensors: int


def limits(what: What) -> Limits:
    """The bounds for an embedding, a few vectors, or for a LoRA."""
    if what == "embedding":
        return Limits(768 * MEGABYTE, 20, 64 * MEGABYTE, 2000, 64)
    return Limits(4096 * MEGABYTE, 60, 1024 * MEGABYTE, 40_000, 20_000)


MAX_PIXELS = 32_000_000
MAX_TEXT = 32 * MEGABYTE
"""Characters of the JSON that a picture carries."""

PNG = b"\x89PNG\r\n\x1a\n"
TEXT_CHUNK = "sd-ti-embedding"
PARAMETERS = "emb_params"
"""What A1111's only tensor is called in safetensors files."""
TOLD = ("name", "step", "sd_checkpoint", "sd_checkpoint_name")
"""What A1111 says of an embedding beside its vectors."""

Found = tuple[Mapping[str, Any], dict[str, str]]
"""Tensors or arrays by name, and texts about them."""


class RefusedError(Exception):
    """A file that is not read: `reason` is a word that `unpacking` knows, `detail` what was found."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def bound(allowed: Limits) -> None:
    """Put bounds on this process, as far as its system has them (Linux all, macOS some, Windows none)."""
    try:
        import resource
    except ImportError:
        return
    spent = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(spent.ru_utime + spent.ru_stime) + allowed.seconds
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 2))  # a signal first, then an end
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed.output, allowed.output))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = Path("/proc/self/statm")
    if used.is_file():
        pages = int(used.read_text(encoding="ascii").split()[0])
        memory = pages * resource.getpagesize() + allowed.memory
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


# ---------------------------------------------------------------- torch files
def read_torch(path: Path, what: What) -> Found:
    """The tensors of a `.pt` or `.bin` file."""
    import torch
    from torch.nn import ParameterDict

    allowed = limits(what)
    bound(allowed)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > 2 * allowed.output or len(entries) > allowed.entries:
            raise RefusedError("large", str(size // MEGABYTE))
    try:
        # A file object: by a path's ending `.safetensors` torch would choose another reader.
        with torch.serialization.safe_globals([ParameterDict]), path.open("rb") as file:
            data = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise RefusedError("code", named[1][:80]) if named else RefusedError("damaged", _first_line(error)) from error
    if not isinstance(data, dict):
        raise RefusedError("layout", type(data).__name__)
    if what == "adapter" and isinstance(data.get("state_dict"), dict):
        data = data["state_dict"]
    params = data.get("string_to_param") if what == "embedding" else None
    named_tensors = data if params is None else _only(getattr(params, "_parameters", params))
    tensors = {str(name): value for name, value in named_tensors.items() if isinstance(value, torch.Tensor)}
    _check_size([tensor.numel() * tensor.element_size() for tensor in tensors.values()], allowed)
    if what == "adapter" and not tensors:
        raise RefusedError("layout", ", ".join(sorted(str(name) for name in data))[:80])
    told = _told(data) if what == "embedding" else {}
    return {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, told


def _only(params: Any) -> dict[str, Any]:
    """A1111's table of one term, under the name of safetensors files."""
    if not isinstance(params, dict) or len(params) != 1:
        raise RefusedError("terms", str(len(params)) if isinstance(params, dict) else "?")
    return {PARAMETERS: next(iter(params.values()))}


def _check_size(sizes: list[int], allowed: Limits) -> None:
    """Refuse before copying: a tensor may claim gigabytes by repeating one number."""
    if len(sizes) > allowed.tensors:
        raise RefusedError("layout", f"{len(sizes)} tensors")
    if sum(sizes) > allowed.output - MEGABYTE:
        raise RefusedError("large", str(sum(sizes) // MEGABYTE))


def _told(data: Mapping[Any, Any]) -> dict[str, str]:
    """The texts and numbers that A1111 keeps beside the vectors."""
    return {name: str(data[name])[:200] for name in TOLD if isinstance(data.get(name), str | int)}


# ---------------------------------------------------------------- pictures
def read_picture(path: Path) -> Found:
    """The embedding that a PNG carries, in its text or in the pixels of its two side strips."""
    import numpy as np
    from PIL import Image, PngImagePlugin

    bound(limits("embedding"))
    PngImagePlugin.MAX_TEXT_CHUNK = MAX_TEXT
    PngImagePlugin.MAX_TEXT_MEMORY = 2 * MAX_TEXT
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses above twice this
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise RefusedError("large_picture", f"{image.width}x{image.height}")
            image.load()
            text = image.info.get(TEXT_CHUNK)
            raw = base64.b64decode(text) if isinstance(text, str) else from_pixels(np.asarray(image.convert("RGB")))
    except Image.DecompressionBombError:
        raise RefusedError("large_picture", "?") from None
    except binascii.Error as error:
        raise RefusedError("damaged", _first_line(error)) from error
    if raw is None:
        raise RefusedError("plain_picture")
    if len(raw) > MAX_TEXT:
        raise RefusedError("large", str(len(raw) // MEGABYTE))
    data = json.loads(raw)
    if not isinstance(data, dict) or not isinstance(data.get("string_to_param"), dict):
        raise RefusedError("layout", type(data).__name__)
    value = _only(data["string_to_param"])[PARAMETERS]
    if not isinstance(value, dict) or "TORCHTENSOR" not in value:
        raise RefusedError("layout", "string_to_param")
    return {PARAMETERS: np.array(value["TORCHTENSOR"], dtype=np.float32)}, _told(data)


def noise(count: int) -> np.ndarray[Any, Any]:
    """The first `count` numbers of A1111's generator: s = (1664525 s + 1013904223) mod 2^32 from 0, each mod 255."""
    import numpy as np

    powers = np.full(count, 1664525, dtype=np.uint32)
    powers[:1] = 1
    states = np.cumsum(np.cumprod(powers, dtype=np.uint32), dtype=np.uint32) * np.uint32(1013904223)
    found: np.ndarray[Any, Any] = (states % 255).astype(np.uint8)
    return found


def from_pixels(picture: np.ndarray[Any, Any]) -> bytes | None:
    """The JSON that lies in the low halves of a picture's bytes, None where there is none.

    Args:
        picture: (height, width, 3) uint8: black border, strip of low halves, black column, the picture itself, black
            column, strip of high halves.
    """
    import numpy as np

    mask: np.ndarray[Any, Any] = picture.min(axis=2) > 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    halves = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & 0x0F
    black = np.flatnonzero(halves.sum(axis=(0, 2), dtype=np.int64) == 0)
    if len(black) < 2:
        return None
    low, high = halves[:, : black[0]], halves[:, black[-1] + 1 :]
    if low.shape != high.shape or not low.size:
        return None
    veil = (noise(low.size) & 0x0F).reshape(low.shape)
    packed = (((high ^ veil) << 4) | (low ^ veil)).tobytes()
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, MAX_TEXT + 1)
    except zlib.error:
        return None
    return data


# ---------------------------------------------------------------- the process
def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def main(path: Path, what: What) -> int:
    """Write the answer to standard output; 0, or `REFUSED` with the reason as JSON."""
    try:
        with path.open("rb") as file:
            picture = file.read(len(PNG)) == PNG
        tensors, told = read_picture(path) if picture else read_torch(path, what)
        if picture:
            from safetensors.numpy import save as save_arrays

            data = save_arrays(dict(tensors), metadata=told or None)
        else:
            from safetensors.torch import save as save_tensors

            data = save_tensors(dict(tensors), metadata=told or None)
    except RefusedError as refusal:
        data = json.dumps({"reason": refusal.reason, "detail": refusal.detail}).encode()
        sys.stdout.buffer.write(data)
        return REFUSED
    except MemoryError:
        sys.stdout.buffer.write(b'{"reason": "memory", "detail": ""}')
        return REFUSED
    sys.stdout.buffer.write(data)
    return 0


if __name__ == "__main__":
    named: What = "adapter" if sys.argv[2:] == ["adapter"] else "embedding"
    sys.exit(main(Path(sys.argv[1]), named))
