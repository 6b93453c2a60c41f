"""Fetching a LoRA from a server of the test's own: redirects, limits, lies about length, stopping, SSRF."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lora_studio.engine.adapter_cache import AdapterCache
from lora_studio.engine.download import Downloading, open_download_adapter
from lora_studio.engine.embedding_cache import EmbeddingCache
from lora_studio.engine.folder_cache import FolderCache
from lora_studio.engine.https import Web, is_public
from lora_studio.engine.jobs import Tools
from lora_studio.engine.sources import Policy, Wanted
from lora_studio.errors import NotAllowed, NotFound, StudioError
from lora_studio.pipeline import Report, SharedBase
from lora_studio.pipeline.calls import WaitElsewhere
from lora_studio.store import Workspace
from lora_studio.types import JobSpec
from tests.support.tiny import kohya_file, load_tiny, random_adapter, write_tiny_base

PUBLIC = "93.184.215.14"
HUB = Policy(hub=True, hosts=("files.example.org",), limit=3_000_000)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


class Site:
    """A server on this machine; `pages` is what stands at each path: (status, headers, body)."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.hold = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((str(self.headers["host"]), self.path))
                status, headers, body = site.pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in {"content-length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    if self.path.endswith("?held"):
                        site.hold.wait(20)
                    self.wfile.write(body[len(body) // 2 :])

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def connect(self, host: str, address: str) -> http.client.HTTPConnection:
        """Whatever the host is called, this server answers; the address was checked before."""
        assert address == PUBLIC
        made = http.client.HTTPConnection("127.0.0.1", self.server.server_address[1], timeout=20)
        made.putrequest = _named(made.putrequest, host)  # type: ignore[method-assign]
        return made

    def web(self, policy: Policy = HUB, resolve: Callable[[str], list[str]] = lambda _: [PUBLIC]) -> Web:
        return Web(policy.allows, resolve, self.connect)


def _named(put: Callable[..., None], host: str) -> Callable[..., None]:
    def request(method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:
        put(method, url, skip_host=True, skip_accept_encoding=skip_accept_encoding)
        put.__self__.putheader("host", host)  # type: ignore[attr-defined]

    return request


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.hold.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def lora(base: SharedBase, tmp_path: Path) -> bytes:
    return kohya_file(random_adapter(base, 1), tmp_path / "made.safetensors").read_bytes()


def tools_of(base: SharedBase, workspace: Workspace, policy: Policy = HUB) -> Tools:
    latents = FolderCache(workspace.files.latents)
    return Tools(workspace, base, AdapterCache(workspace, base), EmbeddingCache(workspace, base), latents, policy)


def run(job: Generator[Any, Any, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """A job to its end: its result, and its progress."""
    told = []
    while True:
        try:
            want = next(job)
        except StopIteration as end:
            return end.value, told
        if isinstance(want, Report):
            told.append(want.data)


def job(base: SharedBase, workspace: Workspace, source: str, web: Web, policy: Policy = HUB) -> Any:
    spec = JobSpec("1" * 32, "download_adapter", "ann", {"source": source})
    return open_download_adapter(spec, tools_of(base, workspace, policy), web)


def leftovers(workspace: Workspace) -> list[Path]:
    return [path for path in (workspace.root / "uploads").rglob("*") if path.is_file()]


def stored(workspace: Workspace) -> list[Path]:
    return [path for path in (workspace.root / "files").rglob("*") if path.is_file()]


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def test_a_repository_is_asked_for_its_file_and_a_redirect_followed(
    site: Site, base: SharedBase, workspace: Workspace, lora: bytes
) -> None:
    listed = json.dumps({"siblings": [{"rfilename": "sub/cat ears.safetensors"}]}).encode()
    site.pages["/api/models/o/r"] = (200, {}, listed)
    there = {"location": "https://cas-bridge.xethub.hf.co/blob?sign=1"}
    site.pages["/o/r/resolve/main/sub/cat%20ears.safetensors"] = (302, there, b"")
    site.pages["/blob?sign=1"] = (200, {"content-disposition": 'inline; filename="cat ears.safetensors"'}, lora)
    result, told = run(job(base, workspace, "o/r", site.web()))
    assert result["name"] == "cat ears"
    entry = workspace.adapters.get(result["adapter"], "ann")
    assert workspace.files.read(entry.sha256) == lora
    assert entry.report["layers_matched"] == len(random_adapter(base, 1).layers)
    assert [host for host, _ in site.asked] == ["huggingface.co", "huggingface.co", "cas-bridge.xethub.hf.co"]
    assert told[-1]["phase"] == "load", "the door read it in the end"
    assert leftovers(workspace) == []


def test_an_address(site: Site, base: SharedBase, workspace: Workspace, lora: bytes) -> None:
    site.pages["/x/my.safetensors"] = (200, {}, lora)
    result, _ = run(job(base, workspace, "https://files.example.org/x/my.safetensors", site.web()))
    assert result["name"] == "my"


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.com/x.safetensors",
        "http://files.example.org/x.safetensors",
        "https://files.example.org:8080/x.safetensors",
        "https://127.0.0.1/x.safetensors",
        "file:///etc/passwd",
        "//evil.com/x",
    ],
)
def test_redirects_to_elsewhere_are_not_followed(
    site: Site, base: SharedBase, workspace: Workspace, location: str
) -> None:
    site.pages["/a.safetensors"] = (302, {"location": location}, b"")
    with pytest.raises(NotAllowed) as caught:
        run(job(base, workspace, "https://files.example.org/a.safetensors", site.web()))
    assert caught.value.code == "download_redirect"
    assert len(site.asked) == 1


def test_a_loop_of_redirects_ends(site: Site, base: SharedBase, workspace: Workspace) -> None:
    site.pages["/a.safetensors"] = (302, {"location": "/a.safetensors"}, b"")
    with pytest.raises(NotFound, match="one redirect after the other"):
        run(job(base, workspace, "https://files.example.org/a.safetensors", site.web()))
    assert len(site.asked) == 6


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["10.0.0.1"], [PUBLIC, "192.168.0.1"], ["::1"], []])
def test_hosts_of_the_inner_network_are_not_asked(
    site: Site, base: SharedBase, workspace: Workspace, addresses: list[str]
) -> None:
    """One public address among private ones is refused too: which one is used is the system's choice."""
    with pytest.raises(NotAllowed) as caught:
        run(job(base, workspace, "https://files.example.org/a.safetensors", site.web(resolve=lambda _: addresses)))
    assert caught.value.code == "download_private"
    assert site.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("not an address", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_without_a_network_there_is_one_sentence(base: SharedBase, workspace: Workspace) -> None:
    def nowhere(_: str) -> list[str]:
        raise OSError("Temporary failure in name resolution")

    with pytest.raises(NotFound, match=r"could not be reached .*name resolution") as caught:
        run(job(base, workspace, "o/r", Web(HUB.allows, nowhere)))
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("status", "word"), [(401, "401"), (404, "404"), (500, "500")])
def test_what_the_host_refuses(site: Site, base: SharedBase, workspace: Workspace, status: int, word: str) -> None:
    site.pages["/a.safetensors"] = (status, {}, b"no")
    with pytest.raises(NotFound, match=word):
        run(job(base, workspace, "https://files.example.org/a.safetensors", site.web()))


@pytest.mark.parametrize("headers", [{}, {"content-length": "10", "connection": "close"}])
def test_files_beyond_the_limit(site: Site, base: SharedBase, workspace: Workspace, headers: dict[str, str]) -> None:
    """By what is announced, and by what comes where less was announced (or nothing)."""
    site.pages["/a.safetensors"] = (200, headers, bytes(4_000_000))
    policy = Policy(hosts=("files.example.org",), limit=3_000_000)
    with pytest.raises(StudioError) as caught:
        run(job(base, workspace, "https://files.example.org/a.safetensors", site.web(policy), policy))
    assert caught.value.code in ("upload_too_large", "adapter_damaged")
    assert leftovers(workspace) == []


def test_half_a_file_is_none(site: Site, base: SharedBase, workspace: Workspace, lora: bytes) -> None:
    site.pages["/a.safetensors"] = (200, {"content-length": str(len(lora) + 5), "connection": "close"}, lora)
    with pytest.raises(NotFound, match="5 bytes"):
        run(job(base, workspace, "https://files.example.org/a.safetensors", site.web()))
    assert workspace.adapters.list("ann") == []


def test_a_refused_file_is_removed_again(site: Site, base: SharedBase, workspace: Workspace) -> None:
    site.pages["/a.safetensors"] = (200, {}, b"this is no LoRA at all")
    with pytest.raises(StudioError):
        run(job(base, workspace, "https://files.example.org/a.safetensors", site.web()))
    assert [path for path in (workspace.root / "files").rglob("*") if path.is_file()] == []


def test_other_kinds_of_files_are_not_taken(site: Site, base: SharedBase, workspace: Workspace) -> None:
    site.pages["/a"] = (200, {"content-disposition": "attachment; filename=run.sh"}, b"echo")
    with pytest.raises(StudioError, match=r"run\.sh"):
        run(job(base, workspace, "https://files.example.org/a", site.web()))


def test_stopping_throws_away_what_came(site: Site, base: SharedBase, workspace: Workspace) -> None:
    site.pages["/a.safetensors?held"] = (200, {}, bytes(2_000_000))
    running = job(base, workspace, "https://files.example.org/a.safetensors?held", site.web())
    until = time.monotonic() + 20
    while time.monotonic() < until:
        want = next(running)
        if isinstance(want, Report) and want.data["step"] >= 1.0:
            break
    assert isinstance(want, Report)
    assert (want.data["phase"], want.data["steps"]) == ("download", 2.0)
    running.close()
    site.hold.set()
    while leftovers(workspace) and time.monotonic() < until:
        time.sleep(0.02)
    assert leftovers(workspace) == []


@pytest.mark.parametrize("late", [False, True])
def test_stopping_after_the_last_byte_keeps_no_file(
    site: Site, base: SharedBase, workspace: Workspace, lora: bytes, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """While two gigabytes were copied into the store, or just after: the file stayed there, in nobody's name."""
    site.pages["/a.safetensors"] = (200, {}, lora)
    copied, go_on = threading.Event(), threading.Event()
    put_file = workspace.files.put_file

    def held(path: Path, suffix: str | None = None) -> str:
        sha256 = put_file(path, suffix)
        copied.set()
        assert go_on.wait(20)
        return sha256

    monkeypatch.setattr(workspace.files, "put_file", held)
    running = job(base, workspace, "https://files.example.org/a.safetensors", site.web())
    next(running)
    assert copied.wait(20)
    if late:
        go_on.set()
        wait_until(lambda: not any(one.name == "lora-studio-download" for one in threading.enumerate()))
    running.close()
    go_on.set()
    wait_until(lambda: stored(workspace) == [])
    wait_until(lambda: leftovers(workspace) == [])


def test_the_job_is_refused_where_nothing_is_allowed(base: SharedBase, workspace: Workspace, site: Site) -> None:
    with pytest.raises(NotAllowed, match="switched off"):
        run(job(base, workspace, "o/r", site.web(), Policy()))
    assert site.asked == []


def test_a_download_that_breaks_gives_its_reason(workspace: Workspace, site: Site) -> None:
    running = Downloading(Wanted("https://files.example.org/none"), HUB, workspace, site.web())
    assert running.wait(20)
    with pytest.raises(NotFound, match="404"):
        running.result()


def test_waiting_for_the_host_leaves_the_device_to_others(site: Site, base: SharedBase, workspace: Workspace) -> None:
    """It slept in its turns."""
    site.pages["/a.safetensors?held"] = (200, {}, bytes(2_000_000))
    running = job(base, workspace, "https://files.example.org/a.safetensors?held", site.web())
    began = time.monotonic()
    wants = [next(running) for _ in range(200)]
    assert time.monotonic() - began < 2, "200 looks took four seconds"
    assert {type(want) for want in wants} == {Report, WaitElsewhere}
    running.close()
    site.hold.set()
    while leftovers(workspace) and time.monotonic() < began + 20:
        time.sleep(0.02)
    assert leftovers(workspace) == []
