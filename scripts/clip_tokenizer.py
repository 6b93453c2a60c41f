"""Write CLIP's vocabulary and merges as transformers reads them: `python -m scripts.clip_tokenizer`, once.

OpenAI's `bpe_simple_vocab_16e6.txt.gz` (MIT; it lies in the package open-clip-torch) lists the merges alone; the
vocabulary follows from them: 256 bytes, the same at the end of a word, one token a merge, begin and end
(openai/CLIP, clip/simple_tokenizer.py). CLIP-L and OpenCLIP share both and differ in what they pad with.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "assets" / "configs" / "clip"
WORDS = 49_408


def byte_signs() -> list[str]:
    """A visible sign for each byte, in the vocabulary's order: printable ones stand for themselves and come first."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(byte) for byte in plain] + [chr(256 + number) for number in range(256 - len(plain))]


def read(packed: bytes) -> tuple[dict[str, int], list[str]]:
    """Vocabulary and merges of the packed list; its first line is a header, and it goes on beyond what CLIP uses."""
    lines = gzip.decompress(packed).decode("utf-8").split("\n")
    merges = lines[1 : 1 + WORDS - 512 - 2]
    signs = byte_signs()
    words = [*signs, *(sign + "</w>" for sign in signs), *("".join(merge.split()) for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}, merges


def main() -> None:
    """Write the files."""
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        raise SystemExit("The package open-clip-torch is not installed; install it and try again.")
    vocabulary, merges = read((Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz").read_bytes())
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (FOLDER / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
