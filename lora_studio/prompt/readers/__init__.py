"""Reading what other programs (and we) write into pictures: texts in, one `Reading` out. Never raises on any text.

    reading      the result, and the checks that all readers share
    a1111        A1111's text taken apart exactly; parameters turns it into settings
    comfyui, invokeai, fooocus       JSON of those programs
    samplers     their names of samplers as ours

`read_texts` takes the texts of a picture by keyword (how they get out of the file is `lora_studio.dataset.texts`),
`read_pasted` one text that somebody pasted. Our own exact request comes first wherever it is there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lora_studio.errors import InvalidInput
from lora_studio.prompt.readers.comfyui import is_graph, read_comfyui
from lora_studio.prompt.readers.fooocus import is_fooocus, read_fooocus
from lora_studio.prompt.readers.invokeai import read_invokeai, read_old_invokeai
from lora_studio.prompt.readers.parameters import read_parameters
from lora_studio.prompt.readers.reading import MAX_TEXT, REMARKS, NamedFile, Reading, Remark, parse_json
from lora_studio.prompt.request_chunk import CHUNK, PARAMETERS, read_request_chunk
from lora_studio.types import AdapterWeight, GenerateRequest, describe

__all__ = ["REMARKS", "NamedFile", "Reading", "Remark", "of_request", "read_pasted", "read_texts"]

_JSON: tuple[tuple[str, Callable[[Any], Reading]], ...] = (
    ("invokeai_metadata", read_invokeai),
    ("sd-metadata", read_old_invokeai),
    ("prompt", read_comfyui),
)
_LOOSE = ("UserComment", "Comment", "Description", "ImageDescription", "postprocessing")
"""Keywords under which texts of any kind stand."""


def read_texts(texts: Mapping[str, str]) -> Reading:
    """What a picture's texts (by keyword) ask for; an empty reading where they ask for nothing."""
    remarks: list[Remark] = []
    for text in texts.values():
        if len(text) > MAX_TEXT:
            remarks.append(Remark("too_long", {"given": len(text), "allowed": MAX_TEXT}))
    short = {keyword: text for keyword, text in texts.items() if len(text) <= MAX_TEXT}
    found = _exact(short[CHUNK], remarks) if CHUNK in short else None
    if found is not None and PARAMETERS in short:  # the exact request acts; A1111's names of it are shown all the same
        found = dataclasses.replace(found, fields=read_parameters(short[PARAMETERS]).fields)
    if found is None and PARAMETERS in short:
        found = _any(short[PARAMETERS])
    for keyword, read in _JSON:
        if found is None and keyword in short:
            found = _something(read(parse_json(short[keyword])))
            if found is None:
                remarks.append(Remark("damaged", {"what": keyword}))
    for keyword in _LOOSE:
        if found is None and keyword in short:
            found = _any(short[keyword])
    found = found or Reading()
    return dataclasses.replace(found, remarks=(*remarks, *found.remarks))


def read_pasted(text: str) -> Reading:
    """What a pasted text asks for: A1111's text, or the JSON of one of the programs; words alone have no program."""
    if len(text) > MAX_TEXT:
        return Reading(remarks=(Remark("too_long", {"given": len(text), "allowed": MAX_TEXT}),))
    return _any(text) or read_parameters(text)


def of_request(request: GenerateRequest, index: int) -> Reading:
    """Our own request as a reading: of picture `index` (0-based) alone, with that picture's seed."""
    own = dataclasses.replace(request, seed=min(request.seed + index, 2**53 - 1), num_images=1)
    settings = {
        spec.name: getattr(own, spec.name)
        for spec in describe(GenerateRequest)
        if spec.name not in ("prompt", "negative_prompt", "num_images", "strength")
    }
    return Reading(
        program="lora_studio",
        request=own,
        prompt=own.prompt,
        negative=own.negative_prompt,
        settings=settings,
        adapters=tuple(map(_named, own.adapters)),
        embeddings=tuple(NamedFile(e.name, e.sha256) for e in own.embeddings),
        model=NamedFile("", own.base) if own.base else None,
        remarks=(Remark("first_picture"),) if own.init_image else (),
    )


def _named(used: AdapterWeight) -> NamedFile:
    """An adapter of our own request."""
    plain = NamedFile(used.name, used.sha256, used.weight, used.text_encoder_weight)
    return dataclasses.replace(plain, start=used.start, stop=used.stop, blocks=used.blocks)


def _exact(text: str, remarks: list[Remark]) -> Reading | None:
    """Our own chunk; None with a remark where it cannot be read (damaged, or of a newer version)."""
    try:
        return of_request(*read_request_chunk(text))
    except InvalidInput:
        remarks.append(Remark("damaged", {"what": CHUNK}))
        return None


def _any(text: str) -> Reading | None:
    """A text of any of the programs; None where it is words alone."""
    if text.lstrip().startswith("{"):
        data = parse_json(text)
        if isinstance(data, dict):
            return _any_json(data, text)
    found = read_parameters(text)
    return found if found.program else None


def _any_json(data: dict[str, Any], text: str) -> Reading | None:
    """A JSON object of any of the programs."""
    if "request" in data:
        remarks: list[Remark] = []
        return _exact(text, remarks) or Reading(program="lora_studio", remarks=tuple(remarks))
    nested = data.get("prompt")
    if is_graph(data):
        return _something(read_comfyui(data))
    if is_graph(nested):
        return _something(read_comfyui(nested))
    if is_fooocus(data):
        return read_fooocus(data)
    if "positive_prompt" in data:
        return read_invokeai(data)
    if isinstance(data.get("image"), dict):
        return read_old_invokeai(data)
    return None


def _something(found: Reading) -> Reading | None:
    """None for a reading in which nothing was found."""
    return found if found.prompt or found.adapters or found.settings else None
