"""Byte-level BPE in CLIP's layout (Sennrich et al. 2016), learnt from the words of the captions and of English prompts.

Every byte is in the vocabulary, so any text can be written; words that no caption has cost one or two tokens too,
because the list below has them. It takes seconds and gives the same files every time.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from pretrain.recipe import Tokenizer

COUNTS = Path(__file__).with_name("tokenizer_words.json")
"""Words of the captions that the tokenizer was learnt from; they stay when pictures are added and tags counted anew."""
COMMON_WORDS = """
cat ears animal ear fluff fox ears bunny ears sketch style neon style paper cut papercut stained glass style miko tsuki
masterpiece best quality high quality detailed cute worst normal low quality blurry nsfw text watermark signature extra
digits bad hands eye anatomy girl boy cat dog fox rabbit dragon robot ghost angel witch knight ninja pirate princess
prince astronaut horns tail wings halo mask scarf tie gloves boots sword book flower rose sun moon star cloud rain fire
water ice gold silver bronze metal wood stone glass teal navy cream beige lavender mint turquoise crimson a an the of
with and in on at by from to for is portrait photo painting drawing picture image illustration style character face
person man woman child happy sad angry sleepy shy proud young old big small large tiny long short round thick thin dark
light bright soft warm cold left right up down front back side standing sitting holding wearing looking
"""
MOST, COMMON = 50, 20  # times that a word of the captions counts at most, and one of the list above
PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
BEGIN, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


def corpus(counts: dict[str, int]) -> list[str]:
    """The words to learn from, as often as they count."""
    words = [word for word, count in counts.items() for _ in range(min(count, MOST))]
    return words + COMMON_WORDS.split() * COMMON


def learn(words: list[str], recipe: Tokenizer) -> Any:
    """A CLIPTokenizer for words."""
    from tokenizers import Regex, pre_tokenizers
    from transformers import CLIPTokenizer

    cut = pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True)
    spell = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = sorted(spell.alphabet())
    tokens = [*letters, *(letter + WORD_END for letter in letters)]
    pieces: Counter[tuple[str, ...]] = Counter()
    for word, count in Counter(words).items():
        for piece, _ in cut.pre_tokenize_str(word.lower()):
            spelt = "".join(part for part, _ in spell.pre_tokenize_str(piece))
            pieces[(*spelt[:-1], spelt[-1] + WORD_END)] += count
    merges = learn_merges(pieces, recipe.vocabulary - len(tokens))
    tokens += [a + b for a, b in merges]
    vocabulary = {token: number for number, token in enumerate([*tokens, BEGIN, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=recipe.length)


def learn_merges(pieces: Counter[tuple[str, ...]], most: int) -> list[tuple[str, str]]:
    """The pairs that are merged, in order: each time the most frequent one, of equals the first in the alphabet.

    The library's trainer breaks ties by the order of a hash table, which is another one in every process.
    """
    found: list[tuple[str, str]] = []
    while len(found) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for piece, count in pieces.items():
            for pair in pairwise(piece):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        found.append(best)
        merged: Counter[tuple[str, ...]] = Counter()
        for piece, count in pieces.items():
            merged[_merge(piece, best)] += count
        pieces = merged
    return found


def _merge(piece: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """A piece with every occurrence of the pair as one."""
    parts: list[str] = []
    place = 0
    while place < len(piece):
        both = piece[place : place + 2] == pair
        parts.append(pair[0] + pair[1] if both else piece[place])
        place += 2 if both else 1
    return tuple(parts)


def make(out: Path, recipe: Tokenizer, counts: Path = COUNTS) -> int:
    """Writes the tokenizer's folder, whole or not at all; returns the size of the vocabulary."""
    words: dict[str, int] = json.loads(counts.read_text(encoding="utf-8"))["words"]
    tokenizer = learn(corpus(words), recipe)
    partial = out.parent / f"{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return len(tokenizer)
