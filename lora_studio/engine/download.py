"""Fetching a LoRA file from the network as a job: allowed by the operator, limited in size, checked by the door.

The bytes come in a thread of their own, and the job takes turns of the worker only to look how far it is; it tells that
and can be stopped. What was fetched goes the way of every file that is brought in (`imports`): nothing enters the
library unchecked, and a refused file is removed.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from lora_studio.engine.https import Web
from lora_studio.engine.imports import open_import_adapter
from lora_studio.engine.jobs import Tools
from lora_studio.engine.sources import Policy, Wanted, choose, file_name, file_url, list_url, read_source
from lora_studio.errors import InvalidInput, StorageError, StudioError
from lora_studio.pipeline import JobGenerator, Report
from lora_studio.pipeline.calls import WaitElsewhere
from lora_studio.store import Workspace
from lora_studio.store.disk import told
from lora_studio.types import JobSpec
from lora_studio.types.library import ADAPTER_SUFFIX

_LIST_LIMIT = 5_000_000
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Fetched:
    """A file that came in, by its hash in the store, and what it is called."""

    sha256: str
    name: str


def open_download_adapter(spec: JobSpec, tools: Tools, web: Web | None = None) -> JobGenerator:
    """Fetch what `source` of the payload names, then bring it in.

    Raises:
        NotAllowed: the operator does not allow it.
        InvalidInput: it is nothing that can be fetched, or larger than is allowed.
        NotFound: the host does not answer or has no such file.
    """
    policy = tools.downloads
    wanted = read_source(str(spec.payload.get("source", "")), policy)
    began = time.monotonic()
    told_last: tuple[int, int] | None = None
    with Downloading(wanted, policy, tools.workspace, web or Web(policy.allows)) as running:
        while not running.wait(0.0):
            now = running.done, running.size
            if now != told_last:
                yield Report("progress", _progress(*now, time.monotonic() - began))
            told_last = now
            yield WaitElsewhere()
        fetched = running.result()
    payload = {"file": fetched.sha256, "name": fetched.name}
    try:
        return (yield from open_import_adapter(replace(spec, payload=payload), tools))
    except StudioError:
        _forget(tools.workspace, fetched.sha256, spec.owner)
        raise


class Downloading:
    """A download in a thread of its own; leaving the `with` block stops it."""

    def __init__(self, wanted: Wanted, policy: Policy, workspace: Workspace, web: Web) -> None:
        self._wanted = wanted
        self._policy = policy
        self._workspace = workspace
        self._web = web
        self._stop = threading.Event()
        self._result: Fetched | None = None
        self._problem: BaseException | None = None
        self._taken = False
        self.done = 0
        """Bytes that came."""
        self.size = 0
        """Bytes that the host announced, 0 where it did not."""
        self._thread = threading.Thread(target=self._run, name="lora-studio-download", daemon=True)
        self._thread.start()

    def __enter__(self) -> Downloading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; what came is thrown away, by the thread itself where it still waits for its host or copies the file."""
        self._stop.set()
        self._drop_unwanted()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; True when it has ended, well or not."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> Fetched:
        """What came in; only after `wait` was True. Raises what went wrong."""
        if self._problem is not None:
            raise self._problem
        assert self._result is not None
        self._taken = True
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._fetch()
        except Exception as error:
            # Whatever went wrong is the job's, in whose turn it is raised.
            self._problem = error
        self._drop_unwanted()

    def _drop_unwanted(self) -> None:
        """Forget a file that came though nobody waits for it any more. Both threads ask after they have said their
        part, so that whichever is the later one does it."""
        if self._stop.is_set() and self._result is not None and not self._taken:
            _forget(self._workspace, self._result.sha256, "")

    def _fetch(self) -> Fetched:
        url = self._wanted.url or self._of_repository(self._wanted.repository)
        waiting = self._workspace.root / "uploads"
        with told(waiting):
            waiting.mkdir(mode=0o750, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=waiting) as folder, self._web.get(url) as answer:
            name = file_name(url, answer.headers)
            if not name.casefold().endswith(ADAPTER_SUFFIX):
                raise InvalidInput(
                    f"The file {name!r} is no LoRA that is read here; give a {ADAPTER_SUFFIX} file.",
                    code="adapter_suffix",
                    given=name,
                    allowed=ADAPTER_SUFFIX,
                )
            announced = answer.headers.get("content-length", "")
            self.size = int(announced) if announced.isascii() and announced.isdigit() else 0
            if self.size > self._policy.limit:
                raise self._too_large(name)
            path = Path(folder) / "file"
            with told(path), path.open("wb") as file:
                for chunk in answer.chunks:
                    self.done += len(chunk)
                    if self.done > self._policy.limit:
                        raise self._too_large(name)
                    if self._stop.is_set():
                        raise StudioError("The download was stopped.", code="job_stopped")
                    file.write(chunk)
            return Fetched(self._workspace.files.put_file(path, ADAPTER_SUFFIX), name[: -len(ADAPTER_SUFFIX)])

    def _of_repository(self, repository: str) -> str:
        """The address of a repository's only LoRA file."""
        listed = b""
        with self._web.get(list_url(repository)) as answer:
            for chunk in answer.chunks:
                listed += chunk
                if len(listed) > _LIST_LIMIT or self._stop.is_set():
                    break
        return file_url(repository, choose(repository, listed))

    def _too_large(self, name: str) -> InvalidInput:
        allowed = self._policy.limit // _MEGABYTE
        return InvalidInput(
            f"The file {name!r} has more than {allowed} MB, which is the most that is fetched; give a smaller one.",
            code="upload_too_large",
            given=name,
            allowed=str(allowed),
        )


def _progress(done: int, size: int, seconds: float) -> dict[str, object]:
    """How far it is, in megabytes; `steps` is None where the host did not say."""
    left = (size - done) * seconds / done if done and size > done else None
    return {
        "phase": "download",
        "step": round(done / _MEGABYTE, 1),
        "steps": round(size / _MEGABYTE, 1) if size else None,
        "seconds_left": None if left is None else round(left, 1),
    }


def _forget(workspace: Workspace, sha256: str, owner: str) -> None:
    """Remove a file that was refused, unless somebody has it already."""
    with contextlib.suppress(StorageError):
        with workspace.database.write() as connection:
            workspace.references.doom(connection, [sha256], owner)
        workspace.references.settle()
