"""A real tiny base and adapters for it."""

from __future__ import annotations

import pytest

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.pipeline import SharedBase
from tests.support.tiny import load_tiny, random_adapter, write_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    """A tiny base in float32."""
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def adapter(base: SharedBase) -> CanonicalAdapter:
    """An adapter of rank 3 on attention, convolutions and the text encoder."""
    return random_adapter(base, 1)


@pytest.fixture(scope="module")
def other(base: SharedBase) -> CanonicalAdapter:
    """Another one, of rank 5."""
    return random_adapter(base, 2, rank=5)
