"""Expected levels: the arithmetic, and when there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.llm.slots import LEAST, Odds
from exegete.simulators.expected_level import LEAST_MASS, LEVELS, MOST_POOR, Expected, expected_levels


def odds(**p: float) -> Odds:
    """Logarithms of probabilities by level ("p7"), None for the others."""
    told = {int(name[1:]): value for name, value in p.items()}
    return tuple(math.log(told[level]) if told.get(level) else None for level in range(len(LEVELS)))


def test_a_known_answer() -> None:
    """Levels are sum(i p_i) / sum(p_i), on a scale to 10; missing mass is what other tokens have."""
    found = expected_levels([odds(p0=0.5, p9=0.5), odds(p0=0.2, p3=0.6), odds(p9=0.25)])
    assert isinstance(found, Expected)
    assert found.levels.dtype == np.float32
    assert found.levels.tolist() == pytest.approx([5.0, 2.25 * 10 / 9, 10.0])
    assert found.missing_mass == pytest.approx((0 + 0.2 + 0.75) / 3)


P = st.lists(st.floats(0.02, 1), min_size=10, max_size=10)


@given(st.lists(P, min_size=1, max_size=6), st.floats(0.2, 1))
def test_any_distribution(rows: list[list[float]], told: float) -> None:
    """Against a literal loop; the rest, told or not, changes the missing mass and nothing else."""
    scaled = [[told * p / sum(row) for p in row] for row in rows]
    found = expected_levels([tuple(math.log(p) for p in row) for row in scaled])
    assert isinstance(found, Expected)
    for level, row in zip(found.levels, rows, strict=True):
        assert 0 <= level <= 10
        assert float(level) == pytest.approx(sum(i * p for i, p in enumerate(row)) / sum(row) / 0.9, rel=1e-5)
    assert found.missing_mass == pytest.approx(1 - told, abs=1e-9)


@given(st.integers(1, 40), st.integers(0, 40))
def test_too_little_mass(n: int, poor: int) -> None:
    """With more than a tenth of words without mass an excerpt is missing, and says how many."""
    poor = min(poor, n)
    slots = [odds(p2=LEAST_MASS / 2)] * poor + [odds(p2=LEAST_MASS * 2)] * (n - poor)
    found = expected_levels(slots)
    if poor > MOST_POOR * n:
        assert isinstance(found, str)
        assert f"at {poor} of {n} words they have less than 1% of its probability" in found
    else:
        assert isinstance(found, Expected)
        assert found.levels.tolist() == pytest.approx([20 / 9] * n)


@pytest.mark.parametrize(
    ("slot", "why"),
    [
        (None, "could not be aligned with the words of the prompt"),
        ((None,) * 10, "the model does not answer with levels: at 1 of 20 words"),
        (odds(p1=0.9, p2=0.9), r"add up to 1\.8 at a word"),
    ],
)
def test_one_word_that_can_not_be_read(slot: Odds | None, why: str) -> None:
    """A word without any level leaves its excerpt without levels: there is no zero to put in its place."""
    import re

    found = expected_levels([*[odds(p0=0.9)] * 19, slot])
    assert isinstance(found, str)
    assert re.search(why, found)


def test_no_probability_at_all() -> None:
    """A word whose levels all have probability 0 is silent about its level, and not at level 0."""
    impossible = (LEAST,) * 10
    assert isinstance(expected_levels([odds(p0=0.9), impossible]), str)
    assert isinstance(expected_levels([*[odds(p0=0.9)] * 19, impossible]), Expected)
