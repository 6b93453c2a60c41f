"""An engine without a model: it draws with PIL, trains by formula, and keeps everything in the workspace as a real one.

It is driven from outside by a file, `fake.json` in the workspace, so that a test can slow it, hold it at a chosen place
or let a job fail, also across processes:

    {"step_seconds": 0.02,      how long a turn takes
     "hold": "step",            queued | step | saving: nothing goes past this place while it stands there
     "full": 70}                the step at which a training meets a full disk
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import random
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from tokenizers import Tokenizer

from lora_studio.engine.completion import completed
from lora_studio.engine.explain import explain_texts
from lora_studio.engine.sources import NOTHING, Policy, read_source
from lora_studio.errors import AdapterRefused, BaseUnavailable, InvalidInput, NotFound, StorageError, StudioError
from lora_studio.prompt.chunks import Token, Tokenize
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
    to_json,
)
from lora_studio.types.jobs import FINAL
from lora_studio.types.train import check_base
from lora_studio.types.workbench import files_of, tool_request
from tests.support.drawing import draw, encode, png, uri

Turns = Generator[str, None, dict[str, Any]]
"""A job: yields the name of the place before each turn, returns its result."""

BASES = {
    ref: BaseInfo(
        ref=ref,
        title=title,
        sha256=letter * 64,
        unet_file_sha256="c" * 64,
        family="fake",
        size_step=8,
        bucket_step=32,
        parameters=12_145_000,
        prediction_type="v_prediction",
        defaults=BaseDefaults(
            width=128,
            height=128,
            num_inference_steps=18,
            guidance_scale=4.0,
            sampler="dpmpp_2m",
            batch_size=8,
            preview_prompts=(
                "1girl, brown hair, long hair, smile, blue eyes, white background",
                "1girl, pink hair, twintails, green eyes, school uniform, sky",
            ),
        ),
        blocks=UNetBlocks(("IN00", "IN01", "IN02", "M00", "OUT00", "OUT01"), ("IN01", "M00", "OUT00")),
        text_widths={"clip_l": 768},
        small=True,
    )
    for ref, title, letter in (("embedded", "LoRA Studio's own small base", "a"), ("other", "Another base", "b"))
}
OTHERWISE = {"balanced": {"learning_rate": 1e-4, "steps": 900}}
"""Recipes of the base `other`."""


def read_as(base: BaseInfo, prediction_type: str) -> BaseInfo:
    """A base as it was asked for: `other` with its own recipes and steps, any with the chosen prediction type."""
    if base.ref == "other":
        base = dataclasses.replace(
            base, recipes=OTHERWISE, defaults=dataclasses.replace(base.defaults, num_inference_steps=30)
        )
    return base if prediction_type == "auto" else dataclasses.replace(base, prediction_type=prediction_type)


def reader_of(path: Path) -> Tokenize:
    """The tokenizer of a file as the prompt's rooms take it."""
    own = Tokenizer.from_file(str(path))

    def tokenize(text: str) -> list[Token]:
        found = own.encode(text, add_special_tokens=False)
        return [Token(number, *place) for number, place in zip(found.ids, found.offsets, strict=True)]

    return tokenize


class FakeEngine:
    """See the module's docstring and `Engine`."""

    def __init__(
        self,
        workspace: Workspace,
        assets: Path,
        base: str = "embedded",
        downloads: Policy = NOTHING,
        checkpoints: Path | None = None,
    ) -> None:
        self._downloads = downloads
        self._checkpoints = checkpoints
        self._assets = assets
        self.workspace = workspace
        self._words = assets / "base" / "words.json"
        self._tokenize = reader_of(assets / "base" / "tokenizer" / "tokenizer.json")
        self._base: BaseInfo | None = BASES[base]
        self._changed = threading.Condition()
        self._waiting: list[JobSpec] = []
        self._running: dict[str, Turns] = {}
        self._wishes: dict[str, str] = {}
        self._glimpses: dict[str, Event] = {}
        self._loading: str | None = None
        self._closing = False
        self._waiting += [JobSpec(job.id, job.kind, job.owner, job.payload) for job in workspace.jobs.recover()]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # ------------------------------------------------------------ the boundary
    def submit(self, spec: JobSpec) -> str:
        """See `Engine`."""
        spec = from_json(JobSpec, json.loads(json.dumps(to_json(spec))))
        with self._changed:
            with contextlib.suppress(NotFound):
                return self.workspace.jobs.get(spec.id).id
            if "resume" in spec.payload:
                spec = self._resumed(str(spec.payload["resume"]), spec.owner)
            else:
                spec, warnings = completed(spec, self.workspace, self._tokenize, self._base)
                self._check(spec)
                self.workspace.jobs.create(spec)
                self._tell(spec.id, "queued", {"ahead": len(self._waiting) + len(self._running)})
                for warning in warnings:
                    self._tell(spec.id, "warning", warning)
            self._waiting.append(spec)
            self._changed.notify_all()
        return spec.id

    def _resumed(self, job_id: str, owner: str) -> JobSpec:
        """A run that goes on, as the real engine lets it: on its own base alone."""
        run = self.workspace.jobs.get(job_id)
        if self._base is not None and not self._loading and run.state in ("interrupted", "failed"):
            check_base(str(run.payload.get("config", {}).get("base", "")), self._base)
        run = self.workspace.jobs.resume(job_id, owner)
        return JobSpec(run.id, run.kind, run.owner, run.payload)

    def events(self, job_id: str, since: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """See `Engine`."""
        patient = True
        while True:
            with self._changed:
                ended = self.workspace.jobs.get(job_id).state in FINAL
                found = self.workspace.jobs.events(job_id, since)
                if not found:
                    if ended or not patient:
                        return
                    patient = self._changed.wait(timeout)
                    continue
            patient = True
            yield from found
            since = found[-1].seq + 1

    def glimpse(self, job_id: str) -> Event | None:
        """See `Engine`."""
        return self._glimpses.get(job_id)

    def job(self, job_id: str) -> Job:
        """See `Engine`."""
        return self.workspace.jobs.get(job_id)

    def cancel(self, job_id: str) -> None:
        """See `Engine`."""
        state = self.workspace.jobs.get(job_id).state
        with self._changed:
            if state == "queued" and job_id not in self._running:
                self._waiting = [spec for spec in self._waiting if spec.id != job_id]
                self.workspace.jobs.finish_with(job_id, "cancelled", "cancelled", {}, result={})
            elif state == "running":
                self.workspace.jobs.set_state(job_id, "stopping")
                self._wishes[job_id] = "cancel"
            self._changed.notify_all()

    def finish(self, job_id: str) -> None:
        """See `Engine`."""
        self.workspace.jobs.get(job_id)
        self._wishes[job_id] = "finish"

    def info(self) -> EngineInfo:
        """See `Engine`."""
        jobs = self.workspace.jobs
        return EngineInfo(
            base=self._base,
            device=DeviceInfo("cpu", "a pretended processor", "float32"),
            running=tuple(jobs.list(states=("running", "stopping"))),
            queued=tuple(jobs.list(states=("queued",))),
            loading=self._loading,
        )

    def vocabulary(self) -> tuple[Tag, ...]:
        """See `Engine`."""
        listed = json.loads(self._words.read_text(encoding="utf-8")) if self._words.is_file() else []
        return tuple(Tag(entry["tag"], entry["count"], entry.get("zh", "")) for entry in listed)

    def explain(self, prompt: str, negative: str, options: ExplainOptions) -> dict[str, Any]:
        """See `Engine`; the words are counted by the embedded base's tokenizer."""
        tokenize = None if self._loading else self._tokenize
        told = explain_texts((prompt, negative), options, self.workspace, tokenize, self._base)
        return dict(json.loads(json.dumps(told)))

    def close(self) -> None:
        """See `Engine`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(5)
        for job in self.workspace.jobs.list(kinds=["train"], states=["running"]):
            self.workspace.jobs.finish_with(job.id, "interrupted", "interrupted", {})

    # ------------------------------------------------------------ turns
    def _run(self) -> None:
        while not self._closing:
            with self._changed:
                self._admit()
                if not self._running:
                    self._changed.wait(0.1)
            for job_id, turns in list(self._running.items()):
                self._turn(job_id, turns)

    def _turn(self, job_id: str, turns: Turns) -> None:
        """Take a job one turn further, where nothing holds it."""
        if self._wishes.get(job_id) == "cancel":
            self._end(job_id, "cancelled", {})
            return
        try:
            place = next(turns)
        except StopIteration as ended:
            self._end(job_id, "done", ended.value)
            return
        except StudioError as problem:
            self._end(job_id, "failed", problem.as_json())
            return
        while not self._closing:
            control = self._control()
            if control.get("hold") != place or self._wishes.get(job_id) == "cancel":
                time.sleep(float(control.get("step_seconds", 0.02)))
                return
            time.sleep(0.02)

    def _control(self) -> dict[str, Any]:
        try:
            found = json.loads((self.workspace.root / "fake.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return dict(found)

    def _admit(self) -> None:
        """Start what waits; a change of base waits until nothing runs, and everything behind it waits too."""
        while self._waiting and self._control().get("hold") != "queued":
            spec = self._waiting[0]
            if spec.kind == "load_base":
                self._loading = str(spec.payload["base"])
                if self._running:
                    return
            self._waiting.pop(0)
            self.workspace.jobs.set_state(spec.id, "running")
            self._tell(spec.id, "started", {})
            make = {
                "generate": self._generate,
                "train": self._train,
                "load_base": self._load,
                "import_adapter": self._import,
                "import_embedding": self._import_embedding,
                "download_adapter": self._download,
                "workbench": self._workbench,
            }
            self._running[spec.id] = make[spec.kind](spec)
            if spec.kind == "load_base":
                return

    def _tell(self, job_id: str, kind: Any, data: dict[str, Any]) -> None:
        self.workspace.jobs.append(job_id, kind, data)

    def _end(self, job_id: str, state: Any, data: dict[str, Any]) -> None:
        self._running.pop(job_id, None)
        self._wishes.pop(job_id, None)
        self._glimpses.pop(job_id, None)
        cell = self.workspace.jobs.get(job_id).payload.get("cell")
        if cell and state == "done":
            self.workspace.notebooks.finish(cell, data)
        event = {"done": "done", "cancelled": "cancelled", "failed": "error"}[state]
        self.workspace.jobs.finish_with(
            job_id,
            state,
            event,  # type: ignore[arg-type]
            data,
            result=data if state != "failed" else None,
            error=data if state == "failed" else None,
        )
        with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------ what jobs do
    def _check(self, spec: JobSpec) -> None:
        if spec.kind == "train" and spec.payload["config"]["embedding"]:
            self.workspace.embeddings.check_free(spec.payload["config"]["embedding"], spec.owner)
        if spec.kind == "workbench":
            for sha256 in files_of(tool_request(spec.payload)[1]):
                self.workspace.files.path(sha256)
        for raw in spec.payload.get("requests", []):
            request = from_json(GenerateRequest, raw)
            for adapter in request.adapters:
                self.workspace.files.path(adapter.sha256)
            for side, value in (("width", request.width), ("height", request.height)):
                if value % 8:
                    low = max(8, value // 8 * 8)
                    raise InvalidInput(
                        f"The {side} {value} is no multiple of 8 pixels; use {low} or {low + 8}.",
                        code="size_multiple",
                        field=side,
                        given=str(value),
                        step=8,
                        low=low,
                        high=low + 8,
                    )
        if spec.kind == "download_adapter":
            read_source(str(spec.payload["source"]), self._downloads)
        if spec.kind == "load_base" and not spec.payload["base"]:
            raise InvalidInput("The base was given as ''; give embedded.", code="base_empty", given="")

    def _generate(self, spec: JobSpec) -> Turns:
        requests = [from_json(GenerateRequest, raw) for raw in spec.payload["requests"]]
        began = time.monotonic()
        wanted = [(request, index) for request in requests for index in range(request.num_images)]
        steps = requests[0].num_inference_steps
        for step in range(1, steps + 1):
            left = (steps - step) * float(self._control().get("step_seconds", 0.02))
            data = {"phase": "sample", "step": step, "steps": steps, "seconds_left": left}
            self._tell(spec.id, "progress", data)
            look = draw(wanted[0][0], 0).resize((32, 32))
            noise = Image.effect_noise((32, 32), 90).convert("RGB")
            mixed = Image.blend(noise, look, step / steps)
            self._glimpses[spec.id] = Event(spec.id, -1, time.time(), "glimpse", {"image": uri(mixed), "step": step})
            yield "step"
        images = []
        for request, index in wanted:
            sha256 = self.workspace.files.put_bytes(png(request, index), ".png")
            seed = request.seed + index
            self._tell(spec.id, "picture", {"index": len(images), "seed": seed, "sha256": sha256})
            images.append({"sha256": sha256, "seed": seed, "width": request.width, "height": request.height})
        yield "saving"
        return {"images": images, "seconds": round(time.monotonic() - began, 3)}

    def _train(self, spec: JobSpec) -> Turns:
        config = from_json(TrainConfig, spec.payload["config"])
        base = self._base or BASES["embedded"]
        check_base(config.base, base)
        kept = self.workspace.jobs.checkpoint(spec.id)
        first = 0 if kept is None else kept[0]
        if first:
            self._tell(spec.id, "resumed", {"step": first})
        prompts = config.preview_prompts or base.defaults.preview_prompts[:1]
        began, rng, done = time.monotonic(), random.Random(config.seed), first
        loss = 0.0
        for step in range(first + 1, config.steps + 1):
            yield "step"
            if self._control().get("full") == step:
                raise StorageError("x cannot be written because the disk is full.", code="disk_full", path="x")
            if self._wishes.get(spec.id) == "finish":
                break
            done = step
            loss = 0.12 + 0.3 * math.exp(-4 * step / config.steps) + rng.gauss(0, 0.03)
            left = (config.steps - step) * float(self._control().get("step_seconds", 0.02))
            data = {"step": step, "steps": config.steps, "loss": loss, "learning_rate": config.learning_rate}
            self._tell(spec.id, "step", data | {"seconds_left": left})
            if config.preview_every and step % config.preview_every == 0:
                for prompt in prompts:
                    request = self._preview_request(prompt)
                    ears = {"ears": step / config.steps}
                    sha256 = self.workspace.files.put_bytes(encode(draw(request, 0, ears)), ".png")
                    told = {"step": step, "prompt": prompt, "seed": 7, "sha256": sha256}
                    self._tell(spec.id, "preview", told)
            if config.checkpoint_every and step % config.checkpoint_every == 0:
                sha256 = self.workspace.files.put_bytes(f"checkpoint {spec.id} {step}".encode(), ".safetensors")
                self.workspace.jobs.save_checkpoint(spec.id, step, sha256)
                self._tell(spec.id, "checkpoint", {"step": step, "sha256": sha256})
        self._tell(spec.id, "progress", {"phase": "export", "step": 1, "steps": 1})
        yield "saving"
        header = {"lora_studio_base_sha256": base.sha256, "name": config.name, "steps": str(done)}
        data_bytes = safetensors(header)
        cover = self.workspace.files.put_bytes(encode(draw(self._preview_request(prompts[0]), 0, {"ears": 1})), ".png")
        words = (config.word.strip(),) if config.word.strip() else ("cat ears",)
        entry = adapter_entry(self.workspace, data_bytes, config.name, spec.owner)
        fields = {"trigger_words": words, "cover": cover, "run": spec.id, "rank": config.rank}
        entry = self.workspace.adapters.add(
            AdapterEntry(**(vars(entry) | fields | {"base_sha256": base.sha256, "alpha": float(config.rank)}))
        )
        return self._word(config, spec.owner) | {
            "adapter": entry.sha256,
            "name": entry.name,
            "steps": done,
            "seconds": round(time.monotonic() - began, 3),
            "final_loss": loss,
            "trainable_parameters": 797_184,
            "base_parameters": base.parameters,
        }

    def _word(self, config: TrainConfig, owner: str) -> dict[str, Any]:
        if not config.embedding:
            return {}
        data, count = safetensors({"name": config.embedding}), config.embedding_vectors
        sha256 = self.workspace.files.put_bytes(data, ".safetensors")
        widths = dict((self._base or BASES["embedded"]).text_widths)
        asked = EmbeddingEntry(sha256, config.embedding, owner, time.time(), len(data), count, widths)
        return {"embedding": {"sha256": sha256, "name": self.workspace.embeddings.add(asked).name, "vectors": count}}

    def _preview_request(self, prompt: str) -> GenerateRequest:
        return GenerateRequest(prompt, 128, 128, 18, 4.0, "dpmpp_2m", 7)

    def _load(self, spec: JobSpec) -> Turns:
        ref = str(spec.payload["base"])
        for step in range(1, 4):
            yield "step"
            self._tell(spec.id, "progress", {"phase": "load", "step": step, "steps": 3})
        self._loading = None
        if ref not in BASES:
            raise BaseUnavailable(
                f"The base {ref!r} is not there: it has no model_index.json; give 'embedded', a folder in diffusers' "
                "layout, or a Hugging Face id such as stable-diffusion-v1-5/stable-diffusion-v1-5.",
                code="base_missing",
                given=ref,
            )
        self._base = read_as(BASES[ref], str(spec.payload.get("prediction_type", "auto")))
        return {"base": to_json(self._base)}

    def _import(self, spec: JobSpec) -> Turns:
        yield "step"
        name = str(spec.payload["name"])
        path = self.workspace.files.path(str(spec.payload["file"]))
        if path.suffix in (".pt", ".ckpt", ".bin"):
            return (yield from self._import_pickle(spec, path))
        data = path.read_bytes()
        try:
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])
            meta = header.get("__metadata__", {})
        except ValueError as problem:
            raise AdapterRefused(
                f"{name!r} is no usable LoRA file: its header is damaged; choose another file.",
                code="adapter_damaged",
                given=repr(name),
                why="its header is damaged",
            ) from problem
        if list(header) == ["emb_params"]:
            return (yield from self._import_embedding(spec))
        entry = adapter_entry(self.workspace, data, name, spec.owner)
        made_for = str(meta.get("lora_studio_base_sha256", ""))
        entry = self.workspace.adapters.add(AdapterEntry(**(vars(entry) | {"base_sha256": made_for})))
        return {"adapter": entry.sha256, "name": entry.name, "warnings": []}

    def _import_pickle(self, spec: JobSpec, path: Path) -> Turns:
        """By the real door, which alone opens pickles; an embedding is none of its files."""
        from lora_studio.adapters.door import FileOptions, inspect

        name = str(spec.payload["name"])
        found, report = inspect(path, options=FileOptions(name))
        if found is None and report.refused and report.refused.code in ("adapter_layout", "adapter_empty"):
            return (yield from self._import_embedding(spec))
        if report.refused:
            raise report.refused
        entry = self.workspace.adapters.add(adapter_entry(self.workspace, report.converted or b"", name, spec.owner))
        return {"adapter": entry.sha256, "name": entry.name, "warnings": []}

    def _download(self, spec: JobSpec) -> Turns:
        """As if the network had a file for every source."""
        source = str(spec.payload["source"])
        for step in range(1, 21):
            self._tell(spec.id, "progress", {"phase": "download", "step": step * 0.5, "steps": 10.0, "seconds_left": 9})
            yield "step"
        data = safetensors({"fetched": source})
        entry = self.workspace.adapters.add(adapter_entry(self.workspace, data, source.split("/")[-1], spec.owner))
        return {"adapter": entry.sha256, "name": entry.name, "warnings": []}

    def _workbench(self, spec: JobSpec) -> Turns:
        """By the real tools, which need no base."""
        from lora_studio.engine.workbench import open_workbench
        from lora_studio.pipeline import Report
        from lora_studio.pipeline.source import find_base

        def find(ref: str) -> Path:
            return find_base(ref, self._assets / "base", True, self._checkpoints).path

        job = open_workbench(spec, self.workspace, None, find)
        while True:
            try:
                want = next(job)
            except StopIteration as end:
                return dict(end.value)
            if isinstance(want, Report):
                self._tell(spec.id, want.type, want.data)
            yield "step"

    def _import_embedding(self, spec: JobSpec) -> Turns:
        """By the real door, which alone can open pickles."""
        from lora_studio.adapters.embedding import admit

        yield "step"
        sha256, name = str(spec.payload["file"]), str(spec.payload["name"])
        path = self.workspace.files.path(sha256)
        widths = (self._base or BASES["embedded"]).text_widths
        found, report = admit(path, sha256, widths, name)
        tensors = "" if report.tensors is None else self.workspace.files.put_bytes(report.tensors, ".safetensors")
        entry = self.workspace.embeddings.add(
            EmbeddingEntry(
                sha256, name, spec.owner, time.time(), path.stat().st_size, found.count, found.widths, tensors
            )
        )
        return {"embedding": sha256, "name": entry.name, "vectors": found.count, "warnings": to_json(report.warnings)}


# ---------------------------------------------------------------- files
def safetensors(metadata: dict[str, str]) -> bytes:
    """A file that a reader of headers takes for a LoRA."""
    header = json.dumps({"__metadata__": metadata, "x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    return len(header).to_bytes(8, "little") + header.encode() + bytes(4)


def adapter_entry(workspace: Workspace, data: bytes, name: str, owner: str) -> AdapterEntry:
    """An entry for a file, put into the store."""
    sha256 = workspace.files.put_bytes(data, ".safetensors")
    return AdapterEntry(sha256=sha256, name=name, owner=owner, created=time.time(), size=len(data), family="fake")


def add_samples(workspace: Workspace) -> list[AdapterEntry]:
    """Three LoRAs as if they had come with the app, each with a cover."""
    made = []
    for name in ("Cat ears", "Papercut style", "Miko Tsuki"):
        words = (name.lower(),)
        try:
            made.append(workspace.adapters.find(name, "samples"))
            continue
        except NotFound:
            pass
        entry = adapter_entry(workspace, safetensors({"name": name}), name, "samples")
        request = from_json(
            GenerateRequest,
            {
                "prompt": "1girl, brown hair, smile",
                "width": 128,
                "height": 128,
                "num_inference_steps": 18,
                "guidance_scale": 4.0,
                "sampler": "dpmpp_2m",
                "seed": 3,
                "adapters": [{"sha256": entry.sha256, "name": name, "weight": 1.0}],
            },
        )
        cover = workspace.files.put_bytes(encode(draw(request, 0)), ".png")
        fields = {"trigger_words": words, "cover": cover, "sample": True, "rank": 16, "base_sha256": "a" * 64}
        made.append(workspace.adapters.add(AdapterEntry(**(vars(entry) | fields))))
    return made
