"""The documentation says what the code says: options, settings and fields, pins and ranges, commands and links."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import sys
import tomllib
import typing
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lora_studio.cli.options import GenerateOptions, InfotextOptions, PromptOptions, ServeOptions, TrainOptions
from lora_studio.settings import Settings
from lora_studio.types import GenerateRequest, TrainConfig
from scripts import docs

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "README.zh.md", "CONTRIBUTING.md", "docs/reference.md")


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


@pytest.mark.parametrize("options", [TrainOptions, GenerateOptions, InfotextOptions, PromptOptions, ServeOptions])
def test_every_option_stands_in_the_reference(options: type) -> None:
    reference = read("docs/reference.md")
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        info = hint.__metadata__[0]
        flag = info.metavar if name in ("folder", "file") else (info.param_decls or (info.default,))[0]
        assert f"| `{flag}" in reference, name
        assert info.help, name


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
    named = re.findall(r"(?<!\*)\*\*?([^*]+)\*\*?(?!\*)", section)
    assert len(named) >= 6
    assert [word for word in named if word not in shown and word not in ("cat ears", "猫耳")] == []


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


def test_torch_is_pinned_and_alone() -> None:
    assert str(pins("requirements.txt")["torch"]) == "torch==2.13.0"
    assert "torchvision" not in read("requirements.txt") + read("requirements-dev.txt")


def test_the_space_runs_the_pinned_gradio() -> None:
    assert f"sdk_version: {next(iter(pins('requirements.txt')['gradio'].specifier)).version}" in read("README.md")


def test_the_changelog_knows_this_version_or_what_comes() -> None:
    assert re.search(r"^## \[(Unreleased|\d+\.\d+\.\d+)\]", read("CHANGELOG.md"), re.MULTILINE)
