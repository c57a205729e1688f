"""How far reviewers agree: Cohen's kappa, Krippendorff's alpha, and what they disagree on.

A *unit* is a label of a feature, a *rating* what a reviewer's first decision says of it:

    accept          right
    edit, reject    not right
    edit            its own text, right: whoever writes a label accepts it

Only first decisions count, as later ones may be made after a talk about it. Kappa [Cohen 1960] is of two
reviewers, over the units that both rated; alpha for nominal data [Krippendorff 2011, section B] of all, over
the units that two or more rated. 1 is agreement, 0 what chance gives. Intervals are percentiles over
resampled units; where a resample has one answer only, neither is defined, and the resample counts for none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.store import Store

Ratings = Mapping[tuple[str, ...], Mapping[str, bool]]
"""By unit, what each reviewer said: whether the label is right."""

_Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]

RESAMPLES = 2000
SEED = 0

OPEN_DISAGREEMENTS = """
    SELECT harvest, feature_index, polarity FROM store.decided
    GROUP BY harvest, feature_index, polarity, label_before
    HAVING count(*) = 2 AND count(DISTINCT reviewer) = 2 AND count(DISTINCT decision = 'accept') = 2"""
"""SQL: features of which two people said different things of one label; a third decision closes it."""

_FIRST = """
WITH rating AS (
    SELECT *, label_before AS label, decision = 'accept' AS is_right FROM store.decided
    WHERE label_before IS NOT NULL
    UNION ALL
    SELECT *, text AS label, true AS is_right FROM store.decided WHERE decision = 'edit'
)
SELECT harvest, feature_index, polarity, label, reviewer, is_right FROM rating
QUALIFY row_number() OVER (
    PARTITION BY harvest, feature_index, polarity, label, reviewer ORDER BY made_at
) = 1
ORDER BY ALL"""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A measure of agreement with its interval."""

    value: float | None
    """None where it is not defined: nothing was rated twice, or everybody always said the same."""
    low: float | None
    """95% percentile interval over units; None where fewer than half of the resamples have a value."""
    high: float | None
    n: int
    """Units rated by two reviewers or more."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the reviewers of a workspace agree."""

    reviewers: tuple[str, ...]
    alpha: Coefficient
    kappa: Mapping[tuple[str, str], Coefficient]
    """By pair of reviewers who have a unit in common."""
    same: float | None
    """Share of pairs of ratings that are equal; None without one."""
    disagreements: int
    """Features two people disagree on, with nobody having decided since."""


def agreement(store: Store) -> Agreement:
    """Agreement over everything that was decided by more than one person.

    Raises:
        WorkspaceBusy: a writer holds the labels file for too long.
    """
    ratings: dict[tuple[str, ...], dict[str, bool]] = {}
    for row in store.read(_FIRST):
        unit = (row["harvest"], str(row["feature_index"]), row["polarity"], row["label"])
        ratings.setdefault(unit, {})[row["reviewer"]] = row["is_right"]
    shared = {unit: said for unit, said in ratings.items() if len(said) > 1}
    reviewers = tuple(sorted({name for said in shared.values() for name in said}))
    pairs = {
        pair: kappa(shared, pair)
        for pair in combinations(reviewers, 2)
        if any(pair[0] in said and pair[1] in said for said in shared.values())
    }
    equal = [a == b for said in shared.values() for a, b in combinations(said.values(), 2)]
    (found,) = store.read(f"SELECT count(*) AS n FROM (SELECT DISTINCT * FROM ({OPEN_DISAGREEMENTS}))")
    return Agreement(
        reviewers, alpha(shared), pairs, float(np.mean(equal)) if equal else None, int(found["n"])
    )


def kappa(ratings: Ratings, pair: tuple[str, str]) -> Coefficient:
    """Cohen's kappa of two reviewers, over the units that both rated.

    Args:
        ratings: what was said of each unit.
        pair: the two.
    """
    both = [(said[pair[0]], said[pair[1]]) for said in ratings.values() if set(pair) <= said.keys()]
    # A unit's counts: both said right, only the first, only the second, neither.
    counts = np.array([[a and b, a and not b, b and not a, not (a or b)] for a, b in both], dtype=np.float64)
    return _with_interval(counts.reshape(-1, 4), _kappas)


def alpha(ratings: Ratings) -> Coefficient:
    """Krippendorff's alpha for nominal data, over the units that two reviewers or more rated.

    Args:
        ratings: what was said of each unit.
    """
    said = [list(one.values()) for one in ratings.values() if len(one) > 1]
    # A unit's ratings, those that say right, and its pairs of different ones over its ratings less one.
    counts = np.array(
        [[len(one), sum(one), sum(one) * (len(one) - sum(one)) / (len(one) - 1)] for one in said],
        dtype=np.float64,
    )
    return _with_interval(counts.reshape(-1, 3), _alphas)


def _kappas(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 4) sums of counts to (n,) kappas; NaN where chance alone gives agreement."""
    yes_yes, yes_no, no_yes, no_no = sums.T
    n = sums.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        observed = (yes_yes + no_no) / n
        first, second = (yes_yes + yes_no) / n, (yes_yes + no_yes) / n
        expected = first * second + (1 - first) * (1 - second)
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def _alphas(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) sums of counts to (n,) alphas: 1 - observed / expected disagreement; NaN without two answers."""
    n, right, apart = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = right * (n - right) / (n - 1)
        return np.where(expected > 0, 1 - apart / expected, np.nan)


def _with_interval(counts: NDArray[np.float64], statistic: _Statistic) -> Coefficient:
    """A coefficient of summed counts, with its interval over resampled units (rows)."""
    n = len(counts)
    if n == 0:
        return Coefficient(None, None, None, 0)
    value = float(statistic(counts.sum(axis=0, keepdims=True))[0])
    if np.isnan(value):
        return Coefficient(None, None, None, n)
    # Units with equal counts are one kind: a resample is a draw of how often each kind is taken.
    kinds, frequency = np.unique(counts, axis=0, return_counts=True)
    drawn = np.random.default_rng(SEED).multinomial(n, frequency / n, size=RESAMPLES)
    values = statistic(drawn @ kinds)
    values = values[~np.isnan(values)]
    if len(values) < RESAMPLES / 2:
        return Coefficient(value, None, None, n)
    low, high = np.quantile(values, [0.025, 0.975])
    return Coefficient(value, float(low), float(high), n)
