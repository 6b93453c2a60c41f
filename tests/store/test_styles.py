"""Styles in the workspace: per owner, in the order of their first saving, names as they were given."""

from __future__ import annotations

import pytest

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store import Workspace
from lora_studio.types import LOCAL, StyleEntry


def names(workspace: Workspace, owner: str) -> list[str]:
    return [style.name for style in workspace.styles.list(owner)]


def test_saving_replaces_and_keeps_the_place(workspace: Workspace) -> None:
    workspace.styles.save([StyleEntry("B", "ann", "1"), StyleEntry("A", "ann", "2")])
    workspace.styles.save([StyleEntry("B", "ann", "3", "4"), StyleEntry("b", "ann", "5")])
    assert workspace.styles.list("ann") == [
        StyleEntry("B", "ann", "3", "4"),
        StyleEntry("A", "ann", "2"),
        StyleEntry("b", "ann", "5"),
    ]
    workspace.styles.save([])
    assert len(names(workspace, "ann")) == 3


def test_everybody_sees_the_command_line_s_and_nobody_somebody_else_s(workspace: Workspace) -> None:
    workspace.styles.save([StyleEntry("x", LOCAL, "shell"), StyleEntry("y", LOCAL), StyleEntry("x", "ann", "mine")])
    assert [(style.name, style.prompt) for style in workspace.styles.list("ann")] == [("x", "mine"), ("y", "")]
    assert [(style.name, style.prompt) for style in workspace.styles.list("ben")] == [("x", "shell"), ("y", "")]
    with pytest.raises(NotFound):
        workspace.styles.delete("x", "ben")
    workspace.styles.delete("x", "ann")
    assert [style.prompt for style in workspace.styles.list("ann")] == ["shell", ""]


@pytest.mark.parametrize(
    "entry", [StyleEntry(" ", "ann"), StyleEntry("n" * 101, "ann"), StyleEntry("n", "ann", "x" * 10_001)]
)
def test_what_cannot_be_kept(workspace: Workspace, entry: StyleEntry) -> None:
    with pytest.raises(InvalidInput):
        workspace.styles.save([StyleEntry("good", "ann"), entry])
    assert names(workspace, "ann") == [], "all of them or none"
