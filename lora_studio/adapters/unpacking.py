"""Files that may not be opened in our own process: torch's pickles, and pictures that carry tensors.

`Unpacking` starts `unpack.py` in a process of its own, which bounds its memory, processor time and output, and waits
for a safetensors file. Whoever waits may do something else between two looks. It does not know what the tensors mean.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any

from lora_studio.adapters import unpack

DEADLINE = 600.0
"""Seconds by the clock. The bound on processor time is the one that matters; loading torch alone may take minutes of
waiting on a machine that is busy with trainings."""
_KEPT = ("PATH", "HOME", "TMPDIR", "TEMP", "SYSTEMROOT", "LD_LIBRARY_PATH", "LANG")
"""What of the environment the process is given, beside the way to the libraries that this process uses."""


PATIENCE = 0.02
"""Seconds between two looks at the other process."""
ELSEWHERE = "elsewhere"
"""What is yielded where nothing was done but to look: whoever has other work may do that meanwhile."""


class UnpackingError(Exception):
    """The file was not read.

    Attributes:
        reason: code (of what), layout, terms, large (MB), large_picture (size), plain_picture, damaged, memory, time,
            or ended (how).
        detail: what was found, "" where there is nothing to say.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} {detail}".strip())
        self.reason = reason
        self.detail = detail


class Unpacking:
    """A file that is being read; leaving the `with` block ends the process in any case."""

    def __init__(self, path: Path, deadline: float = DEADLINE, what: unpack.What = "embedding") -> None:
        self._limits = unpack.limits(what)
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment["PYTHONPATH"] = os.pathsep.join(place for place in sys.path if os.path.isabs(place))
        self._until = time.monotonic() + deadline
        self._late = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", str(Path(unpack.__file__)), str(path.absolute()), what],
            stdin=subprocess.DEVNULL,
            stdout=self._answer,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def __enter__(self) -> Unpacking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; True when the process has ended, by itself or at the deadline."""
        try:
            self._process.wait(max(0.0, min(seconds, self._until - time.monotonic())))
        except subprocess.TimeoutExpired:
            if time.monotonic() < self._until:
                return False
            self._late = True
            self._process.kill()
            self._process.wait()
        return True

    def result(self) -> bytes:
        """The safetensors file that was made; only after `wait` was True. Raises `UnpackingError`."""
        code = self._process.returncode
        self._answer.seek(0)
        data = self._answer.read(self._limits.output)
        if code == 0:
            return data
        if code == unpack.REFUSED:
            said = json.loads(data)
            raise UnpackingError(str(said["reason"]), str(said["detail"]))
        if self._late or code == -int(getattr(signal, "SIGXCPU", 0)):
            raise UnpackingError("time", str(int(DEADLINE if self._late else self._limits.seconds)))
        raise UnpackingError("ended", str(code))

    def close(self) -> None:
        """End the process and forget its answer."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._answer.close()


def unpacked(path: Path, what: unpack.What) -> Generator[Any, None, bytes]:
    """The safetensors form of a pickle or a picture; yields `ELSEWHERE` while the other process works, and ends it in
    any case. It waits by itself only where it is taken further before `PATIENCE` seconds are over.

    Raises:
        UnpackingError: it was not read.
    """
    with Unpacking(path, what=what) as reading:
        looked = time.monotonic() - PATIENCE
        while not reading.wait(max(0.0, looked + PATIENCE - time.monotonic())):
            looked = time.monotonic()
            yield ELSEWHERE
        return reading.result()
