"""`generate --from-picture`: what made a picture fills the options that were not given.

It does not make pictures; it reads the file, finds the LoRAs in the library, and says on standard error what it could
not take over.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from lora_studio.cli.options import GenerateOptions
from lora_studio.dataset.texts import texts_of
from lora_studio.errors import InvalidInput, NotFound
from lora_studio.prompt.readers import NamedFile, Reading, Remark, read_texts
from lora_studio.store import Workspace
from lora_studio.store.recall import SENTENCES, recall
from lora_studio.types import AdapterWeight, BaseInfo

OPTIONS = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg",
    "guidance_rescale": "guidance_rescale",
    "seed": "seed",
    "sampler": "sampler",
    "clip_skip": "clip_skip",
    "emphasis": "emphasis",
}
"""Fields of a request by the name of their option."""


def read_picture(path: Path) -> Reading:
    """What the picture at `path` says of itself.

    Raises:
        InvalidInput: it cannot be read, is no picture, or says nothing.
    """
    try:
        texts = texts_of(path.expanduser())
    except OSError as problem:
        raise InvalidInput(
            f"--from-picture was given as {str(path)!r}, which cannot be read ({problem.strerror}); give a PNG, "
            "JPEG or WebP file.",
            code="recall_unreadable",
            given=str(path),
        ) from None
    reading = read_texts(texts.texts)
    if not reading.program:
        raise InvalidInput(
            f"{str(path)!r} does not say how it was made; give a picture as LoRA Studio, A1111, Forge, ComfyUI, "
            "InvokeAI or Fooocus saved it: passing it on often takes its texts away.",
            code="recall_nothing",
            given=str(path),
        )
    problems = tuple(Remark(code) for code in texts.problems)
    return dataclasses.replace(reading, remarks=(*problems, *reading.remarks))


def filled(options: GenerateOptions, reading: Reading) -> GenerateOptions:
    """The options with what the picture says wherever nothing was given."""
    changes: dict[str, Any] = {}
    if options.prompt is None and options.prompts_from is None:
        changes["prompt"] = reading.prompt
    if options.negative is None:
        changes["negative"] = reading.negative
    for field, name in OPTIONS.items():
        if getattr(options, name) is None:
            changes[name] = reading.settings.get(field)
    for name in ("pad_prompts", "old_scheduling"):  # switches: given is on
        changes[name] = getattr(options, name) or bool(reading.settings.get(name))
    width, height = (reading.settings.get(side) for side in ("width", "height"))
    if options.size is None and width and height:
        changes["size"] = f"{width}x{height}"
    return dataclasses.replace(options, **changes)


def adapters_of(reading: Reading, workspace: Workspace, base: BaseInfo | None) -> tuple[AdapterWeight, ...]:
    """The picture's LoRAs, found in the library by hash or name; block weights are read on `base`.

    Raises:
        NotFound: one is not there.
    """
    found = recall(reading, workspace.adapters.shelf(), workspace.files.tensors_hash, base)
    if found.missing:
        wanted = found.missing[0].wanted
        known = f" (hash {wanted.hash[:12]})" if wanted.hash else ""
        raise NotFound(
            f"The picture was made with the LoRA {wanted.name!r}{known}, which the library has not; give its file, or "
            "other LoRAs, by --lora.",
            code="picture_adapter_missing",
            given=wanted.name,
            hash=wanted.hash[:12] or "-",
        )
    return found.adapters


def tell_remarks(reading: Reading, options: GenerateOptions, workspace: Workspace, base: BaseInfo) -> None:
    """Say on standard error what was not taken over; what an option decides needs no word."""
    installed = [NamedFile(entry.name, entry.sha256) for entry in workspace.embeddings.list()]
    shelf = [] if options.lora else workspace.adapters.shelf()
    wanted = () if options.lora else reading.adapters
    found = recall(dataclasses.replace(reading, adapters=wanted), shelf, workspace.files.tensors_hash, base, installed)
    decided = {"sampler_other": options.sampler, "size_step": options.size, "schedule_other": options.sampler}
    for remark in found.remarks:
        if decided.get(remark.code) is None:
            print(remark.sentence(SENTENCES), file=sys.stderr)
