"""What stands beside a peft file: its patterns are read as peft reads them, and no text of a file is run."""

from __future__ import annotations

import time
from typing import Any

import pytest
from peft.utils.other import get_pattern_key

from lora_studio.adapters.formats.peft_config import ConfigError, PeftConfig

PATHS = (
    "to_k",
    "attn2.to_k",
    "down_blocks.0.attn2.to_k",
    "down_blocks.1.attn2.to_k",
    "down_blocks.0.attn2.to_kk",
    "down_blocks.0.attn2.xto_k",
    "mid.down_blocks.0.attn2.to_k",
    "up_blocks.0.ff.net.2",
)


@pytest.mark.parametrize(
    "patterns",
    [
        ("to_k",),
        ("attn2.to_k", "to_k"),
        ("to_k", "attn2.to_k"),
        ("^down_blocks.0.attn2.to_k",),
        ("^to_k$", "to_k$"),
        ("to_v|net.2",),
        ("down_blocks.*to_k", "to_k"),
        ("to_k", "down_blocks.*to_k"),
        ("^down_blocks.*attn2.*to_k",),
        (r".*\.attn2\.to_k",),
        (r"blocks\.0\.attn2\.to_k", r"down_blocks\.0\.attn2\.to_k"),
        (".*",),
        ("down.*",),
        ("attn2.*attn2.*to_k",),
    ],
)
def test_patterns_as_peft_reads_them(patterns: tuple[str, ...]) -> None:
    table = {pattern: 10.0 + number for number, pattern in enumerate(patterns)}
    config = PeftConfig({"r": 4, "lora_alpha": 4, "rank_pattern": table, "alpha_pattern": table})
    for path in PATHS:
        wanted = table.get(get_pattern_key(table.keys(), path), 4.0)
        assert (config.rank_of(path), config.alpha_of(path, 4)) == (wanted, wanted), path


@pytest.mark.parametrize(
    "data",
    [
        {"alpha_pattern": {r"([\w.]+)+!": 4}},
        {"rank_pattern": {"(a+)+$": 4}},
        {"rank_pattern": {"to_(k|q)": 4}},
        {"rank_pattern": {"": 4}},
        {"rank_pattern": {"to_k\n": 4}},
        {"rank_pattern": {f"a{n}.*b": 4 for n in range(17)}},
        {"rank_pattern": {"a.*" * 20: 4}},
        {"rank_pattern": {"to_k": "\ud800"}},
        {"rank_pattern": [1]},
        {"r": 10**400},
        {"r": True},
        {"num_cayley_neumann_terms": 1e15},
        {"num_cayley_neumann_terms": 1e30},
        {"num_cayley_neumann_terms": 65},
        {"num_cayley_neumann_terms": 2.5},
    ],
)
def test_what_is_not_read_is_refused(data: dict[str, Any]) -> None:
    """Bugs: a pattern was run as a regular expression, in which one can be spelled that never ends; a number of terms
    was counted up to, whatever it was."""
    with pytest.raises(ConfigError) as refused:
        PeftConfig(data)
    assert str(refused.value.reason).startswith("its config says ")
    assert str(refused.value.reason).isprintable()


def test_many_patterns_and_long_names_take_no_time() -> None:
    table = {f"blocks.{n}.to_k": n for n in range(1, 50_000)} | {f"{'a.*' * 7}x{n}": n for n in range(1, 17)}
    began = time.thread_time()
    config = PeftConfig({"alpha_pattern": table})
    for number in range(2000):
        config.alpha_of("a." * 450 + f"blocks.{number}.to_k", 4)
    assert time.thread_time() - began < 3


def test_terms_of_a_series() -> None:
    assert PeftConfig({}).neumann == 5
    assert PeftConfig({"num_cayley_neumann_terms": 64}).neumann == 64
    assert PeftConfig({"num_cayley_neumann_terms": 1e15, "use_cayley_neumann": False}).neumann == 0
