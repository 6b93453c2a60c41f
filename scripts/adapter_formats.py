"""Writes `docs/adapter-formats.md`: the kinds of LoRA files that the tests hold against W + ΔW, or see refused.

    python -m scripts.adapter_formats            write the file
    python -m scripts.adapter_formats --check    exit with 1 when the file is not what would be written

It knows where the table of kinds is (`tests/adapters/corpus.py`), and nothing of what they mean.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "adapter-formats.md"

HEAD = """# LoRA files: what acts, and what is refused

Written by `python -m scripts.adapter_formats` from the tests' own table; change that, not this page.

Each kind below differs from every other in its key layout, its arithmetic or its defect, not in size. The tests make a
file of each on tiny real models. What acts is compared with copies of the models whose weights are W + ΔW, at the
weights 1, 0.6 and -0.5 in one batch, and must agree to 1e-5 of the largest output; ΔW is reckoned by plain code in the
tests, or the library that wrote the file (peft, lycoris-lora) says what the outputs become. What is refused is refused
in one sentence, and every parameter, buffer, module name and a seeded picture are bit for bit as before.

At a weight s every kind goes from W to its result in a straight line, W + s·ΔW, a DoRA too. Kept as rank factors are
LoRA, LoCon, GLoRA, and LoHa and LoKr where the factors of their products take no more numbers than the difference
(rank r² of a LoHa; p·q of a LoKr whose halves have ranks p and q). A LoKr that would be dearer is kept as its two
halves and acts by them. The difference itself is kept of full differences, of a LoHa that would be dearer or has Tucker
cores, of a Tucker LoCon whose rank is large, and of DoRA over any of these or over two LoKr halves. IA3 is kept as a
gain, OFT and BOFT as rotations, a DoRA as factors with magnitudes: what depends on the base's weight is bound to it in
float32 when it meets it.

Files of the FLUX family, SD 3, Wan, Qwen-Image, Z-Image, HiDream, HunyuanVideo, Lumina 2 and other transformers are
recognised, named and inspected, where diffusers' converters reach under diffusers' own names; no base here can draw
with them, and they are refused by the family's name. FLUX, Chroma and Wan are converted between kohya's layout and
diffusers' or peft's both ways: a matrix that is queries, keys and values at once is cut into its rows and put together
again (LoRA, LoHa, full differences, DoRA of rows). Other transformers are written in diffusers' and peft's layouts.

Files are read plainly, never mapped: one that is truncated meanwhile is refused. Weights of 8 bits are refused in LoRA
files, scaled or not; of single-file bases they are read, multiplied by ComfyUI's scales where there are any.

"""


def written() -> str:
    """The page."""
    from tests.adapters.corpus import kinds, table

    found = kinds()
    acting = sum(not kind.refused for kind in found)
    count = f"{len(found)} kinds: {acting} act, {len(found) - acting} are refused.\n\n"
    return HEAD + count + table(found).rstrip() + "\n"


def main() -> int:
    """Write or check; 1 when the page is an old one."""
    text = written()
    if "--check" in sys.argv[1:]:
        there = TARGET.read_text(encoding="utf-8") if TARGET.is_file() else ""
        if there != text:
            print("docs/adapter-formats.md is an old one; run: python -m scripts.adapter_formats", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
