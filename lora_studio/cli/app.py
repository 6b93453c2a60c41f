"""Arguments become calls, errors become one sentence and an exit code.

Exit codes: 0 done; 2 with one sentence on standard error; 130 after Ctrl-C. With `--json` the error stands on standard
output too, as `{"error": {...}}`. It does not know what the commands do.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lora_studio import __version__
from lora_studio.cli.adapter_help import adapter_commands
from lora_studio.cli.options import (
    GenerateOptions,
    InfotextOptions,
    LibraryOptions,
    PromptOptions,
    ServeOptions,
    command,
)
from lora_studio.cli.train_options import RunsOptions, TrainOptions
from lora_studio.errors import InvalidInput, StorageError, StudioError
from lora_studio.settings import Settings
from lora_studio.types.workbench import TOOLS

if TYPE_CHECKING:
    from lora_studio.cli.follow import EngineFactory

PROGRAM = "python -m lora_studio"

TRAIN_HELP = """Teach the base model something new from a folder of pictures.

    python -m lora_studio train assets/examples/cat-ears --name "my cat ears" --out cat-ears.safetensors

Each picture's caption stands in a .txt file of the same name; pictures without one are trained on the --trigger word.
After Ctrl-C or a crash the run is kept: train --continue RUN --out F.safetensors goes on from its last checkpoint.
RUN is told when it begins, and by the command runs.
"""

RUNS_HELP = """List the trainings of this workspace, the newest first, each with its state and how to go on.

    python -m lora_studio runs --json
"""

GENERATE_HELP = """Make pictures from words and any number of LoRAs with weights.

    python -m lora_studio generate --prompt "1girl, red hair, cat ears" --lora "my cat ears:0.8" --out pictures

Steps, guidance, sampler and size come from the base unless they are given; without --seed one is drawn and told.
X:W is split at the last colon. <lora:NAME:W> in the prompt does the same; --explain shows how a prompt is read.
<lora:NAME:W:start=5:stop=12> acts from step 5 on and before step 12; lbw= weighs the blocks of the model.

    python -m lora_studio generate --from-picture cat.png --lora "cat ears:0.4" --out pictures

--from-picture takes prompt, LoRAs, seed and settings from a picture of LoRA Studio, A1111, Forge, ComfyUI, InvokeAI or
Fooocus; every other option overrides it.
"""

INFOTEXT_HELP = """Read what a picture says of how it was made: prompt, LoRAs, seed and settings.

    python -m lora_studio infotext picture.png --json
    python -m lora_studio infotext - --json < parameters.txt

Pictures of LoRA Studio, A1111, Forge, ComfyUI, InvokeAI and Fooocus are read, and texts as these programs write them.
"""

PROMPT_HELP = """Show how a prompt on standard input is read, stage by stage, as A1111 reads it; no picture is made.

    printf 'a [cat:dog:0.5], (red hair:1.2) <lora:cat ears:0.8>' | python -m lora_studio prompt --json

Tokens are counted with CLIP-L's vocabulary where the package open-clip-torch is installed, else with the embedded
base's own; which one is said on standard error.
"""

LIBRARY_HELP = """List the LoRAs of the library, look through folders that are read in place, show or change one.

    python -m lora_studio library scan --lora-folders ~/stable-diffusion-webui/models/Lora
    python -m lora_studio library list --json
    python -m lora_studio library edit "cat ears" --words "cat ears, tail" --weight 0.8 --stars 4

Folders are those of the setting lora_folders; nothing in them is changed. fetch takes owner/repo, owner/repo:file or an
https address, where the settings download_hub and download_hosts allow it.
"""

SERVE_HELP = """Open the studio in a browser (the same as python app.py). Ctrl-C ends it."""


def build(engine: EngineFactory, page: Callable[[Settings], None]) -> typer.Typer:
    """The typer application; `engine` builds an engine, `page` serves the browser's side until it is stopped.

    A command's module, and the database behind it, is imported when the command runs: help answers at once.
    """
    app = _application()

    def train(options: TrainOptions) -> None:
        from lora_studio.cli.train import run

        run(options, engine)

    def runs(options: RunsOptions) -> None:
        from lora_studio.cli.runs import run

        run(options)

    def generate(options: GenerateOptions) -> None:
        from lora_studio.cli.generate import run

        run(options, engine)

    def infotext(options: InfotextOptions) -> None:
        from lora_studio.cli.infotext import run

        run(options)

    def prompt(options: PromptOptions) -> None:
        from lora_studio.cli.prompt import run

        run(options)

    def library(options: LibraryOptions) -> None:
        from lora_studio.cli.library import run

        run(options, engine)

    def serve(options: ServeOptions) -> None:
        from lora_studio.cli.serve import run

        run(options, page)

    app.command("train", help=_verbatim(TRAIN_HELP))(command(TrainOptions, train))
    app.command("runs", help=_verbatim(RUNS_HELP))(command(RunsOptions, runs))
    app.command("generate", help=_verbatim(GENERATE_HELP))(command(GenerateOptions, generate))
    app.command("infotext", help=_verbatim(INFOTEXT_HELP))(command(InfotextOptions, infotext))
    app.command("prompt", help=_verbatim(PROMPT_HELP))(command(PromptOptions, prompt))
    app.add_typer(adapter_commands(engine, _verbatim), name="adapter")
    app.command("library", help=_verbatim(LIBRARY_HELP))(command(LibraryOptions, library))
    app.command("serve", help=_verbatim(SERVE_HELP))(command(ServeOptions, serve))
    return app


def _application() -> typer.Typer:
    """The program itself, without its commands."""
    app = typer.Typer(
        help=f"LoRA Studio {__version__}: train LoRA adapters and mix them by their weights.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )

    @app.callback()
    def studio(
        version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    ) -> None:
        if version:
            print(__version__)
            raise typer.Exit

    return app


def main(argv: Sequence[str], engine: EngineFactory, page: Callable[[Settings], None]) -> int:
    """Run one command and return its exit code; see the module's docstring."""
    arguments = [*argv, "--help"] if list(argv) in ([], ["adapter"]) else list(argv)
    try:
        _readable(arguments)
        code = typer.main.get_command(build(engine, page)).main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except StudioError as problem:
        _tell(problem.message, problem, arguments)
        return 2
    except typer.TyperException as problem:
        sentence = _usage(problem, arguments)
        _tell(sentence, InvalidInput(sentence, code="usage", given=" ".join(arguments)), arguments)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads any more: end quietly
        return 2
    except OSError as problem:  # a file that the checks above could not foresee
        which = repr(problem.filename) if problem.filename else "A file"
        sentence = f"{which} cannot be used ({problem.strerror}); mend that and try again."
        _tell(sentence, StorageError(sentence, code="file_unusable", given=str(problem.filename or "")), arguments)
        return 2
    return code if isinstance(code, int) else 0


def _verbatim(text: str) -> str:
    """Keep the line breaks of help texts: click rewraps every paragraph that does not open with \\b."""
    return "\n\n".join("\b\n" + part for part in text.strip().split("\n\n"))


def _readable(arguments: list[str]) -> None:
    """Refuse bytes that are no UTF-8: they reach Python as lone surrogates and could not be stored later."""
    for text in arguments:
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise InvalidInput(
                f"The argument {text!r} is not UTF-8 text; type it again in UTF-8.", code="not_utf8", given=ascii(text)
            )


def _usage(problem: typer.TyperException, arguments: list[str]) -> str:
    """A complaint of the argument parser as one sentence that says where help is."""
    words = " ".join(problem.format_message().split()).rstrip(".")
    commands = ("train", "runs", "generate", "infotext", "prompt", "library", "serve", "adapter")
    name = f"{arguments[0]} " if arguments[0] in commands else ""
    if arguments[0] == "adapter" and len(arguments) > 1 and not arguments[1].startswith("-"):
        name += f"{arguments[1]} " if arguments[1] in TOOLS else ""
    return f"{words}; {PROGRAM} {name}--help shows what is allowed."


def _tell(sentence: str, problem: StudioError, arguments: list[str]) -> None:
    print(" ".join(sentence.splitlines()), file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps({"error": problem.as_json()}))
