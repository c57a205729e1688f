"""How much of what fires do accepted labels hold?

1. Every firing of every harvested feature in the quiet pool, which is a uniform sample of the corpus's
   contexts and keeps all of them, belongs to a feature and so to the verdict on it.
2. It counts in three ways: as one; by its activation in raw units, which is the *firing mass*; and by its
   activation over the feature's maximum, which makes features of different scales alike.
3. A verdict's share is the sum over its features' firings over the sum over all features' firings.
4. Contexts are what was sampled: the interval is that of 2,000 resamples of contexts [percentile bootstrap of
   a ratio of sums; Efron & Tibshirani 1993, §13.3]. That verdicts could have been others is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exegete.datastore.database import connect
from exegete.datastore.evidence_writer import read_manifest
from exegete.datastore.records import STATUSES
from exegete.datastore.store import Store
from exegete.errors import WorkspaceError
from exegete.scorers.resampling import percentile_interval

RESAMPLES = 2000
_AT_ONCE = 100
"""Resamples drawn together, so that memory stays small with a large pool."""
NOT_ATTEMPTED = "not attempted"
ORDER = (*STATUSES, NOT_ATTEMPTED)
COUNTED = ("firings", "mass", "relative mass")
"""Ways in which a firing counts, in the order of the columns of `_MASS`."""

_VERDICTS = "SELECT feature_index, polarity, status FROM outcomes WHERE run = ? ORDER BY ALL"
_MASS = f"""
SELECT q.context_id, coalesce(v.status, '{NOT_ATTEMPTED}') AS status,
    sum(len(q.activations)) AS firings,
    sum(list_sum(q.activations::DOUBLE[])) AS mass,
    sum(list_sum(q.activations::DOUBLE[]) / nullif(f.maximum, 0)) AS relative
FROM quiet_activations q
JOIN features f ON f.feature_index = q.feature_index AND f.polarity = q.polarity
LEFT JOIN verdicts v ON v.feature_index = q.feature_index AND v.polarity = q.polarity
GROUP BY ALL ORDER BY ALL
"""
_FEATURES = f"""
SELECT coalesce(v.status, '{NOT_ATTEMPTED}') AS status, count(*) AS n
FROM features f LEFT JOIN verdicts v ON v.feature_index = f.feature_index AND v.polarity = f.polarity
GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of everything that fires."""

    value: float
    low: float | None
    high: float | None
    """95% interval over contexts."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What fires in the quiet pool, by the verdict on the feature that fires."""

    contexts: int
    """Contexts in the pool."""
    features: Mapping[str, int]
    """Harvested features by verdict; they sum to all."""
    shares: Mapping[str, Mapping[str, Share]]
    """By verdict, then by how a firing counts (`COUNTED`); of each way they sum to 1."""
    presumed: bool
    """Whether silence is only presumed, as in some imports: then firings are missing from the pool."""

    def accepted(self, counted: str = "mass") -> Share:
        """What features with an accepted label hold."""
        return self.shares["accepted"][counted]


def coverage(store: Store, run: str, evidence: Path, seed: int) -> Coverage | str:
    """What share of the quiet pool's firings belongs to features of each verdict of a run.

    Args:
        store: the labels file.
        run: the run.
        evidence: the file of the harvest that it labelled.
        seed: of the resamples.

    Returns:
        The shares; or, in a sentence, why there are none.
    """
    verdicts = store.reading(lambda con: con.sql(_VERDICTS, params=[run]).to_arrow_table())
    try:
        presumed = read_manifest(evidence).parameters.get("silence") == "presumed"
        with connect(evidence, read_only=True) as con:
            pool, features = _read(con, verdicts)
    except (WorkspaceError, duckdb.Error):
        return (
            f"The evidence file {evidence.name} is not in this workspace, or can't be read: put it back "
            "under evidence/ to have this."
        )
    if not pool.sum():
        return (
            "Nothing fires in the quiet pool of this harvest, or it has none: harvest with a larger "
            "`--quiet` to have this."
        )
    return Coverage(len(pool), features, shares_of(pool, seed), presumed)


def _read(con: duckdb.DuckDBPyConnection, verdicts: pa.Table) -> tuple[NDArray[np.float64], dict[str, int]]:
    """Sums by context, verdict and way of counting, (contexts, len(ORDER), len(COUNTED)); features by "
    "verdict."""
    con.register("verdicts", verdicts)
    ids = [row[0] for row in con.execute("SELECT context_id FROM contexts WHERE quiet ORDER BY 1").fetchall()]
    place = {context: row for row, context in enumerate(ids)}
    pool = np.zeros((len(ids), len(ORDER), len(COUNTED)))
    for context, status, *sums in con.execute(_MASS).fetchall():
        pool[place[context], ORDER.index(status)] = [value or 0.0 for value in sums]
    found = dict(con.execute(_FEATURES).fetchall())
    return pool, {status: int(found.get(status, 0)) for status in ORDER}


def shares_of(pool: NDArray[np.float64], seed: int) -> dict[str, dict[str, Share]]:
    """Shares with their intervals, by verdict and way of counting.

    Args:
        pool: (contexts, len(ORDER), len(COUNTED)) sums of each context; something fires.
        seed: of the resamples.
    """
    n, rng = len(pool), np.random.default_rng([seed, 7])
    flat = pool.reshape(n, -1)
    sums = np.concatenate(
        [rng.multinomial(n, np.full(n, 1 / n), size=_AT_ONCE) @ flat for _ in range(RESAMPLES // _AT_ONCE)]
    ).reshape(RESAMPLES, len(ORDER), len(COUNTED))
    totals = sums.sum(axis=1, keepdims=True)
    resampled = np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)
    whole = pool.sum(axis=0)
    found: dict[str, dict[str, Share]] = {}
    for i, status in enumerate(ORDER):
        found[status] = {}
        for j, counted in enumerate(COUNTED):
            ends = percentile_interval(resampled[:, i, j])
            found[status][counted] = Share(float(whole[i, j] / whole[:, j].sum()), ends.low, ends.high)
    return found


def as_json(found: Coverage) -> dict[str, Any]:
    """Plain numbers, for `--json`."""
    return {
        "contexts": found.contexts,
        "features": dict(found.features),
        "shares": {
            status: {
                counted: {"value": share.value, "low": share.low, "high": share.high}
                for counted, share in by_way.items()
            }
            for status, by_way in found.shares.items()
        },
        "silence_presumed": found.presumed,
    }
