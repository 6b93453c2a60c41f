"""Writes `docs/reference.md`: every option, setting and field, from the doc lines that the code carries.

    python -m scripts.docs            write the file
    python -m scripts.docs --check    exit with 1 when the file is not what would be written

It knows where the doc lines are, and nothing of what they mean.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from pathlib import Path

from lora_studio.cli.adapter_options import (
    AdapterBakeOptions,
    AdapterCombineOptions,
    AdapterConvertOptions,
    AdapterExtractOptions,
    AdapterInspectOptions,
    AdapterMetaOptions,
    AdapterResizeOptions,
)
from lora_studio.cli.options import (
    GenerateOptions,
    InfotextOptions,
    LibraryOptions,
    PromptOptions,
    ServeOptions,
)
from lora_studio.cli.train_options import RunsOptions, TrainOptions
from lora_studio.settings import FILE, PREFIX, Settings, allowed_of
from lora_studio.types import RECIPES, GenerateRequest, TrainConfig, describe

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference.md"

PLAIN = {
    "preview_prompts": "What the previews show; empty means the base's own choice.",
    "adapters": "The LoRAs of the mix: sha256, name and weight (-10 to 10) of each.",
    "embeddings": "The textual-inversion embeddings that act: name and sha256 of each.",
    "styles": "Names of styles to put around the words.",
    "base": "sha256 of the base's weights this was made for; empty means whichever is loaded.",
    "init_image": "Empty: starting from a picture is refused.",
    "mask": "Empty, as `init_image`.",
}
"""Fields that are no numbers or texts for a form, and therefore carry no doc line of their own."""

HEAD = f"""# Reference

Written by `python -m scripts.docs` from the code's own doc lines; change those, not this page.

## Settings

Strongest first: an option of the command line, an environment variable, a line in `{FILE}` in the current folder
(`port = 7861`), the default.

"""

TRAIN_ANSWER = """With `--json` the answer is one object; `final_loss` is the mean of the last tenth of the steps:

```json
{"file": "/abs/F.safetensors", "sha256": "...", "steps": 500, "seconds": 61.5, "final_loss": 0.12,
 "trainable_parameters": 1134592, "base_parameters": 12143139}
```

With `--embedding NAME` the word's own file is written beside the LoRA as `NAME.safetensors`, and the answer has
`"embedding": {"file": "/abs/NAME.safetensors", "sha256": "...", "name": "NAME", "vectors": 2}` too. The same vectors
lie inside the LoRA's file under `bundle_emb.NAME.string_to_param.*`.
"""

RUNS_ANSWER = """With `--json`, the newest first:

```json
{"runs": [{"run": "3f2a9c81b7d0...", "name": "my cat ears", "state": "interrupted", "step": 200, "steps": 500,
  "created": 1767225600.0, "adapter": null, "error": null,
  "continue": "python -m lora_studio train --continue 3f2a9c81b7d0 --out F.safetensors"}]}
```

`state` is one of queued, running, stopping, done, failed, cancelled and interrupted; a training whose process is gone
is interrupted. `step` is that of the result, or of the checkpoint from which an interrupted one goes on.
"""

GENERATE_ANSWER = """With `--json` the answer is one object, pictures in their order:

```json
{"images": [{"file": "/abs/DIR/00000-7.png", "prompt": "...", "negative": "", "seed": 7, "width": 128, "height": 128,
 "steps": 18, "sampler": "dpmpp_2m", "guidance_scale": 4.0,
 "adapters": [{"name": "cat ears", "sha256": "...", "weight": 0.8}]}]}
```

Picture i of all (over the lines of `--prompts-from` and `--count`) has the seed S + i. `X:W` is split at the last
colon; where what stands before it names nothing, the whole is taken as a name. With `--from-picture` LoRAs are found by
their hashes, also when they are called otherwise here; what was not taken over is said on standard error.
"""

PROMPT_ANSWER = """The text comes on standard input as it is, its last line break included (`printf`, not `echo`).
With `--json`:

```json
{"text": "a (cat:1.2)", "networks": {"lora": [{"items": ["x", "0.8"], "positional": ["x", "0.8"], "named": {}}]},
 "lora": [{"name": "x", "te": 0.8, "unet": 0.8, "dyn": null}], "and": [["a (cat:1.2)", 1.0]],
 "schedule": [[20, "a (cat:1.2)"]], "attention": [["a ", 1.0], ["cat", 1.2]], "token_count": 2,
 "chunks": [{"tokens_used": 2, "text": "a cat", "weights": [1.0, 1.2], "embeddings": []}],
 "warnings": []}
```

Where AND parts the text, `schedule`, `attention` and `chunks` are those of its first part; `token_count` is the largest
of all texts, as A1111 counts. Whose tokens were counted is said on standard error. `--stage` prints the keys of that
stage alone.
"""

INFOTEXT_ANSWER = """With `--json` the answer is one object; `fields` are the pairs as A1111's reader names them:

```json
{"fields": {"Steps": "28", "Size-1": "512", ...}, "prompt": "...", "negative": "...",
 "adapters": [{"name": "ears", "hash": "1a2b3c4d5e6f", "weight": 0.8, "text_encoder_weight": null}],
 "program": "a1111", "settings": {"seed": 123, "num_inference_steps": 28, ...},
 "warnings": [{"code": "noise", "values": {"given": "GPU"}}]}
```

`prompt` is without its LoRA tags; `program` is empty for words alone, and `settings` holds fields of a request.
"""

ERRORS = """## Errors

Exit code 2, and one sentence on standard error that says what was given, what is allowed and what to do. With `--json`
standard output then holds `{"error": {"type": ..., "code": ..., "message": ..., "values": {...}}}`; the code is stable.
Ctrl-C ends with 130: a generation is cancelled, a training is kept and its way on is printed.
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


LIBRARY_ANSWER = """With `--json` the answer is one object. `list`:

```json
{"adapters": [{"name": "cat", "sha256": "...", "family": "sd1", "rank": 8, "size": 9500000, "trigger_words": ["cat"],
  "recommended_weight": 0.8, "stars": 0, "stem": "cat", "places": ["Lora/cat.safetensors"], "missing": false,
  "warnings": []}]}
```

`scan`: `{"folders": [{"folder", "files", "unusable", "problem", "read"}], "unusable": [{"place", "code"}], "read",
"seconds"}`; `read` counts the files that were new or had changed. `show`, `edit` and `fetch`: `{"adapter": {...}}` with
all fields of an entry, its report and its metadata.
"""


INSPECT_ANSWER = """With `--json` the answer is one object, of a refused file too: then `refused` is the sentence,
and the exit code is 0.

```json
{"format": "kohya LoRA", "family": "sd1", "rank": 16, "alpha": {"min": 8.0, "max": 16.0},
 "layers": {"matched": 128, "in_file": 128, "in_base": 278}, "text_encoder": false, "ignored": [], "finite": true,
 "strength": 0.031, "trigger_words": ["cat ears"], "sha256": "...", "warnings": [], "refused": null}
```

`--details` adds `details` (singular values and ranks by layer, strength by block), `--with` adds `overlap`.
"""

TOOLS = (
    ("inspect", AdapterInspectOptions, INSPECT_ANSWER),
    ("convert", AdapterConvertOptions, ""),
    ("combine", AdapterCombineOptions, ""),
    ("resize", AdapterResizeOptions, ""),
    ("extract", AdapterExtractOptions, ""),
    ("bake", AdapterBakeOptions, ""),
    ("meta", AdapterMetaOptions, ""),
)
"""The tools of `adapter`: name, options, what is to be said of the answer."""


def tools() -> list[str]:
    """A section for each tool of `adapter`."""
    parts = []
    for name, options, answer in TOOLS:
        parts += [f"## `python -m lora_studio adapter {name}`\n", options_table(options), *([answer] if answer else [])]
    return parts


def settings_table() -> str:
    """Every field of `Settings`."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "see below" if field.default_factory is not None else f"`{field.default}`"
        default = "none" if field.default in (None, ()) else default
        rows.append([f"`{name}`", f"`{PREFIX}{name.upper()}`", default, allowed_of(name), field.description or ""])
    note = (
        "\n`workspace` is by default `~/.local/share/lora-studio` on Linux (or below `$XDG_DATA_HOME`), "
        "`~/Library/Application Support/lora-studio` on macOS, `%LOCALAPPDATA%\\lora-studio` on Windows, and "
        "`/data/lora-studio` on a Hugging Face Space with a disk (for the command line: no page is served there). "
        "`assets` is the folder beside the package, or in it where pip installed it.\n"
    )
    return table(["Setting", "Environment", "Default", "Allowed", "What it is"], rows) + note


def options_table(options: type) -> str:
    """Every option of one command."""
    rows = []
    for annotation in typing.get_type_hints(options, include_extras=True).values():
        info = annotation.__metadata__[0]
        flag = " ".join(part for part in (*(info.param_decls or ()), info.metavar or "") if part)
        if not info.param_decls and str(getattr(info, "default", "")).startswith("--"):
            flag = " ".join(part for part in (info.default, info.metavar or "") if part)
        rows.append([f"`{flag}`", info.help or ""])
    return table(["Option", "What it does"], rows)


def fields_table(cls: type) -> str:
    """Every field of a dataclass of `lora_studio.types`."""
    rows = []
    specs = {spec.name: spec for spec in describe(cls)}
    for field in dataclasses.fields(cls):
        spec = specs.get(field.name)
        if spec is None:
            rows.append([f"`{field.name}`", "", "", PLAIN[field.name]])
            continue
        default = "" if spec.default in (None, "") else f"`{spec.default}`"
        allowed = "True or False" if isinstance(spec.default, bool) else spec.allowed
        rows.append([f"`{spec.name}`", default, allowed, spec.doc])
    return table(["Field", "Default", "Allowed", "What it is"], rows)


def page() -> str:
    """The whole page."""
    recipes = [
        [f"`{name}`", ", ".join(f"`{key}` {value}" for key, value in changes.items()) or "the defaults above"]
        for name, changes in RECIPES.items()
    ]
    return "\n".join(
        [
            HEAD + settings_table(),
            "## `python -m lora_studio train`\n",
            options_table(TrainOptions),
            TRAIN_ANSWER,
            "## `python -m lora_studio runs`\n",
            options_table(RunsOptions),
            RUNS_ANSWER,
            "## `python -m lora_studio generate`\n",
            options_table(GenerateOptions),
            GENERATE_ANSWER,
            "## `python -m lora_studio infotext`\n",
            options_table(InfotextOptions),
            INFOTEXT_ANSWER,
            "## `python -m lora_studio prompt`\n",
            options_table(PromptOptions),
            PROMPT_ANSWER,
            "## `python -m lora_studio library`\n",
            options_table(LibraryOptions),
            LIBRARY_ANSWER,
            *tools(),
            "## `python -m lora_studio serve`, `python app.py`\n",
            options_table(ServeOptions),
            ERRORS,
            "## Training: the fields of a recipe\n",
            fields_table(TrainConfig),
            table(["Recipe", "What it changes"], recipes),
            "## Pictures: the fields of a request\n",
            "A base brings its own default for what has none here.\n",
            fields_table(GenerateRequest),
        ]
    )


def main(argv: list[str]) -> int:
    """Write the page, or compare."""
    wanted = page()
    if argv == ["--check"]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == wanted:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is out of date; run: python -m scripts.docs", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
