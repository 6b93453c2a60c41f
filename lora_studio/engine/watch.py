"""Looking into the folders of LoRA files again and again, and tidying up: a thread of its own, off the requests' way.

A look costs a listing of the folders; what is new is read and hashed once. The pause between two looks is twenty times
what the last one took, at least `PAUSE`, so that a slow network drive is not kept busy. Changes are found by looking
and not by the system's notices, which do not come from network drives. What was deleted is removed for good once an
hour, so that a server that runs for weeks keeps nothing longer than it says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from lora_studio.store.folders import Folders

LOG = logging.getLogger("lora_studio")
PAUSE = 5.0
"""Seconds between two looks at least."""
TIDY_EVERY = 3600.0
"""Seconds between two tidyings."""
_SHARE = 20.0


class Watcher:
    """Scans `folders` from `with` on until its end; where there are none, once, so that old ones are forgotten.

    Args:
        tidy: done every `tidy_every` seconds, where it is given.
    """

    def __init__(
        self,
        folders: Folders,
        pause: float = PAUSE,
        tidy: Callable[[], None] | None = None,
        tidy_every: float = TIDY_EVERY,
    ) -> None:
        self._folders = folders
        self._pause = pause
        self._tidy = tidy
        self._tidy_every = tidy_every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lora-studio-folders", daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; a file that is being hashed is given up."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        looked, tidied = False, time.monotonic()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                if self._folders.roots or not looked:
                    looked = True
                    for _ in self._folders.scan():
                        if self._stop.is_set():
                            return
                if self._tidy is not None and began - tidied >= self._tidy_every:
                    tidied = began
                    self._tidy()
            except Exception as error:
                # The thread outlives whatever one round meets (a full disk, most likely) and tries again.
                LOG.error("the folders of LoRAs could not be read, or what was deleted not be removed: %s", error)
                looked = False
            if not self._folders.roots and self._tidy is None:
                return
            self._stop.wait(max(self._pause, _SHARE * (time.monotonic() - began)))
