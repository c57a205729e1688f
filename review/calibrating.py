"""What reviews say of scores: how often labels are accepted, by score, and which threshold would hold to 95%.

Only cards of the random slice are used (`exegete.review.audit`): of cards that people were sent for a reason
the share they accept says nothing of the others.

*The threshold for a rate.* At threshold t a run accepts the labels whose interval is clear of it, low >= t,
and that nothing else speaks against. P(accepted by a person | low) is fitted as a rising step function
[isotonic regression: Ayer et al. 1955]; the mean of it over all cards with low >= t rises with t, and the
threshold is the least t at which it reaches the rate. Its interval comes from resampling cards; a resample in
which no threshold reaches the rate counts as one above all.

No status is changed here: `preview` says what another threshold would do, and
`exegete.agent.rethreshold.set_threshold` does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import duckdb
import numpy as np
from numpy.typing import NDArray

from exegete.agent.confidence import map_confidence
from exegete.agent.rethreshold import find_changed
from exegete.datastore.records import Status
from exegete.datastore.store import Store
from exegete.errors import UsageError
from exegete.review.worth import SETTLED
from exegete.scorers.calibration import jeffreys

RATE = 0.95
"""Share of labels above a threshold that people are to accept."""
BANDS = 10
"""Bands of score between 0 and 1; what is below 0 is one more."""
LEAST = 20
"""Random cards that a threshold is read from, at least."""
RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True, slots=True)
class Audited:
    """Random cards of a run that were decided about the run's own label, n of them."""

    score: NDArray[np.float64]
    """(n,) primary score on the report split; NaN where it is undefined."""
    low: NDArray[np.float64]
    """(n,) lower end of its interval; NaN where there is none."""
    plain: NDArray[np.bool_]
    """(n,) whether there is no reason to doubt the label but its interval."""
    right: NDArray[np.bool_]
    """(n,) whether the label was accepted as it stood."""


@dataclass(frozen=True, slots=True)
class Band:
    """Labels whose scores lie close together, and how many of them people accepted."""

    low: float
    """Scores from this (-1 in the first band) ..."""
    high: float
    """... to below this; with it in the last band."""
    n: int
    accepted: int
    rate: float
    rate_low: float
    """95% Jeffreys interval of the rate."""
    rate_high: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """The least threshold above which people accept a share of labels."""

    wanted: float
    """The share."""
    value: float | None
    """None where no threshold has it, or too few cards were decided."""
    low: float | None
    """95% interval; its upper end is None where no threshold may have it."""
    high: float | None
    n: int
    """Random cards it is read from: decided, with an interval, and nothing else to doubt."""
    n_above: int
    """Of them, clear of the threshold."""
    accepted_above: int
    """Of these, accepted by people."""
    why_none: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What another threshold would change; labels that people decided about stay as they are."""

    run: str
    threshold: float
    before: Mapping[Status, int]
    """Labels of the run that are current, by status as it is."""
    after: Mapping[Status, int]
    """And as it would be."""
    moved: Mapping[tuple[Status, Status], int]
    """How many go from which status to which."""
    decided: int
    """Labels that people decided about."""


def refresh(store: Store, run: str) -> None:
    """Map a run's confidence by all that was decided, which `record` does only now and then.

    Raises:
        WorkspaceBusy: another process holds the labels file for too long.
    """
    store.write(lambda con: map_confidence(con, run))


def audited(store: Store, run: str) -> Audited:
    """The random cards of a run that were decided; of each the latest decision that stands.

    Raises:
        WorkspaceBusy: a writer holds the labels file for too long.
    """
    rows = store.read(_AUDITED, [SETTLED, run])

    def floats(name: str) -> NDArray[np.float64]:
        return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)

    return Audited(
        floats("score"),
        floats("low"),
        np.array([row["plain"] for row in rows], dtype=np.bool_),
        np.array([row["is_right"] for row in rows], dtype=np.bool_),
    )


def accept_rates(cards: Audited) -> list[Band]:
    """How often people accepted, by band of score; bands that hold no card are left out."""
    edges = [-1.0, *np.linspace(0.0, 1.0, BANDS + 1).tolist()]
    known = ~np.isnan(cards.score)
    place = np.searchsorted(edges[1:-1], cards.score[known], side="right")
    bands = []
    for i in np.unique(place).tolist():
        right = cards.right[known][place == i]
        n, k = len(right), int(right.sum())
        bands.append(Band(edges[i], edges[i + 1], n, k, k / n, *jeffreys(k, n)))
    return bands


def threshold_for(cards: Audited, rate: float = RATE) -> Threshold:
    """The least threshold above which people accept at least a share of the labels.

    Args:
        cards: random cards that were decided.
        rate: the share, 0 to 1.
    """
    use = cards.plain & ~np.isnan(cards.low)
    low, right = cards.low[use], cards.right[use]
    n = len(low)
    if n < LEAST:
        why = f"a threshold needs {LEAST} random cards that count, and {n} do"
        return Threshold(rate, None, None, None, n, 0, 0, why)
    value = _least(low, right, rate)
    rng = np.random.default_rng(SEED)
    drawn = np.sort([_least(low[i], right[i], rate) for i in rng.integers(0, n, (RESAMPLES, n))])
    ends = [float(drawn[int(q * (RESAMPLES - 1))]) for q in (0.025, 0.975)]
    if value == inf:
        why = f"people accept fewer than {rate:.0%} above every threshold"
        return Threshold(rate, None, _finite(ends[0]), None, n, 0, 0, why)
    above = low >= value
    return Threshold(
        rate,
        value,
        _finite(ends[0]),
        _finite(ends[1]),
        n,
        int(above.sum()),
        int(right[above].sum()),
    )


def preview(store: Store, run: str, threshold: float) -> Preview:
    """What a threshold would change, before it is set.

    Raises:
        UsageError: there is no such run, it has no current label, or the threshold is none.
        WorkspaceBusy: a writer holds the labels file for too long.
    """

    def work(con: duckdb.DuckDBPyConnection) -> Preview:
        find_changed(con, run, threshold)
        # What an earlier threshold changed and this one does not is again as the run said.
        rows = con.execute(_MOVES, [run]).fetchall()
        if not rows:
            raise UsageError(f"a later run has labelled all features of {run} again: choose that one")
        before: Counter[Status] = Counter()
        after: Counter[Status] = Counter()
        for old, new, _, n in rows:
            before[old] += n
            after[new] += n
        moved: Counter[tuple[Status, Status]] = Counter()
        for old, new, _, n in rows:
            if old != new:
                moved[old, new] += n
        return Preview(run, threshold, before, after, moved, sum(n for *_, decided, n in rows if decided))

    return store.reading(work)


_MOVES = """
SELECT l.status, CASE WHEN l.reviewer IS NULL THEN coalesce(n.status, o.status) ELSE l.status END AS after,
    l.reviewer IS NOT NULL AS decided, count(*)
FROM labels l
JOIN store.outcomes o
    ON o.run = l.run AND o.harvest = l.harvest
    AND o.feature_index = l.feature_index AND o.polarity = l.polarity
LEFT JOIN changed n
    ON n.harvest = l.harvest AND n.feature_index = l.feature_index AND n.polarity = l.polarity
WHERE l.run = ?
GROUP BY ALL ORDER BY ALL"""

_AUDITED = """
SELECT o.score, o.low, r.decision = 'accept' AS is_right,
    len(list_filter(coalesce(o.reasons, []), lambda reason: reason != ?)) = 0 AS plain
FROM store.outcomes o JOIN store.decided r
    ON r.harvest = o.harvest AND r.feature_index = o.feature_index AND r.polarity = o.polarity
    AND r.label_before = o.label AND r.audit
WHERE o.run = ?
QUALIFY row_number() OVER (PARTITION BY o.harvest, o.feature_index, o.polarity ORDER BY r.made_at DESC) = 1
ORDER BY o.harvest, o.feature_index, o.polarity"""


def _least(low: NDArray[np.float64], right: NDArray[np.bool_], rate: float) -> float:
    """The least of some lower ends above which the fitted rate is reached; infinite where none is."""
    from scipy.optimize import isotonic_regression

    at, place = np.unique(low, return_inverse=True)
    weights = np.bincount(place).astype(np.float64)
    fitted = isotonic_regression(np.bincount(place, weights=right) / weights, weights=weights).x
    # Means of the fit over all cards from each lower end on, from the highest down.
    above = np.cumsum((fitted * weights)[::-1])[::-1] / np.cumsum(weights[::-1])[::-1]
    reached = np.flatnonzero(above >= rate - 1e-12)
    return float(at[reached[0]]) if len(reached) else inf


def _finite(value: float) -> float | None:
    return None if value == inf else value
