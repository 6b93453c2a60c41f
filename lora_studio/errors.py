"""The tree of errors that people may see.

Every message is one sentence that says what was given, what is allowed and what to do. `code` and `values`
carry the same facts without the English words, so that a page in another language can say them again: the
texts stand in `lora_studio/ui/strings/*.json` under `error.<code>`.

    StudioError
      InvalidInput          a value in a form, on the command line or in a file of settings
        DatasetError        pictures or captions that cannot be trained on
        AdapterRefused      a LoRA file that is damaged, foreign or does not fit the base
        EmbeddingRefused    an embedding's file that is damaged, foreign or does not fit the base
      NotFound              something that is named and is not there (any more)
      BaseUnavailable       the base model cannot be loaded
      NotAllowed            a thing of somebody else's, or an address the server must not listen on
      StorageError          the disk: full, read-only, or without permission
      OutOfMemory           the device has too little memory for this job
      TrainingDiverged      a loss that is not a number
      EngineStopped         the engine was closed while a job waited
"""

from __future__ import annotations

from typing import Any


class StudioError(Exception):
    """Base of all errors with a sentence for people.

    Args:
        message: one English sentence: what was given, what is allowed, what to do.
        code: stable snake_case name of the sentence, the key of its translations.
        values: what the sentence's translations need to be filled in (JSON-able).
    """

    def __init__(self, message: str, *, code: str, **values: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.values = values

    def as_json(self) -> dict[str, Any]:
        """The error as a plain dict, as it stands in events and on `--json` output."""
        return {"type": type(self).__name__, "code": self.code, "message": self.message, "values": self.values}


class InvalidInput(StudioError):
    """A value that is not allowed."""


class DatasetError(InvalidInput):
    """Pictures or captions that cannot be trained on."""


class AdapterRefused(InvalidInput):
    """A LoRA file that is damaged, foreign or does not fit the base."""


class EmbeddingRefused(InvalidInput):
    """An embedding's file that is damaged, foreign or does not fit the base."""


class NotFound(StudioError):
    """Something that is named and is not there."""


class BaseUnavailable(StudioError):
    """The base model cannot be loaded."""


class NotAllowed(StudioError):
    """An action that is not permitted."""


class StorageError(StudioError):
    """The disk is full, read-only, or without permission."""


class OutOfMemory(StudioError):
    """The device has too little memory for this job."""


class TrainingDiverged(StudioError):
    """A loss that is not a number."""


class EngineStopped(StudioError):
    """The engine was closed while a job waited."""


def from_json(data: dict[str, Any]) -> StudioError:
    """The error that `as_json` made `data` from; an unknown type becomes a plain `StudioError`."""
    kinds = {cls.__name__: cls for cls in _all_kinds(StudioError)}
    kind = kinds.get(data.get("type", ""), StudioError)
    return kind(data.get("message", ""), code=data.get("code", "unknown"), **data.get("values", {}))


def _all_kinds(root: type[StudioError]) -> list[type[StudioError]]:
    """`root` and everything below it."""
    return [root] + [found for child in root.__subclasses__() for found in _all_kinds(child)]
