"""q-values against statsmodels, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from exegete.scorers.classification import Judgements, balanced_accuracy, dealt_balanced_accuracies
from exegete.scorers.multiplicity import q_values
from exegete.scorers.resampling import compare

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


def test_false_discoveries_among_ten_thousand_features() -> None:
    """With p-values of our own deals, unscorable features counted, at most 5% of q <= .05 are false."""
    rng = np.random.default_rng(1)
    fires = np.arange(24) < 12
    p_values: list[float | None] = []
    random = rng.random(10_000) < 0.8
    for label_is_random in random:
        if rng.random() < 0.1:
            p_values.append(None)
            continue
        said = rng.random(24) < (0.4 if label_is_random else np.where(fires, 0.95, 0.05))
        judged = Judgements(fires, said, said.astype(float))
        p_values.append(compare(balanced_accuracy(judged), dealt_balanced_accuracies(judged, 0, 999)).p_value)
    qs = q_values(p_values)
    found = np.array([q is not None and q <= 0.05 for q in qs])
    true = found & ~random
    assert true.sum() > 1500
    share = 1 - true.sum() / found.sum()
    assert share < 0.05 + 2 * np.sqrt(0.05 * 0.95 / found.sum())
    uncounted = [q for q in q_values(p_values, count_missing=False) if q is not None and q <= 0.05]
    assert len(uncounted) >= found.sum()


def test_false_discoveries_at_the_nominal_level() -> None:
    """Over runs of 10,000 features whose null p-values are uniform, 5% of discoveries are false, or fewer."""
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(60):
        p_values = np.concatenate([rng.random(7500), rng.beta(0.05, 1, 2000)])
        found = np.array(q_values([*p_values.tolist(), *[None] * 500], count_missing=True)[:9500]) <= 0.05
        shares.append(found[:7500].sum() / max(1, found.sum()))
    error = np.std(shares) / np.sqrt(len(shares))
    assert 0.03 < np.mean(shares) <= 0.05 + 3 * error


def test_impossible_p_values_are_refused() -> None:
    """A p-value outside [0, 1] is an error."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        q_values([0.5, 1.5])
    assert q_values([None, None]) == [None, None]
    assert q_values([]) == []
