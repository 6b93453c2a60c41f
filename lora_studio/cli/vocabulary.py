"""The tokenizer by which `prompt` counts: CLIP-L's where its vocabulary is at hand, else the embedded base's own.

CLIP's vocabulary is read from `bpe_simple_vocab_16e6.txt.gz` of the package open-clip-torch (the file of
https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py, whose rules are rebuilt here); the package itself is
not imported, since that would load torch. It does not know chunks.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from lora_studio.prompt.chunks import Token, Tokenize

FILE = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49_152 - 256 - 2
"""How many of the file's lines CLIP uses: its vocabulary is 256 bytes twice, these, and two special tokens."""
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
END = "</w>"


@dataclass(frozen=True)
class Counter:
    """A tokenizer, the name to call it by, and how its tokens are said as text."""

    name: str
    tokenize: Tokenize
    say: Callable[[Sequence[int]], str]


def counter_at_hand(assets: Path) -> Counter:
    """CLIP-L's tokenizer, or that of the base in `assets`."""
    found = importlib.util.find_spec("open_clip")
    file = Path(found.origin).parent / FILE if found and found.origin else Path(FILE)
    if file.is_file():
        return _counter("CLIP-L's", clip_tokenizer(file))
    return _counter("the embedded base's", Tokenizer.from_file(str(assets / "base" / "tokenizer" / "tokenizer.json")))


def clip_tokenizer(file: Path) -> Tokenizer:
    """CLIP's tokenizer from its list of merges, in its order of tokens."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        merges = [tuple(line.split()) for line in lines.read().split("\n")[1 : MERGES + 1]]
    alphabet = _bytes_in_order()
    words = [*alphabet, *(sign + END for sign in alphabet), *("".join(pair) for pair in merges)]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[(pair[0], pair[1]) for pair in merges],
            unk_token="<|endoftext|>",
            end_of_word_suffix=END,
            continuing_subword_prefix="",
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _bytes_in_order() -> list[str]:
    """One printable sign for each byte, in CLIP's order (GPT-2's `bytes_to_unicode`)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + number) for number in range(len(others))]


def _counter(name: str, tokenizer: Tokenizer) -> Counter:
    """What `prompt` needs of a tokenizer."""
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def tokenize(text: str) -> Sequence[Token]:
        """The tokens of `text` with their places, without begin and end."""
        found = tokenizer.encode(text, add_special_tokens=False)
        return [Token(number, *place) for number, place in zip(found.ids, found.offsets, strict=True)]

    def say(ids: Sequence[int]) -> str:
        """The words of these tokens with single blanks between them."""
        return tokenizer.decode(list(ids), skip_special_tokens=False).replace(END, " ").strip()

    return Counter(name, tokenize, say)
