"""What a plot of the page is drawn in."""

from __future__ import annotations

from math import ceil, floor, log10

from hypothesis import example, given
from hypothesis import strategies as st

from exegete.report.run.figures_scores import densities


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=5))
@example([0.003, 0.006])
@example([0.01])
def test_densities_have_room_and_powers_of_ten(values: list[float]) -> None:
    """All points lie within the axis, and two powers of ten at least, which are its numbers."""
    points = [
        {"status": "review", "density": x, "score": 0.5, "feature_index": i, "polarity": "+"}
        for i, x in enumerate(values)
    ]
    axis = densities(points, [], 0.5)["layout"]["xaxis"]
    low, high = axis["range"]
    assert all(low < log10(x) < high for x in values)
    assert floor(high) - ceil(low) >= 1
    assert axis["dtick"] == 1
