"""What missing judgements could have made of a value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.scorers.classification import Judgements
from exegete.scorers.missing import accuracy_bounds, correlation_bounds
from exegete.scorers.statistics import pair, pearson


@given(seed=st.integers(0, 2**32), sign=st.sampled_from([-1.0, 1.0]), lost=st.integers(0, 6))
def test_bounds_hold_r(seed: int, sign: float, lost: int) -> None:
    """Also of a label that follows the activations the wrong way round, r lies between its bounds."""
    rng = np.random.default_rng(seed)
    true = [np.where(rng.random(9) < 0.2, rng.exponential(1.0, 9), 0.0) * (i < 12) for i in range(24)]
    true[0][0] = 1.0
    levels = [np.clip(np.round(3 + sign * 2 * y + rng.normal(0, 1, 9)), 0, 10) for y in true]
    levels[0][:2] = (5 + 5 * sign, 5 - 5 * sign)
    gone = rng.permutation(np.arange(1, 24))[:lost].tolist()
    left = [i for i in range(24) if i not in gone]
    paired = pair([levels[i] for i in left], [true[i] for i in left])
    value = pearson(paired)
    bounds = correlation_bounds(paired, [true[i] for i in gone])
    assert value is not None
    assert -1 <= bounds.wrong <= value + 1e-9
    assert value - 1e-9 <= bounds.right <= 1
    if not lost:
        assert (bounds.wrong, bounds.right) == (pytest.approx(value), pytest.approx(value))


def test_more_missing_is_less_certain() -> None:
    """Every further missing excerpt of a good label lowers the one bound and raises the other."""
    true = [np.array([0.0, 2.0 + i, 0.0, 1.0]) * (i < 10) for i in range(20)]
    levels = [np.round(2 * y) + (i == 3) for i, y in enumerate(true)]
    found = [correlation_bounds(pair(levels[n:], true[n:]), true[:n]) for n in range(1, 6)]
    wrong = [bounds.wrong for bounds in found]
    assert wrong == sorted(wrong, reverse=True)
    assert len(set(wrong)) == 5
    assert all(bounds.right > bounds.wrong for bounds in found)


@pytest.mark.parametrize(("firing", "silent"), [(0, 0), (3, 0), (0, 2), (4, 5)])
def test_accuracy_bounds_count(firing: int, silent: int) -> None:
    """Missing judgements are added to the counts of their side, all wrong or all right."""
    fires, said = np.arange(12) < 5, np.array([1, 1, 1, 0, 0] + [1] + [0] * 6, dtype=bool)
    bounds = accuracy_bounds(Judgements(fires, said, said.astype(float)), firing, silent)
    assert bounds.wrong == pytest.approx((3 / (5 + firing) + 6 / (7 + silent)) / 2)
    assert bounds.right == pytest.approx(((3 + firing) / (5 + firing) + (6 + silent) / (7 + silent)) / 2)
