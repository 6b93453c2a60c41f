"""The documentation says what the code says: options, settings and fields, pins and ranges, commands and links."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import sys
import tomllib
import typing
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from typer.core import TyperGroup

from lora_studio.cli.app import build
from lora_studio.cli.options import (
    GenerateOptions,
    InfotextOptions,
    LibraryOptions,
    PromptOptions,
    ServeOptions,
)
from lora_studio.cli.train_options import RunsOptions, TrainOptions
from lora_studio.settings import Settings
from lora_studio.types import GenerateRequest, TrainConfig
from lora_studio.ui.actions.status import examples
from scripts import docs

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "assets" / "examples" / "adapters"
DOCS = sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))
PAGES = ("README.md", "README.zh.md", "CONTRIBUTING.md", *DOCS)


def read(name: str) -> str:
    """The text of a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_reference_is_fresh() -> None:
    assert docs.main(["--check"]) == 0, "run: python -m scripts.docs"


def test_a_stale_reference_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "TARGET", tmp_path / "reference.md")
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0


COMMANDS: dict[str, type] = {
    "train": TrainOptions,
    "runs": RunsOptions,
    "generate": GenerateOptions,
    "infotext": InfotextOptions,
    "prompt": PromptOptions,
    "library": LibraryOptions,
    **{f"adapter {name}": options for name, options, _ in docs.TOOLS},
    "serve": ServeOptions,
}
"""Every command that has options of its own, and these."""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_stands_in_the_reference(command: str) -> None:
    """In the section of its own command: another one's option of that name says nothing of it."""
    reference = read("docs/reference.md").split(f"\n## `python -m lora_studio {command}`")[1].split("\n## ")[0]
    options = COMMANDS[command]
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        info = hint.__metadata__[0]
        assert f"| `{flag_of(info)}" in reference, name
        assert info.help, name


def flag_of(info: Any) -> str:
    """How an option is typed, or what an argument is called, as the table has it."""
    flag = info.param_decls[0] if info.param_decls else info.default
    shown = flag if isinstance(flag, str) and flag.startswith("--") else info.metavar
    return str(shown).replace("|", "\\|")


def test_no_command_is_left_out() -> None:
    """The reference, and the test above, know every command that there is."""
    app = typer.main.get_command(build(nothing, nothing))
    assert isinstance(app, TyperGroup)
    tools = app.commands["adapter"]
    assert isinstance(tools, TyperGroup)
    assert set(COMMANDS) == (set(app.commands) - {"adapter"}) | {f"adapter {name}" for name in tools.commands}


def nothing(*_: object) -> None:
    """In an engine's or a page's place: no command is run."""


def test_every_field_and_setting_stands_in_the_reference() -> None:
    reference = read("docs/reference.md")
    names = [f.name for cls in (TrainConfig, GenerateRequest) for f in dataclasses.fields(cls)]
    for name in [*names, *Settings.model_fields]:
        assert f"| `{name}` |" in reference, name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", read(page))
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_both_readmes_have_the_same_structure() -> None:
    english, chinese = read("README.md").split("---\n", 2)[2], read("README.zh.md")

    def shape(text: str) -> list[str]:
        """Headings by depth, code blocks whole, pictures and tables by their mark, in order."""
        marks = re.findall(r"^(#+) |^(```\n.*?^```)|^(!\[)|^(\| ---)|^(- |\d\. )", text, re.MULTILINE | re.DOTALL)
        return ["".join(found) for found in marks]

    assert shape(english) == shape(chinese)
    assert len(shape(english)) > 25


@pytest.mark.parametrize(
    ("page", "language", "title"), [("README.md", "en", "First steps"), ("README.zh.md", "zh", "第一步")]
)
def test_the_first_steps_name_what_the_page_shows(page: str, language: str, title: str) -> None:
    """Words in bold in that section are buttons and tabs, and read as they do on the screen."""
    section = read(page).split(f"## {title}\n")[1].split("\n## ")[0]
    shown = set(json.loads(read(f"lora_studio/ui/strings/{language}.json")).values())
    shown |= {example["name"] for example in examples(ROOT / "assets")}  # sets are called as their folders
    named = re.findall(r"(?<!\*)\*\*?([^*]+)\*\*?(?!\*)", section)
    assert len(named) >= 6
    assert [word for word in named if word not in shown] == []


LINE = re.compile(r"^python -m lora_studio (.*)$", re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_readme_s_lines_use_what_the_lines_before_made(page: str) -> None:
    """The first line trained "cat ears", which a fresh workspace calls "cat ears 2": the next ones took the sample."""
    samples = {json.loads(path.read_text(encoding="utf-8"))["name"] for path in SAMPLES.glob("*.json")}
    assert "papercut style" in samples
    files, known = {"some.safetensors", "prompts.txt"}, set(samples)
    lines = [shlex.split(line) for line in LINE.findall(read(page))]
    assert len(lines) >= 6
    for words in lines:
        given = [word for at, word in enumerate(words) if at and words[at - 1] == "--lora"]
        given += [word for word in words[2:] if words[:2] == ["adapter", "combine"] and ":" in word]
        for one in given:
            assert one.rpartition(":")[0] in known or one in files, words
        if "--name" in words:
            name = words[words.index("--name") + 1]
            assert name not in samples
            known.add(name)
        if "--out" in words:
            files.add(words[words.index("--out") + 1])


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_another_build_of_torch_takes_the_place_of_the_one_that_is_there(page: str) -> None:
    """`pip install torch==2.13.0 --index-url ...` does nothing where another build of 2.13.0 is, and `pip` alone may be
    another environment's; on Windows the environment's programs lie elsewhere."""
    lines = [line for line in read(page).splitlines() if "--index-url" in line]
    assert len(lines) == 2
    for line in lines:
        assert "-m pip install --force-reinstall --no-deps torch==2.13.0 --index-url" in line
        assert ("`.venv\\Scripts\\python -m" if "Windows" in line else "`.venv/bin/python -m") in line


@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_numbers_of_kinds_of_lora_files_are_those_of_the_list(page: str) -> None:
    found = re.search(r"^\d+ kinds: (\d+) act, (\d+) are refused\.$", read("docs/adapter-formats.md"), re.MULTILINE)
    assert found is not None
    [link] = re.findall(r"\[([^\]]+)\]\(docs/adapter-formats\.md\)", read(page))
    assert re.findall(r"\d+", link) == list(found.groups())


def test_the_readme_commands_exist() -> None:
    for page in ("README.md", "README.zh.md"):
        text = read(page)
        assert "python3 scripts/run.py start" in text
        assert "python3 scripts/run.py test" in text
    assert "scripts/run.py test" in read(".ci/run")


def pins(name: str) -> dict[str, Requirement]:
    """The exact requirements of a file, `-r` lines left out."""
    lines = [line.strip() for line in read(name).splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]
    return {requirement.name.lower(): requirement for requirement in found}


@pytest.mark.parametrize(("file", "group"), [("requirements.txt", None), ("requirements-dev.txt", "dev")])
def test_pins_are_exact_and_inside_the_ranges(file: str, group: str | None) -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    ranges = project["dependencies"] if group is None else project["optional-dependencies"][group]
    allowed = {requirement.name.lower(): requirement for requirement in map(Requirement, ranges)}
    pinned = pins(file)
    assert sorted(pinned) == sorted(allowed)
    for name, requirement in pinned.items():
        (version,) = requirement.specifier
        assert version.operator == "=="
        assert allowed[name].specifier.contains(version.version), name


def imported(folder: str) -> set[str]:
    """Top-level names that the modules below a folder import."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"lora_studio", "pretrain", "benchmarks", "scripts", "tests"}


@pytest.mark.parametrize(("folder", "dev"), [("lora_studio", False), ("pretrain", True), ("tests", True)])
def test_what_is_imported_is_pinned(folder: str, dev: bool) -> None:
    """A package that comes along with another one today may stay away tomorrow."""
    known = set(pins("requirements.txt")) | (set(pins("requirements-dev.txt")) if dev else set())
    providers = metadata.packages_distributions()
    missing = {
        name: providers.get(name)
        for name in imported(folder)
        if not {provider.lower().replace("_", "-") for provider in providers.get(name, [])} & known
    }
    assert missing == {}


def test_what_pip_installs_has_every_package_and_every_file() -> None:
    """`pip install .` had installed a program without its base, and `pretrain` and `benchmarks` beside it."""
    setup = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "lora_studio").rglob("*.py")}
    assert set(setup["packages"]) == packages | {"lora_studio.assets"}
    packed = set()
    for name, patterns in setup["package-data"].items():
        folder = ROOT / setup["package-dir"].get(name, name.replace(".", "/"))
        packed |= {path for pattern in patterns for path in folder.glob(pattern)}
    files = [path for room in ("lora_studio", "assets") for path in (ROOT / room).rglob("*") if path.is_file()]
    wanted = {path for path in files if path.suffix not in (".py", ".pyc", ".pyi")}
    assert len(wanted) > 200
    assert wanted - packed == set()


def test_torch_is_pinned_and_alone() -> None:
    assert str(pins("requirements.txt")["torch"]) == "torch==2.13.0"
    assert "torchvision" not in read("requirements.txt") + read("requirements-dev.txt")


def test_the_front_matter_names_the_pinned_gradio() -> None:
    assert f"sdk_version: {next(iter(pins('requirements.txt')['gradio'].specifier)).version}" in read("README.md")


def test_the_changelog_knows_this_version_or_what_comes() -> None:
    assert re.search(r"^## \[(Unreleased|\d+\.\d+\.\d+)\]", read("CHANGELOG.md"), re.MULTILINE)
