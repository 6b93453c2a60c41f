"""The help of `adapter ...`, and its commands as typer knows them.

A command's module, and the database behind it, is imported when the command runs: help answers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from lora_studio.cli import adapter_options as given
from lora_studio.cli.options import command

if TYPE_CHECKING:
    from lora_studio.cli.follow import EngineFactory

ADAPTER_HELP = "Look into LoRA files and make new ones of them."

INSPECT_HELP = """Say what a LoRA file is: format, family, rank, strength, what fits the base, or why it is refused.

    python -m lora_studio adapter inspect cat.safetensors --details
    python -m lora_studio adapter inspect cat.safetensors --with dog.safetensors

--details tells the singular values of each layer, the rank that 90 and 99 % of the energy need, and the blocks.
--with compares two: the cosine of their changes and the spaces they share. That predicts whether they add up or cancel
in the weights; it does not say how a picture looks.
"""

CONVERT_HELP = """Write the same LoRA in another layout.

    python -m lora_studio adapter convert cat.safetensors --to diffusers --out cat-diffusers.safetensors
    python -m lora_studio adapter convert cat.safetensors --to peft --out cat-peft

kohya's layout is what A1111, Forge, ComfyUI and diffusers read. peft's is a folder.
"""

COMBINE_HELP = """Write several LoRAs with weights as one.

    python -m lora_studio adapter combine cat.safetensors:0.8 "line art:0.5" --out both.safetensors

cat is the exact sum, of the sum of the ranks; svd cuts it to --rank. linear, ties, dare_linear, dare_ties and
magnitude_prune merge the factors as peft does and want equal ranks; their names with _svd merge the changes themselves.
"""

RESIZE_HELP = """Write a LoRA of another rank.

    python -m lora_studio adapter resize cat.safetensors --rank 8 --conv-rank 4 --out cat-8.safetensors
    python -m lora_studio adapter resize cat.safetensors --sv-fro 0.95 --rank 32 --out cat-small.safetensors

Says how much of the change's energy each layer still holds.
"""

EXTRACT_HELP = """Make a LoRA of what a model learnt beyond another.

    python -m lora_studio adapter extract base.safetensors tuned.safetensors --rank 32 --out difference.safetensors

Both must have one layout: diffusers folders, or single .safetensors files of Stable Diffusion 1, 2 or XL.
"""

BAKE_HELP = """Write a LoRA whose weight 1 does what another weight did.

    python -m lora_studio adapter bake cat.safetensors --scale 0.7 --out cat-softer.safetensors
"""

META_HELP = """Show or change what stands in a LoRA file's header; the tensors stay bit for bit.

    python -m lora_studio adapter meta cat.safetensors
    python -m lora_studio adapter meta cat.safetensors --set "modelspec.title=cat ears" --strip
    python -m lora_studio adapter meta cat.safetensors --strip --thumbnail cat.png --hashes --out cat-public.safetensors

Without --out the changes are shown and nothing is written. --strip removes file names, folders, captions and tag
frequencies. Hashes that are in the file follow the change.
"""


def adapter_commands(engine: EngineFactory, verbatim: Callable[[str], str]) -> typer.Typer:
    """`adapter` with its commands; `verbatim` keeps a help text's line breaks."""
    app = typer.Typer(help=ADAPTER_HELP, no_args_is_help=True, rich_markup_mode=None)

    def later(name: str) -> Callable[[Any], None]:
        def run(options: Any) -> None:
            from lora_studio.cli import adapter

            getattr(adapter, name)(options, engine)

        return run

    for name, options, text in (
        ("inspect", given.AdapterInspectOptions, INSPECT_HELP),
        ("convert", given.AdapterConvertOptions, CONVERT_HELP),
        ("combine", given.AdapterCombineOptions, COMBINE_HELP),
        ("resize", given.AdapterResizeOptions, RESIZE_HELP),
        ("extract", given.AdapterExtractOptions, EXTRACT_HELP),
        ("bake", given.AdapterBakeOptions, BAKE_HELP),
        ("meta", given.AdapterMetaOptions, META_HELP),
    ):
        app.command(name, help=verbatim(text))(command(options, later(name)))
    return app
