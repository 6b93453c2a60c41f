"""All sides of the grid's benchmark draw the same pictures, so that their seconds may be compared."""

from __future__ import annotations

import pytest

from benchmarks import grid
from benchmarks.studio import embedded_base


@pytest.mark.slow
def test_all_sides_draw_the_same_pictures() -> None:
    figures = grid.compare(embedded_base("cpu", "float32"), 1, 3)
    assert set(figures["largest_difference_of_255"]) == {"one by one", "diffusers"}
    assert max(figures["largest_difference_of_255"].values()) <= 1
    for side, ratio in figures["grid_by"].items():
        assert ratio == pytest.approx(figures["seconds"]["grid"] / figures["seconds"][side], rel=0.02)
