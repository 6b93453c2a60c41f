"""Both sides of the comparison with diffusers draw the same picture, so that their seconds may be compared."""

from __future__ import annotations

import pytest

from benchmarks import peer
from benchmarks.studio import embedded_base


@pytest.mark.slow
def test_both_sides_draw_the_same_picture() -> None:
    figures = peer.compare(embedded_base("cpu", "float32"), 1, 3)
    assert figures["largest_difference_of_255"] <= 1
    assert figures["pixels_that_differ"] < 0.01
    assert figures["ours_by_diffusers"] == pytest.approx(
        figures["ours_seconds"] / figures["diffusers_seconds"], rel=0.01
    )
    assert figures["ours_by_diffusers_least"] <= figures["ours_by_diffusers"] <= figures["ours_by_diffusers_most"]
