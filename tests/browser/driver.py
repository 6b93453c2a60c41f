"""Starting servers and Chromium: what the browser tests and the contact sheet stand on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 180.0


class Server:
    """The app in a process of its own on a free port, with a workspace that outlives it."""

    def __init__(self, workspace: Path, kind: str = "fake", *more: str) -> None:
        self.workspace = workspace
        self.kind = kind
        self.more = more
        """Further options of `tests.support.server`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until the page answers."""
        command = [sys.executable, "-m", "tests.support.server", "--workspace", str(self.workspace)]
        command += ["--port", str(self.port), "--kind", self.kind, *self.more]
        environment = os.environ | {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
        log = (self.workspace.parent / f"{self.workspace.name}.log").open("a", encoding="utf-8")
        with log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, stdout=log, text=True)
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                urllib.request.urlopen(self.address, timeout=5).close()
                return
            time.sleep(0.1)
        raise AssertionError(f"the server did not start: {Path(log.name).read_text(encoding='utf-8')[-2000:]}")

    def kill(self) -> None:
        """kill -9: nothing is written any more."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def control(self, **what: Any) -> None:
        """Tell the pretended engine how to go on; see `tests.support.fake_engine`."""
        self.workspace.mkdir(parents=True, exist_ok=True)
        fresh = self.workspace / "fake.json.new"
        fresh.write_text(json.dumps({"step_seconds": 0.02} | what), encoding="utf-8")
        fresh.replace(self.workspace / "fake.json")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Watch:
    """What a page complains of while it is driven."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.elsewhere.append(url)
