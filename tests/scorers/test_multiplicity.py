"""q-values against statsmodels, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from exegete.scorers.multiplicity import q_values

P_VALUES = st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=60)


@given(P_VALUES)
def test_missing_ones_count_as_one(p_values: list[float | None]) -> None:
    """They are statsmodels' with 1 for what is missing; what is missing stays so."""
    expected = multipletests([1.0 if p is None else p for p in p_values], method="fdr_bh")[1]
    for p, q, other in zip(p_values, q_values(p_values), expected, strict=True):
        assert (q is None) == (p is None)
        assert q is None or q == pytest.approx(other, abs=1e-12)


@given(P_VALUES)
def test_missing_ones_left_out(p_values: list[float | None]) -> None:
    """Not counted, they change nothing about the others, and q-values can only be smaller."""
    given = [p for p in p_values if p is not None]
    qs = q_values(p_values, count_missing=False)
    expected = multipletests(given, method="fdr_bh")[1].tolist() if given else []
    assert [q for q in qs if q is not None] == pytest.approx(expected, abs=1e-12)
    for q, counted in zip(qs, q_values(p_values), strict=True):
        assert q is None or counted is None or q <= counted + 1e-12


def test_false_discoveries() -> None:
    """With 160 of 200 features random, no more than 5% of those with q <= .05 are, over many runs."""
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        p_values = np.concatenate([rng.random(160), rng.beta(0.05, 1, 40)])
        found = np.array(q_values(p_values.tolist())) <= 0.05
        shares.append(found[:160].sum() / max(1, found.sum()))
    assert 0.02 < np.mean(shares) <= 0.05


def test_impossible_p_values_are_refused() -> None:
    """A p-value outside [0, 1] is an error."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        q_values([0.5, 1.5])
    assert q_values([None, None]) == [None, None]
    assert q_values([]) == []
