"""Draw the demonstration: one long weighted prompt, three LoRAs, pictures before and after their weights are moved.

Prompt, negative prompt and the names of its embeddings are those of the prompt language's tests. The three adapters
come from the library's samples; stand-ins of 16, 75 and 6 vectors take the place of the three embeddings, made of the
base's own words for bad hands and faces. Writes `docs/demonstration.webp` and, in two languages,
`docs/demonstration.md` and `docs/demonstration.zh.md`, with every remark that the reading makes.

    python -m scripts.demonstration
"""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from lora_studio.engine.inline import build_engine
from lora_studio.engine.protocol import Engine
from lora_studio.sentences import sentence
from lora_studio.settings import load_settings
from lora_studio.store import Workspace
from lora_studio.store.samples import install_samples
from lora_studio.types import LOCAL, AdapterWeight, ExplainOptions, GenerateRequest, to_json
from scripts.samples import SETS, run

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ROOT / "tests" / "prompt" / "cases.json"
BAD = "bad hands, extra fingers, extra digits, bad face"
"""Words of the demonstration's own negative prompt. "washed out" or "blurry", 97 vectors of them, push this base to
pictures of pure colours and hard edges (dev/LOG.md)."""
GUIDANCE = 2.0
"""Half of the base's own: dozens of words of weight 1.4 guide more than the few that it is meant for."""
MIXES = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.4, 0.8, 0.0), (0.8, 0.8, 0.0), (0.8, 0.8, 0.8), (0.0, 0.0, 1.0))
SEEDS = (9, 11)
SIDE, MARGIN, HEAD = 256, 8, 64
WORDS = {
    "en": {
        "title": "The demonstration",
        "made": "[中文](demonstration.zh.md). Made by `python -m scripts.demonstration`; nothing was chosen by hand.",
        "picture": "Six mixes of three LoRAs under one prompt, two seeds",
        "about": "One prompt, one seed a row: from column to column only the weights of the three LoRAs move.\n"
        "The first column, where all are 0, is the base alone. Guidance is 2.",
        "prompt": "Prompt",
        "negative": "Things to avoid",
        "chunks": "It is read in {n} chunks ({counts} tokens). Remarks:",
        "none": "- none",
        "embeddings": "Embeddings",
        "stand_ins": "Found by their names in the things to avoid, each with its number of vectors: {found}.\n"
        "They are stand-ins, made of this base's own words for bad hands and faces: the real ones are for other bases.",
    },
    "zh": {
        "title": "演示",
        "made": "[English](demonstration.md)。由 `python -m scripts.demonstration` 生成；没有任何一张是手工挑选的。",
        "picture": "同一提示词下三个 LoRA 的六种权重组合，两个种子",
        "about": "同一提示词，每行一个种子：各列之间只有三个 LoRA 的权重在变。"
        "第一列权重全为 0，就是底模本身。引导强度为 2。",
        "prompt": "提示词",
        "negative": "要避免的内容",
        "chunks": "读作 {n} 段（{counts} 个词元）。提示：",
        "none": "- 无",
        "embeddings": "嵌入",
        "stand_ins": "在“要避免的内容”里按名称找到，括号里是向量数：{found}。\n"
        "它们是替身，由这个底模自己形容画坏的手和脸的词语做成：真正的嵌入是为别的底模做的。",
    },
}
"""What the pages say around what was read."""


def stand_in(base: Path, vectors: int) -> bytes:
    """An embedding in A1111's safetensors form: the base's own vectors of words for bad hands and faces."""
    import torch
    from safetensors.torch import load_file, save
    from transformers import CLIPTokenizer

    tensors = load_file(base / "text_encoder" / "model.safetensors")
    table = next(value for name, value in tensors.items() if name.endswith("token_embedding.weight"))
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    ids = tokenizer(BAD, add_special_tokens=False).input_ids
    rows = [table[k] for k in itertools.islice(itertools.cycle(ids), vectors)]
    return save({"emb_params": torch.stack(rows).float()})


def prepare(engine: Engine, workspace: Workspace, embeddings: dict[str, int]) -> None:
    """Brings the stand-ins into the library."""
    for name, vectors in embeddings.items():
        file = workspace.files.put_bytes(stand_in(ROOT / "assets" / "base", vectors), ".safetensors")
        run(engine, "import_embedding", {"file": file, "name": name})


def draw(engine: Engine, workspace: Workspace, texts: dict[str, Any]) -> Image.Image:
    """A sheet: a column for each mix, a row for each seed."""
    base = engine.info().base
    assert base is not None
    d = base.defaults
    entries = {entry.name: entry for entry in workspace.adapters.list() if entry.sample}
    requests = [
        GenerateRequest(
            prompt=texts["prompt"],
            negative_prompt=texts["negative_prompt"],
            width=d.width,
            height=d.height,
            num_inference_steps=d.num_inference_steps,
            guidance_scale=GUIDANCE,
            guidance_rescale=d.guidance_rescale,
            sampler=d.sampler,
            seed=seed,
            adapters=tuple(
                AdapterWeight(entries[words].sha256, words, weight)
                for (words, _), weight in zip(SETS.values(), mix, strict=True)
            ),
            base=base.sha256,
        )
        for seed in SEEDS
        for mix in MIXES
    ]
    images = run(engine, "generate", {"requests": to_json(requests)})["images"]
    width, height = len(MIXES) * (SIDE + MARGIN) + MARGIN, HEAD + len(SEEDS) * (SIDE + MARGIN)
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    for column, mix in enumerate(MIXES):
        left = MARGIN + column * (SIDE + MARGIN)
        for line, ((words, _), weight) in enumerate(zip(SETS.values(), mix, strict=True)):
            pen.text((left, 3 + 20 * line), f"{words} {weight:g}", "#888888" if weight == 0 else "black", font)
        for row in range(len(SEEDS)):
            picture = Image.open(workspace.files.path(images[row * len(MIXES) + column]["sha256"]))
            large = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(large, (left, HEAD + row * (SIDE + MARGIN)))
    return sheet


def page(texts: dict[str, Any], told: dict[str, Any], lang: str) -> str:
    """The text of the page in one language."""
    say = WORDS[lang]
    named = {use["name"] for use in told["embeddings"]}
    lines = [
        f"# {say['title']}\n",
        f"{say['made']}\n",
        f"![{say['picture']}](demonstration.webp)\n",
        f"{say['about']}\n",
    ]
    for heading, key, field in (("prompt", "prompt", "prompt"), ("negative", "negative", "negative_prompt")):
        chunks = [c for part in told[key]["parts"] for text in part["texts"] for c in text["chunks"]]
        counts = ", ".join(f"{chunk['count']}/{chunk['size']}" for chunk in chunks)
        lines += [f"## {say[heading]}\n", f"```\n{texts[field]}\n```\n"]
        lines += [say["chunks"].format(n=len(chunks), counts=counts) + "\n"]
        lines += [f"- {sentence(warn['code'], warn['values'], lang)}" for warn in told[key]["warnings"]] or [
            say["none"]
        ]
        lines += [""]
    found = ", ".join(f"`{name}` ({count})" for name, count in texts["embeddings"].items() if name in named)
    return "\n".join([*lines, f"## {say['embeddings']}\n", say["stand_ins"].format(found=found), ""])


def main() -> None:
    """Prepare, draw, say what was read."""
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))["demonstration"]
    with tempfile.TemporaryDirectory() as name, Workspace.open(Path(name)) as workspace:
        install_samples(workspace, ROOT / "assets")
        engine = build_engine(load_settings(workspace=workspace.root), workspace)
        run(engine, "load_base", {"base": "embedded"})
        prepare(engine, workspace, texts["embeddings"])
        sheet = draw(engine, workspace, texts)
        base = engine.info().base
        assert base is not None
        options = ExplainOptions(LOCAL, base.defaults.num_inference_steps)
        told = engine.explain(texts["prompt"], texts["negative_prompt"], options)
        engine.close()
    docs = ROOT / "docs"
    sheet.save(docs / "demonstration.webp", quality=90)
    for lang, name in (("en", "demonstration.md"), ("zh", "demonstration.zh.md")):
        (docs / name).write_text(page(texts, told, lang), encoding="utf-8")
    print(f"wrote demonstration.webp, .md and .zh.md in {docs}")


if __name__ == "__main__":
    main()
