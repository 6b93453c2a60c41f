"""Completing a request when it is submitted: styles, alternatives, tags and names of embeddings become what acts.

A completed request says everything itself: its texts hold their styles, `adapters` and `embeddings` are the whole truth
about which files act; the tags stay in the text and act no more. Both doors, page and command line, come through here.
The order is A1111's (`lora_studio.prompt.language`): styles, comments, tags.

- What tags come to beside the request's own adapters stands in `tagged`.
- Alternatives are drawn after the styles, so that styles may hold some, and before everything else.
- Names of embeddings are found by the base's tokens where there is a tokenizer, else as plain text; those that the
  request has already stay, so that a recipe made again uses the same files.

It does not know what adapters and embeddings hold, nor whether they fit the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from lora_studio.engine.tagged import Ground, acting
from lora_studio.errors import InvalidInput
from lora_studio.prompt.chunks import Embedding, Tokenize, cut_chunks, vocabulary
from lora_studio.prompt.dynamic import Wildcards, draw_alternatives
from lora_studio.prompt.explain import embeddings_in_text, name_warnings
from lora_studio.prompt.language import ParsedPrompt, parse
from lora_studio.prompt.names import Names
from lora_studio.prompt.notices import PromptWarning, gather
from lora_studio.prompt.schedules import Counting
from lora_studio.prompt.styles import Style, put_styles
from lora_studio.sentences import sentence
from lora_studio.store import Workspace
from lora_studio.store.naming import names_of
from lora_studio.types import (
    AdapterEntry,
    AdapterWeight,
    BaseInfo,
    EmbeddingEntry,
    EmbeddingUse,
    GenerateRequest,
    JobSpec,
    from_json,
    to_json,
)
from lora_studio.types.library import bundled_in
from lora_studio.types.mix import NO_BLOCKS, UNetBlocks


@dataclass(frozen=True)
class Shelves:
    """What an owner can name in a prompt: adapters, embeddings and styles, the preferred ones first.

    `misfits` are names of embeddings that the base cannot read and that no fitting one has.
    """

    adapters: tuple[AdapterEntry, ...] = ()
    embeddings: tuple[EmbeddingEntry, ...] = ()
    misfits: tuple[str, ...] = ()
    styles: tuple[Style, ...] = ()
    widths: dict[str, int] = field(default_factory=dict)
    """Of the base's text encoders, {} where they are not known."""
    blocks: UNetBlocks = NO_BLOCKS
    """Of the base's UNet."""

    def beside(self, adapters: Sequence[AdapterWeight]) -> Shelves:
        """With the embeddings that came within these adapters, where they act; such a name comes before others."""
        acting = {one.sha256 for one in adapters if one.weight or one.text_encoder_weight}
        bundled = [e for entry in self.adapters if entry.sha256 in acting for e in bundled_in(entry)]
        fitting = tuple(e for e in bundled if e.fits(self.widths))
        unfit = tuple(e.name for e in bundled if not e.fits(self.widths))
        return replace(self, embeddings=(*fitting, *self.embeddings), misfits=(*self.misfits, *unfit))

    @cached_property
    def named(self) -> Names:
        """The adapters by what they go by."""
        return names_of(self.adapters)

    @property
    def installed(self) -> tuple[Embedding, ...]:
        """The embeddings, each name once in any case."""
        first: dict[str, Embedding] = {}
        for entry in self.embeddings:
            first.setdefault(entry.name.casefold(), Embedding(entry.name, entry.vectors))
        return tuple(first.values())

    def embedding(self, name: str) -> EmbeddingEntry:
        """The first entry of that name, in any case."""
        return next(entry for entry in self.embeddings if entry.name.casefold() == name.casefold())


@dataclass(frozen=True)
class Found:
    """What two texts name: everything that acts, and what is to be said of it."""

    adapters: tuple[AdapterWeight, ...]
    embeddings: tuple[EmbeddingUse, ...]
    warnings: tuple[PromptWarning, ...]


def shelves_of(workspace: Workspace, owner: str, base: BaseInfo | None = None) -> Shelves:
    """What `owner` can name on a base, None where there is none yet."""
    widths = {} if base is None else base.text_widths
    styles = tuple(Style(s.name, s.prompt, s.negative_prompt) for s in workspace.styles.list(owner))
    listed = workspace.embeddings.list(owner)
    fitting = tuple(entry for entry in listed if entry.fits(widths))
    names = {entry.name.casefold() for entry in fitting}
    unfit = [entry.name for entry in listed if not entry.fits(widths)]
    misfits = tuple(name for name in unfit if name.casefold() not in names)
    blocks = NO_BLOCKS if base is None else base.blocks
    return Shelves(tuple(workspace.adapters.shelf(owner)), fitting, misfits, styles, widths, blocks)


def requests_of(payload: dict[str, Any]) -> tuple[GenerateRequest, ...]:
    """The requests of a generate payload: `request`, or `requests` for several."""
    raw = payload.get("requests", [payload["request"]] if "request" in payload else [])
    if not isinstance(raw, list) or not raw:
        raise InvalidInput(
            "The payload of generate holds no request; give 'request' or a list 'requests'.",
            code="payload",
            given="generate",
        )
    return tuple(from_json(GenerateRequest, item) for item in raw)


def completed(
    spec: JobSpec, workspace: Workspace, tokenize: Tokenize | None, base: BaseInfo | None = None
) -> tuple[JobSpec, list[dict[str, Any]]]:
    """The job with its requests complete, and the warnings of that, each once; other kinds of jobs as they are.

    Raises:
        InvalidInput: the payload holds no request, or one that is not allowed.
    """
    if spec.kind != "generate":
        return spec, []
    shelves = shelves_of(workspace, spec.owner, base)
    requests: list[Any] = []
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for request in requests_of(spec.payload):
        done, warnings = _complete(request, shelves, workspace.wildcards.lines, tokenize)
        requests.append(to_json(done))
        told |= {(warn.code, str(warn.values)): _event(warn) for warn in warnings}
    alone = "requests" not in spec.payload
    payload = spec.payload | ({"request": requests[0]} if alone else {"requests": requests})
    return replace(spec, payload=payload), list(told.values())


def _event(warn: PromptWarning) -> dict[str, Any]:
    """A warning as the data of an event."""
    return {"code": warn.code, "message": sentence(warn.code, warn.values), "values": dict(warn.values)}


def complete(
    request: GenerateRequest,
    workspace: Workspace,
    owner: str,
    tokenize: Tokenize | None = None,
    base: BaseInfo | None = None,
) -> tuple[GenerateRequest, tuple[PromptWarning, ...]]:
    """The request with nothing left to look up, and what is to be said of it.

    Raises:
        InvalidInput: with its styles a text is longer than is allowed.
    """
    return _complete(request, shelves_of(workspace, owner, base), workspace.wildcards.lines, tokenize)


def _complete(
    request: GenerateRequest, shelves: Shelves, wildcards: Wildcards, tokenize: Tokenize | None
) -> tuple[GenerateRequest, tuple[PromptWarning, ...]]:
    """See `complete`; the shelves are read once for all requests of a job."""
    texts, warnings = put_styles((request.prompt, request.negative_prompt), request.styles, shelves.styles)
    if request.dynamic:
        texts, drawn = draw_alternatives(texts, wildcards, request.seed)
        warnings = [*warnings, *drawn]
    counting = Counting(request.num_inference_steps, old=request.old_scheduling)
    parsed = (parse(texts[0], counting), parse(texts[1], counting, negative=True))
    found = look_up(parsed, shelves, tokenize, (request.adapters, request.embeddings), request.num_inference_steps)
    completed = replace(
        request,
        prompt=texts[0],
        negative_prompt=texts[1],
        styles=(),
        dynamic=False,
        adapters=found.adapters,
        embeddings=found.embeddings,
    )
    return completed, gather([*warnings, *found.warnings])


def look_up(
    parsed: tuple[ParsedPrompt, ParsedPrompt],
    shelves: Shelves,
    tokenize: Tokenize | None,
    given: tuple[Sequence[AdapterWeight], Sequence[EmbeddingUse]],
    steps: int,
) -> Found:
    """What prompt and negative prompt, styles included, name on the shelves, behind what is `given` already.

    The warnings are about names alone: what else there is to say of the texts is in `parsed`, and said by whoever
    reads them.
    """
    adapters, warnings = acting(given[0], parsed[0].loras, Ground(shelves.named, steps, shelves.blocks))
    shelves = shelves.beside(adapters)
    embeddings = _embeddings(given[1], parsed, shelves, tokenize)
    installed = [use.name for use in embeddings] + [entry.name for entry in shelves.embeddings]
    told = [warn for text in parsed for warn in name_warnings(text.words, installed, shelves.misfits)]
    return Found(adapters, embeddings, (*warnings, *told))


def _embeddings(
    given: Sequence[EmbeddingUse], parsed: Sequence[ParsedPrompt], shelves: Shelves, tokenize: Tokenize | None
) -> tuple[EmbeddingUse, ...]:
    """Those of the request, then those whose names are found in the texts."""
    have = {use.name.casefold() for use in given}
    installed = [one for one in shelves.installed if one.name.casefold() not in have]
    if not installed:
        return tuple(given)
    used: dict[str, None] = {}
    for one in parsed:
        if tokenize is None:
            used |= dict.fromkeys(e.name for e in embeddings_in_text(one, installed))
            continue
        words = vocabulary(tokenize, [*installed, *(Embedding(use.name, 1) for use in given)])
        spans = {segment.text: segment.spans for part in one.parts for segment in part.segments}
        for text in spans.values():
            used |= dict.fromkeys(e.name for chunk in cut_chunks(text, words).chunks for _, e in chunk.embeddings)
    new = [EmbeddingUse(e.name, e.sha256) for e in map(shelves.embedding, used) if e.name.casefold() not in have]
    return (*given, *new)
