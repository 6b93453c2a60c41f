"""`generate`: prompts and LoRAs with weights become PNG files.

Everything that can be checked without the base is checked before an engine is built. It does not know how pictures
are made; the PNGs are copied byte for byte, so that the text inside them stays.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_studio.cli.embeddings import bring_in, find_file
from lora_studio.cli.explain import print_explained
from lora_studio.cli.files import copy_anew, target_folder
from lora_studio.cli.follow import OWNER, EngineFactory, Teller, follow, loaded_base, opened, running, spec
from lora_studio.cli.given import Asked, check_weight, find_adapter, peft_config
from lora_studio.cli.library import refresh
from lora_studio.cli.options import GenerateOptions, given_settings
from lora_studio.cli.picture import adapters_of, filled, read_picture, tell_remarks
from lora_studio.engine.protocol import Engine
from lora_studio.errors import InvalidInput
from lora_studio.prompt.readers import Reading
from lora_studio.settings import Settings, load_settings
from lora_studio.store import Workspace
from lora_studio.types import (
    AdapterWeight,
    BaseDefaults,
    BaseInfo,
    ExplainOptions,
    GenerateRequest,
    adapter_name,
    from_json,
    parse_sampler,
    to_json,
)


@dataclass(frozen=True)
class Plan:
    """What was asked for, read and checked as far as it can be without the base."""

    prompts: tuple[str, ...]
    negative: str
    sampler: str | None
    size: tuple[int, int] | None
    seed: int
    options: GenerateOptions
    given: GenerateOptions
    """The options as they were typed."""
    embeddings: tuple[Path, ...] = ()
    picture: Reading | None = None
    """What --from-picture says; `options` are filled from it already."""


def run(options: GenerateOptions, build: EngineFactory) -> None:
    """Make the pictures, write them, print the answer; with --explain say what is understood instead."""
    if options.out is None and not options.explain:
        raise InvalidInput("--out is missing; give the folder for the pictures.", code="missing", given="--out")
    plan = plan_of(options)
    settings = load_settings(**given_settings(options))
    for given in options.lora:
        check_weight(given)
    out = None if options.explain or options.out is None else target_folder(options.out)
    teller = Teller()
    with opened(settings) as workspace:
        refresh(workspace, settings)
        asked = _asked(plan, workspace)
        if out is None:
            told = _explain(plan, asked, build, settings, workspace, teller)
            print_explained(told, as_json=options.json)
            return
        requests, made = _generate(plan, asked, build, settings, workspace, teller)
        images = _write(workspace, out, requests, made)
    if options.json:
        print(json.dumps({"images": images}))
    else:
        print("\n".join(image["file"] for image in images))


def _asked(plan: Plan, workspace: Workspace) -> list[Asked]:
    """The LoRAs of `--lora`; without any, those of a picture are looked for, so that one that is missing is told early.

    Raises:
        InvalidInput: a file that can be none by its ending, or a weight that is no number.
        NotFound: there is no such file or entry.
    """
    asked = [find_adapter(workspace, given) for given in plan.options.lora]
    for one in asked:
        if one.file is not None:
            adapter_name(one.file.name)
    if plan.picture is not None and not asked:
        adapters_of(plan.picture, workspace, None)
    return asked


def _of_picture(plan: Plan, workspace: Workspace, base: BaseInfo) -> tuple[AdapterWeight, ...]:
    """The picture's LoRAs on the base that is loaded, where `--lora` names no others."""
    if plan.picture is None or plan.options.lora:
        return ()
    return adapters_of(plan.picture, workspace, base)


def plan_of(options: GenerateOptions) -> Plan:
    """Read and check what does not need the base.

    Raises:
        InvalidInput: prompt, file of prompts, size, sampler or embedding is missing or not allowed.
        NotFound: there is no such file of an embedding.
    """
    given = options
    picture = None if options.from_picture is None else read_picture(options.from_picture)
    if picture is not None:
        options = filled(options, picture)
    if (options.prompt is None) == (options.prompts_from is None):
        both = options.prompt is not None
        raise InvalidInput(
            f"--prompt and --prompts-from were {'both' if both else 'not'} given; give one of the two.",
            code="prompt_or_file",
            given=options.prompt or "",
        )
    prompts = (options.prompt or "",) if options.prompts_from is None else read_prompts(options.prompts_from)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    plan = Plan(
        prompts=prompts,
        negative=options.negative or "",
        sampler=None if options.sampler is None else parse_sampler(options.sampler),
        size=None if options.size is None else parse_size(options.size),
        seed=seed,
        options=options,
        given=given,
        embeddings=tuple(find_file(path) for path in options.embedding),
        picture=picture,
    )
    requests_of(plan, (), BaseDefaults(512, 512, 20, 5.0, "ddim", 1))  # any base's defaults: finds bad values now
    return plan


def read_prompts(path: Path) -> tuple[str, ...]:
    """The prompts of a UTF-8 file, one a line; empty lines may stand at the end only.

    Raises:
        InvalidInput: the file cannot be read, is not UTF-8, or holds an empty line or none at all.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise InvalidInput(
            f"--prompts-from was given as {str(path)!r}, which cannot be read ({problem.strerror}); give a text file.",
            code="prompts_unreadable",
            given=str(path),
        ) from None
    except UnicodeDecodeError as problem:
        raise InvalidInput(
            f"--prompts-from was given as {str(path)!r}, which is not UTF-8 (byte {problem.start}); save it as UTF-8.",
            code="prompts_not_utf8",
            given=str(path),
        ) from None
    lines = [line.strip() for line in text.rstrip().split("\n")]
    empty = [number for number, line in enumerate(lines, 1) if not line]
    if empty:
        raise InvalidInput(
            f"Line {empty[0]} of {str(path)!r} is empty; write one prompt on every line.",
            code="prompts_empty_line",
            given=str(path),
            line=empty[0],
        )
    return tuple(lines)


def parse_size(text: str) -> tuple[int, int]:
    """`512x768` as (512, 768); raises `InvalidInput`."""
    found = re.fullmatch(r"\s*([0-9]{1,6})\s*[xX×*]\s*([0-9]{1,6})\s*", text)
    if found is None:
        raise InvalidInput(
            f"--size was given as {text!r}; it must be width and height in pixels, like 128x192; change it.",
            code="size_unreadable",
            given=text,
        )
    return int(found[1]), int(found[2])


def requests_of(plan: Plan, adapters: tuple[AdapterWeight, ...], defaults: BaseDefaults) -> list[GenerateRequest]:
    """One complete request per prompt; picture i of all has the seed `plan.seed + i`.

    Where alternatives are drawn, every picture is a request of its own and draws its own.
    """
    options, count = plan.options, plan.options.count or 1
    prompts = plan.prompts
    if options.dynamic:
        prompts, count = tuple(prompt for prompt in prompts for _ in range(count)), 1
    width, height = plan.size or (defaults.width, defaults.height)
    return [
        GenerateRequest(
            prompt=prompt,
            negative_prompt=plan.negative,
            width=width,
            height=height,
            num_inference_steps=defaults.num_inference_steps if options.steps is None else options.steps,
            guidance_scale=defaults.guidance_scale if options.cfg is None else options.cfg,
            guidance_rescale=(
                defaults.guidance_rescale if options.guidance_rescale is None else options.guidance_rescale
            ),
            sampler=plan.sampler or defaults.sampler,
            seed=plan.seed + index * count,
            num_images=count,
            adapters=adapters,
            styles=options.style,
            clip_skip=1 if options.clip_skip is None else options.clip_skip,
            emphasis=_emphasis(options),
            pad_prompts=options.pad_prompts,
            old_scheduling=options.old_scheduling,
            dynamic=options.dynamic,
        )
        for index, prompt in enumerate(prompts)
    ]


def _emphasis(options: GenerateOptions) -> str:
    """The mode as requests name it, in whatever case it was typed."""
    return "original" if options.emphasis is None else options.emphasis.strip().casefold()


def payload_of(requests: list[GenerateRequest]) -> dict[str, Any]:
    """The requests as the engine takes them: one alone, or a list that may share batches."""
    return {"request": to_json(requests[0])} if len(requests) == 1 else {"requests": to_json(requests)}


def _import(engine: Engine, workspace: Workspace, asked: Asked, teller: Teller) -> AdapterWeight:
    """The adapter with its weight; a file is taken into the library first."""
    if asked.file is None:
        return AdapterWeight(asked.sha256, asked.name, asked.weight)
    payload = {"file": workspace.files.put_file(asked.file), "name": asked.name or adapter_name(asked.file.name)}
    config = peft_config(asked.file)
    if config is not None:
        payload["config"] = config
    job = engine.submit(spec("import_adapter", payload))
    result = follow(engine, job, teller)
    return AdapterWeight(result["adapter"], result["name"], asked.weight)


def _explain(
    plan: Plan, asked: list[Asked], build: EngineFactory, settings: Settings, workspace: Workspace, teller: Teller
) -> list[dict[str, Any]]:
    """What the engine understands of each prompt; no file is taken into the library for that, which is told."""
    adapters = tuple(AdapterWeight(one.sha256, one.name, one.weight) for one in asked if one.file is None)
    for file in (one.file for one in asked if one.file is not None):
        teller.say(f"note: the LoRA file {str(file)!r} is left out here; it acts when pictures are made")
    for path in plan.embeddings:
        teller.say(
            f"note: the embedding file {str(path)!r} is left out here: its name is read as words, unless the library "
            "has an embedding of that name; it acts when pictures are made"
        )
    try:
        with running(build, settings, workspace) as engine:
            base = loaded_base(engine, settings, teller)
            steps = plan.options.steps or base.defaults.num_inference_steps
            options = ExplainOptions(
                OWNER,
                steps,
                styles=plan.options.style,
                emphasis=_emphasis(plan.options),
                old_scheduling=plan.options.old_scheduling,
                adapters=(*adapters, *_of_picture(plan, workspace, base)),
            )
            return [engine.explain(prompt, plan.negative, options) for prompt in plan.prompts]
    finally:
        teller.done()


def _generate(
    plan: Plan, asked: list[Asked], build: EngineFactory, settings: Settings, workspace: Workspace, teller: Teller
) -> tuple[list[GenerateRequest], list[dict[str, Any]]]:
    """Make all pictures in one job, so that they can share batches: the requests with the adapters that acted, tags
    included, and each picture as the engine tells it."""
    try:
        with running(build, settings, workspace) as engine:
            base = loaded_base(engine, settings, teller)
            for path in plan.embeddings:
                bring_in(engine, workspace, path, teller)
            if plan.picture is not None:
                tell_remarks(plan.picture, plan.given, workspace, base)
            adapters = tuple(_import(engine, workspace, one, teller) for one in asked)
            adapters += _of_picture(plan, workspace, base)
            requests = requests_of(plan, adapters, base.defaults)
            job = engine.submit(spec("generate", payload_of(requests)))
            result = follow(engine, job, teller)
            acted = _made(engine.job(job).payload)
    finally:
        teller.done()
    done = [
        replace(one, adapters=made.adapters, prompt=made.prompt if one.dynamic else one.prompt)
        for one, made in zip(requests, acted, strict=True)
    ]
    return done, result["images"]


def _made(payload: dict[str, Any]) -> list[GenerateRequest]:
    """The requests of a job as the engine completed them."""
    return [from_json(GenerateRequest, one) for one in payload.get("requests") or [payload["request"]]]


def _write(
    workspace: Workspace, out: Path, requests: list[GenerateRequest], made: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Copy the pictures to `out` under names that sort in their order; what the answer says of each."""
    asked = [request for request in requests for _ in range(request.num_images)]
    number = next_number(out)
    images = []
    for request, image in zip(asked, made, strict=True):
        source = workspace.files.path(image["sha256"])
        while not copy_anew(source, path := out / f"{number:05d}-{image['seed']}.png"):
            number += 1  # another command that writes here at this moment took that number
        number += 1
        images.append(
            {
                "file": str(path),
                "prompt": request.prompt,
                "negative": request.negative_prompt,
                "seed": image["seed"],
                "width": image["width"],
                "height": image["height"],
                "steps": request.num_inference_steps,
                "sampler": request.sampler,
                "guidance_scale": request.guidance_scale,
                "adapters": to_json(request.adapters),
            }
        )
    return images


def next_number(out: Path) -> int:
    """The number after the highest `NNNNN-seed.png` in the folder `out`, so that no picture is overwritten."""
    numbers = [
        int(found[1]) for path in out.iterdir() if (found := re.fullmatch(r"([0-9]{5,})-[0-9]+\.png", path.name))
    ]
    return max(numbers, default=-1) + 1
