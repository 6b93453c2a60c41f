"""An engine without a model: it keeps jobs in the workspace as a real one does and answers at once.

A training's adapter is a few bytes, a picture a PNG of one colour. It runs a job inside `submit`, so tests need no
waiting; what goes wrong is chosen by `faults`.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from lora_studio.engine.completion import completed
from lora_studio.engine.explain import explain_texts
from lora_studio.errors import AdapterRefused, BaseUnavailable, EmbeddingRefused, InvalidInput, StudioError
from lora_studio.prompt.chunks import Token
from lora_studio.prompt.infotext import CHUNK, request_chunk
from lora_studio.settings import Settings
from lora_studio.store import Workspace
from lora_studio.types import (
    AdapterEntry,
    BaseDefaults,
    BaseInfo,
    DeviceInfo,
    EmbeddingEntry,
    EngineInfo,
    Event,
    ExplainOptions,
    GenerateRequest,
    Job,
    JobSpec,
    Tag,
    TrainConfig,
    UNetBlocks,
    from_json,
)

BASE = BaseInfo(
    ref="embedded",
    title="fake",
    sha256="b" * 64,
    unet_file_sha256="c" * 64,
    family="fake",
    size_step=8,
    bucket_step=32,
    parameters=1000,
    prediction_type="epsilon",
    blocks=UNetBlocks(("IN00", "M00", "OUT00"), ("M00",)),
    defaults=BaseDefaults(
        width=128, height=96, num_inference_steps=7, guidance_scale=3.5, sampler="euler", batch_size=4
    ),
)


@dataclass
class Faults:
    """What goes wrong or otherwise.

    `interrupt`: Ctrl-C in the middle of a job of that kind. `slow_base`: the base is loaded on demand. `noise`: a
    library prints to standard output. `padding`: bytes that make an adapter larger.
    """

    interrupt: str = ""
    slow_base: bool = False
    noise: bool = False
    padding: int = 0


@dataclass
class FakeEngine:
    """See the module's docstring."""

    settings: Settings
    workspace: Workspace
    faults: Faults = field(default_factory=Faults)
    closed: bool = False
    cancelled: list[str] = field(default_factory=list)
    base: BaseInfo | None = BASE

    def __post_init__(self) -> None:
        if self.settings.base not in ("embedded", "big"):
            raise BaseUnavailable(
                f"The base {self.settings.base!r} is neither a folder nor known offline; give another.",
                code="base_unknown",
                given=self.settings.base,
            )
        if self.faults.slow_base:
            self.base = None
        if self.faults.noise:
            print("a library says hello")

    def submit(self, spec: JobSpec) -> str:
        """Run the job to its end."""
        if spec.kind == "train" and "resume" in spec.payload:
            return self._train(self.workspace.jobs.get(spec.payload["resume"]), begin=3)
        spec, warnings = completed(spec, self.workspace, words, BASE)
        requests = spec.payload.get("requests", [spec.payload.get("request")])
        if spec.kind == "generate" and requests[0]["width"] % BASE.size_step:
            raise InvalidInput(f"width was given as {requests[0]['width']}; nearest are 96 and 104.", code="size")
        job = self.workspace.jobs.create(spec)
        for warning in warnings:
            self.workspace.jobs.append(job.id, "warning", warning)
        try:
            if spec.kind == "train":
                return self._train(job, begin=1)
            if spec.kind == "load_base":
                self.base = BASE
                self._end(job, {"base": {}})
            elif spec.kind == "import_adapter":
                self._import(job)
            elif spec.kind == "import_embedding":
                self._import_embedding(job)
            else:
                self._generate(job, [from_json(GenerateRequest, request) for request in requests])
        except StudioError as problem:
            self.workspace.jobs.finish_with(job.id, "failed", "error", problem.as_json(), error=problem.as_json())
        return job.id

    def _end(self, job: Job, result: dict[str, Any]) -> None:
        self.workspace.jobs.finish_with(job.id, "done", "done", result, result=result)

    def _train(self, job: Job, begin: int) -> str:
        config = from_json(TrainConfig, job.payload["config"])
        self.workspace.jobs.set_state(job.id, "running")
        for step in range(begin, 6):
            if step == 3 and begin == 1 and self.faults.interrupt == "train":
                return job.id
            data = {"step": step, "steps": 5, "loss": 1 / step, "learning_rate": 0.1, "seconds_left": 5 - step}
            self.workspace.jobs.append(job.id, "step", data)
        data = f"adapter {config.name} {config.steps}".encode() + bytes(self.faults.padding)
        sha256 = self.workspace.files.put_bytes(data, ".safetensors")
        entry = self.workspace.adapters.add(_entry(sha256, config.name, job.owner))
        result = {
            "adapter": sha256,
            "name": entry.name,
            "steps": 5,
            "seconds": 61.5,
            "final_loss": 0.2,
            "trainable_parameters": 10,
            "base_parameters": 1000,
        }
        if config.embedding:
            word = self.workspace.files.put_bytes(f"embedding {config.embedding}".encode(), ".safetensors")
            asked = EmbeddingEntry(word, config.embedding, job.owner, 1.0, 9, config.embedding_vectors, {"clip_l": 768})
            learnt = self.workspace.embeddings.add(asked)
            result["embedding"] = {"sha256": word, "name": learnt.name, "vectors": learnt.vectors}
        self._end(job, result)
        return job.id

    def _import(self, job: Job) -> None:
        path = self.workspace.files.path(job.payload["file"])
        if not path.read_bytes().startswith(b"adapter"):
            raise AdapterRefused(
                f"{job.payload['name']!r} is damaged: no header; save it again.",
                code="damaged",
                given=job.payload["name"],
            )
        entry = self.workspace.adapters.add(_entry(job.payload["file"], job.payload["name"], job.owner))
        self._end(job, {"adapter": entry.sha256, "name": entry.name, "warnings": []})

    def _import_embedding(self, job: Job) -> None:
        path = self.workspace.files.path(job.payload["file"])
        if not path.read_bytes().startswith(b"embedding"):
            raise EmbeddingRefused(f"{job.payload['name']!r} is damaged.", code="damaged", given=job.payload["name"])
        asked = EmbeddingEntry(job.payload["file"], job.payload["name"], job.owner, 1.0, 9, 8, {"clip_l": 768})
        entry = self.workspace.embeddings.add(asked)
        warnings = (
            [{"code": "x", "message": "it is long", "values": {}}] if path.read_bytes() == b"embedding long" else []
        )
        self._end(job, {"embedding": entry.sha256, "name": entry.name, "vectors": 8, "warnings": warnings})

    def _generate(self, job: Job, requests: list[GenerateRequest]) -> None:
        if self.faults.interrupt == "generate":
            return
        images = []
        for request in requests:
            for index in range(request.num_images):
                png = _png(request, index)
                images.append(
                    {
                        "sha256": self.workspace.files.put_bytes(png, ".png"),
                        "seed": request.seed + index,
                        "width": request.width,
                        "height": request.height,
                    }
                )
        self._end(job, {"images": images, "seconds": 0.1})

    def events(self, job_id: str, since: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """What was stored; Ctrl-C at the end of a job that was told to hang."""
        del timeout
        yield from self.workspace.jobs.events(job_id, since)
        if self.workspace.jobs.get(job_id).state not in ("done", "failed", "cancelled"):
            raise KeyboardInterrupt

    def glimpse(self, job_id: str) -> Event | None:
        """None: nothing is drawn."""
        del job_id

    def job(self, job_id: str) -> Job:
        """The stored job."""
        return self.workspace.jobs.get(job_id)

    def cancel(self, job_id: str) -> None:
        """Remember that it was asked."""
        self.cancelled.append(job_id)
        self.workspace.jobs.finish_with(job_id, "cancelled", "cancelled", {})

    def finish(self, job_id: str) -> None:
        """Nothing runs on."""
        raise AssertionError(f"nobody ends {job_id} early on the command line")

    def info(self) -> EngineInfo:
        """The fake base."""
        return EngineInfo(base=self.base, device=DeviceInfo("cpu", "fake", "float32"))

    def vocabulary(self) -> tuple[Tag, ...]:
        """No words."""
        return ()

    def explain(self, prompt: str, negative: str, options: ExplainOptions) -> dict[str, Any]:
        """Every word is a token."""
        return explain_texts((prompt, negative), options, self.workspace, words, BASE)

    def close(self) -> None:
        """Leave running trainings interrupted, as the protocol says."""
        self.closed = True
        for job in self.workspace.jobs.list(kinds=["train"], states=["running"]):
            self.workspace.jobs.finish_with(job.id, "interrupted", "interrupted", {})


def words(text: str) -> list[Token]:
    """A tokenizer: each word or sign is a token, numbered by its letters."""
    found = re.finditer(r"\w+|[^\w\s]", text)
    return [Token(int.from_bytes(m.group().lower().encode()[-6:], "big"), *m.span()) for m in found]


def _entry(sha256: str, name: str, owner: str) -> AdapterEntry:
    return AdapterEntry(sha256=sha256, name=name, owner=owner, created=time.time(), size=10)


def _png(request: GenerateRequest, index: int) -> bytes:
    """A picture of one colour that carries its request, as the real ones do."""
    seed = request.seed + index
    info = PngImagePlugin.PngInfo()
    info.add_text(CHUNK, request_chunk(request, index))
    out = io.BytesIO()
    colour = (seed % 256, len(request.prompt) % 256, 9)
    Image.new("RGB", (request.width, request.height), colour).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def write_pictures(folder: Path, count: int, *, captions: bool = True) -> Path:
    """A folder of small pictures that differ, with captions beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture = Image.new("RGB", (64, 64))
        picture.putdata([((x * (number + 2)) % 256, (y * 3) % 256, number * 20) for y in range(64) for x in range(64)])
        picture.save(folder / f"{number:02d}.png")
        if captions:
            (folder / f"{number:02d}.txt").write_text(f"a thing, number {number}", encoding="utf-8")
    return folder
