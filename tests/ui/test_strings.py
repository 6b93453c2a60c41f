"""Both languages say everything: equal keys, equal blanks, a sentence for every error, every key of the scripts."""

from __future__ import annotations

import ast
import re
import typing
from collections import defaultdict
from pathlib import Path

import pytest

from lora_studio.prompt import notices
from lora_studio.types import RECIPES, AdapterWeight, BaseChoice, GenerateRequest, TrainConfig, describe
from lora_studio.types.jobs import JobKind, JobState
from lora_studio.types.workbench import METHODS, BakeRequest, CombineRequest, RankRule
from lora_studio.ui.texts import FOLDER, LANGUAGES, strings, t

ROOT = Path(__file__).resolve().parents[2]
BLANK = re.compile(r"\{(\w+)\}")
PLACES: tuple[tuple[str, type], ...] = (("t", TrainConfig), ("g", GenerateRequest), ("b", BaseChoice))
CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def blanks(text: str) -> set[str]:
    """Names of what is filled in."""
    return set(BLANK.findall(text))


def constant(node: ast.AST | None) -> str | None:
    """The text of a constant that looks like an error's code."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
        return node.value
    return None


def codes() -> dict[str, list[set[str]]]:
    """Every code of an error in the product, each with the sets of values that its places give ({"*"}: not known)."""
    found: dict[str, list[set[str]]] = defaultdict(list)
    for path in sorted((ROOT / "lora_studio").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                names = {keyword.arg or "*" for keyword in node.keywords}
                for keyword in node.keywords:
                    if keyword.arg == "code":
                        for choice in ast.walk(keyword.value):
                            if (code := constant(choice)) and code != "code":
                                found[code].append(names)
                if "refus" in ast.unparse(node.func):
                    for argument in node.args[:3]:
                        code = constant(argument)
                        if code and "_" in code:
                            found[code].append({"*"})
            elif isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if constant(key) == "code" and (code := constant(value)):
                        found[code].append({"*"})
            elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
                code, sentence = constant(node.elts[0]), node.elts[1]
                if code and isinstance(sentence, ast.Constant) and str(sentence.value).endswith("."):
                    found[code].append({"*"})
    return found


def test_both_languages_have_the_same_keys() -> None:
    english, chinese = strings("en"), strings("zh")
    assert len(english) > 300
    assert set(english) == set(chinese)
    assert list(english) == list(chinese), "the same order, so that they can be read side by side"


def test_the_same_blanks_are_filled_in() -> None:
    english, chinese = strings("en"), strings("zh")
    assert {key: (blanks(english[key]), blanks(chinese[key])) for key in english} == {
        key: (blanks(english[key]), blanks(english[key])) for key in english
    }


def test_every_error_can_be_said() -> None:
    """An error without a text was shown in English to people who had chosen Chinese."""
    known = codes()
    assert len(known) > 90
    missing = {code for code in known if f"error.{code}" not in strings("en")}
    assert missing == set()


def test_every_remark_of_the_prompt_can_be_said() -> None:
    """Each code of `prompt.notices` has a sentence in both languages that asks for no other values than it has."""
    listed = re.findall(r"^    (\w+) +\{([^}]*)\}", notices.__doc__ or "", re.MULTILINE)
    assert len(listed) >= 29
    for lang in LANGUAGES:
        texts = {key.removeprefix("notice.") for key in strings(lang) if key.startswith("notice.")}
        assert texts == {code for code, _ in listed}
        for code, values in listed:
            assert blanks(strings(lang)[f"notice.{code}"]) <= set(values.split(", ")), code


def test_no_text_is_left_of_an_error_that_is_gone() -> None:
    scripts = " ".join(path.read_text(encoding="utf-8") for path in (FOLDER.parent / "static" / "js").glob("*.js"))
    written = {key.removeprefix("error.") for key in strings("en") if key.startswith("error.")}
    gone = {code for code in written - set(codes()) if f'"{code}"' not in scripts and f"error.{code}" not in scripts}
    assert gone == set()


def test_errors_fill_their_blanks_somewhere() -> None:
    """A blank that no place of the error gives a value for would never be shown."""
    empty = {}
    for code, places in codes().items():
        wanted = blanks(strings("en")[f"error.{code}"])
        if not any("*" in names or wanted <= names for names in places):
            empty[code] = wanted
    assert empty == {}


@pytest.mark.parametrize(("cls", "place"), [(TrainConfig, "t"), (GenerateRequest, "g")])
def test_labels_and_help_are_those_of_the_fields(cls: type, place: str) -> None:
    english = strings("en")
    shown = [field for field in describe(cls) if f"help.{place}.{field.name}" in english]
    assert len(shown) >= 7
    assert {field.name: english[f"help.{place}.{field.name}"] for field in shown} == {
        field.name: field.doc for field in shown
    }
    assert [field.name for field in shown if f"field.{field.name}" not in english] == []
    unnamed = {field.name for field in describe(cls)} - {field.name for field in shown}
    assert unnamed <= {"recipe", "dataset", "prompt", "negative_prompt", "strength"}


def test_choices_and_recipes_have_names() -> None:
    english = strings("en")
    wanted = [f"choice.{choice}" for field in describe(TrainConfig) for choice in field.choices]
    named = [key for key in wanted if key.removeprefix("choice.") not in RECIPES]
    assert [key for key in named if key not in english] == []
    assert [kind for kind in RECIPES if f"recipe.{kind}" not in english] == []


def test_every_kind_of_job_has_words_in_the_head() -> None:
    """While the workbench was at work the head of the page said `strip.workbench.other`."""
    kinds = typing.get_args(JobKind)
    assert len(kinds) >= 7
    assert [
        key for kind in kinds for key in (f"strip.{kind}.mine", f"strip.{kind}.other") if key not in strings("en")
    ] == []


def test_the_scripts_ask_for_no_key_that_is_not_there() -> None:
    english = strings("en")
    asked: set[str] = set()
    for path in (FOLDER.parent / "static" / "js").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        asked |= set(re.findall(r'\bt\("([\w.]+)"', text))
        asked |= {f"{key}.{n}" for key in re.findall(r'\bmany\("([\w.]+)"', text) for n in ("one", "many")}
        for yes, no in re.findall(r'\bt\([^"()]+\? "([\w.]+)" : "([\w.]+)"', text):
            asked |= {yes, no}
    assert len(asked) > 150
    assert {key for key in asked if key not in english} == set()


def scripts() -> tuple[set[str], set[str]]:
    """The texts that scripts write out whole, and the beginnings of those that they put together."""
    whole: set[str] = set()
    begun: set[str] = set()
    for path in (FOLDER.parent / "static" / "js").glob("*.js"):
        text = re.sub(r"^\s*//.*$|^import .*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        text = re.sub(r"\b(?:h|button)\((?:\"[^\"]*\"|`[^,]*)", "", text)  # tags and classes of elements
        whole |= set(re.findall(r'"([a-z_]+(?:\.[\w+ -]+)*)"', text))
        begun |= set(re.findall(r"`([a-z_]+\.[\w.]*)\$\{", text))
    return whole, begun


def test_no_key_that_scripts_write_out_or_begin_is_missing() -> None:
    """Only `t("...")` was looked at: keys that are chosen by a condition, listed, or put together were not."""
    english = strings("en")
    rooms = {key.split(".")[0] for key in english if "." in key}
    whole, begun = scripts()
    asked = {key for key in whole if "." in key and key.split(".")[0] in rooms} - {"styles.csv"}
    assert len(asked) > 400
    started = {key.rpartition(".")[0] for key in english}
    assert asked - set(english) - started == set()
    assert {"strip.", "state.", "phase.", "bench.how.", "badge.", "library.file."} <= begun
    made = {key for key in begun if key.split(".")[0] in rooms}
    assert {key for key in made if not any(one.startswith(key) for one in english)} == set()


def test_the_ends_of_keys_that_scripts_put_together_are_all_there() -> None:
    english = strings("en")
    wanted = [f"state.{state}" for state in typing.get_args(JobState)]
    wanted += [f"badge.{code}{why}" for code in ("ok", "small", "blurry", "twin") for why in ("", ".why")]
    phases = ("encode", "sample", "decode", "export", "load", "workbench", "download", "train")
    wanted += [f"phase.{name}" for name in phases]
    wanted += [f"bench.method.{name}" for name in METHODS]
    wanted += [f"bench.how.{name.removesuffix('_svd')}" for name in METHODS]
    wanted += [f"save.{how}" for how in ("saving", "saved", "failed")]
    assert [key for key in wanted if key not in english] == []


def test_no_text_is_left_that_nobody_asks_for() -> None:
    """Four texts were of fields and words that are gone."""
    whole, begun = scripts()
    for path in FOLDER.parent.glob("*.py"):
        whole |= set(re.findall(r'"([a-z_.]+)"', path.read_text(encoding="utf-8")))

    def asked(key: str) -> bool:
        return key in whole or key.rpartition(".")[0] in whole or any(key.startswith(start) for start in begun)

    assert [key for key in strings("en") if not asked(key)] == []
    fields = {f"help.{place}.{field.name}" for place, cls in PLACES for field in describe(cls)}
    assert {key for key in strings("en") if key.startswith("help.")} <= fields


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_allowed_can_be_said(lang: str) -> None:
    """Chinese sentences said "16 to 4096" and "a text" in English: the page puts these forms into its own words."""
    forms = re.compile(r"one of .+|\S+ to \S+|\S+ or more|any value")
    for _, cls in (*PLACES, ("", AdapterWeight), ("", CombineRequest), ("", RankRule), ("", BakeRequest)):
        assert [field.allowed for field in describe(cls) if not forms.fullmatch(field.allowed)] == []
    tree = ast.parse((FOLDER.parent / "studio.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "_bad"]
    said = {ast.literal_eval(call.args[2]) for call in calls}
    assert len(said) >= 5
    assert {f"allowed.{words}" for words in said} <= set(strings(lang))
    keys = ("whole", "number", "of", "range", "least", "one_of", "list_most", "any value")
    assert {f"allowed.{key}" for key in keys} <= set(strings(lang))


def test_filling_in() -> None:
    assert t("en", "time.s", s=5) == "5 s"
    assert t("zh", "time.s", s=5) == "5 秒"
    with pytest.raises(KeyError):
        t("en", "no such key")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_markup_in_texts(lang: str) -> None:
    assert [text for text in strings(lang).values() if re.search(r"<\w|\$\{", text)] == []
