"""`python app.py` as a whole process: the page answers, the port is given back, Ctrl-C is 130."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120.0


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_the_page_answers_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--workspace", str(tmp_path / "ws")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        answer, until = None, time.monotonic() + START_SECONDS
        while answer is None and time.monotonic() < until and process.poll() is None:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True, timeout=10)
            except httpx.TransportError:
                time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert answer is not None, err
    assert answer.status_code == 200
    assert "LoRA Studio" in answer.text
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
