"""A feature's nearest neighbours: those that fire on the same words, in whatever text.

A label collides with another feature when it would do for that one too, and that is likeliest where both fire
on like text, not where they happen to fire in the same places. So features are compared by what they fire on:

1. A feature's *profile* is, over its strongest contexts of the explain split, the share of the context's peak
   that each firing token has, added up by token (stripped, lower case).
2. Each token is weighed by log(features / features that have it), and the heaviest `TOKENS` are kept.
3. The nearest are those of the largest cosine.

No split but explain decides who is near. Profiles, and where features fire most strongly in the quiet pool,
are read when they are first asked for, each in one query; sums are of whole numbers, and so the same whatever
order threads take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from exegete.datastore.evidence_rows import Key
from exegete.datastore.records import Split

CONTEXTS = 10
"""Strongest contexts a profile is made of."""
TOKENS = 32
"""Tokens a profile keeps."""
FIRINGS = 32
"""Strongest firings in the pool that are kept of a feature and split."""

_PROFILES = """
WITH firing AS (
    SELECT feature_index, polarity, context_id, peak, unnest(positions) AS place, unnest(activations) AS value
    FROM examples WHERE split = 'explain' AND rank < $contexts AND peak > 0
), counted AS (
    SELECT feature_index, polarity, lower(trim(tokens[place + 1])) AS token,
        sum(CAST(round(1000 * value / peak) AS BIGINT)) AS thousandths
    FROM firing JOIN contexts USING (context_id) WHERE contexts.split = 'explain' GROUP BY ALL
), weighed AS (
    SELECT *, thousandths * ln($features / count(*) OVER (PARTITION BY token)) AS weight FROM counted
)
SELECT feature_index, polarity, token, weight FROM weighed WHERE weight > 0
QUALIFY row_number() OVER (PARTITION BY feature_index, polarity ORDER BY weight DESC, token) <= $tokens
ORDER BY feature_index, polarity, token
"""
_FIRINGS = """
WITH strongest AS (
    SELECT feature_index, polarity, split, context_id, list_max(activations) AS peak,
        positions[list_position(activations, list_max(activations))] AS place
    FROM quiet_activations JOIN contexts USING (context_id) WHERE contexts.quiet
)
SELECT feature_index, polarity, split, context_id, place FROM strongest
QUALIFY row_number() OVER (
    PARTITION BY feature_index, polarity, split ORDER BY peak DESC, context_id
) <= $firings
ORDER BY feature_index, polarity, split, peak DESC, context_id
"""

Firing = tuple[int, int]
"""A context of the pool, and the token position of the peak in it."""


@dataclass(frozen=True)
class _Profiles:
    """Profiles of all features that have one."""

    keys: tuple[Key, ...]
    row: dict[Key, int]
    matrix: Any
    """(n_features, n_tokens) scipy.sparse, rows of length 1."""
    transposed: Any
    """(n_tokens, n_features), so that only features that share a token are looked at."""


@dataclass(frozen=True)
class _Firings:
    """Where features fire most strongly in the pool."""

    context_ids: NDArray[np.int64]
    places: NDArray[np.uint16]
    parts: dict[tuple[Key, Split], slice]
    """Each feature's in each split, strongest first."""


class Neighbours:
    """Finds neighbours of the features of one evidence file."""

    def __init__(self, con: duckdb.DuckDBPyConnection, n_features: int) -> None:
        """Read from an open evidence file of so many features; whoever opened it closes it."""
        self._con = con
        self._n_features = n_features

    def nearest(self, key: Key, k: int) -> list[tuple[Key, float]]:
        """The features whose profiles are most like one's.

        Args:
            key: a feature; one that never fires in the explain split has no neighbours.
            k: how many at most.

        Returns:
            (feature, cosine) with a cosine above 0, nearest first; of equals, the first by index.

        Raises:
            duckdb.Error: the file can't be read.
        """
        profiles = self._profiles
        row = profiles.row.get(key)
        if row is None:
            return []
        like = profiles.matrix[[row]] @ profiles.transposed  # (1, n_features), sparse
        others = like.indices != row
        rows, cosines = like.indices[others], like.data[others]
        order = np.lexsort((rows, -np.round(cosines, 9)))[:k]
        return [(profiles.keys[i], float(c)) for i, c in zip(rows[order], cosines[order], strict=True)]

    def firings(self, key: Key, split: Split) -> list[Firing]:
        """Where a feature fires most strongly in one split of the quiet pool, strongest first.

        Raises:
            duckdb.Error: the file can't be read.
        """
        kept = self._firings
        part = kept.parts.get((key, split), slice(0, 0))
        return list(zip(kept.context_ids[part].tolist(), kept.places[part].tolist(), strict=True))

    @cached_property
    def _profiles(self) -> _Profiles:
        from scipy.sparse import csr_array

        sizes = {"contexts": CONTEXTS, "features": float(self._n_features), "tokens": TOKENS}
        table = self._con.sql(_PROFILES, params=sizes).to_arrow_table()
        tokens = table.column("token").combine_chunks().dictionary_encode()
        weights = table.column("weight").to_numpy()
        index, polarity = table.column("feature_index").to_numpy(), table.column("polarity").to_numpy()
        starts = _starts(index, polarity)
        keys = tuple(zip(index[starts[:-1]].tolist(), polarity[starts[:-1]].tolist(), strict=True))
        lengths = np.sqrt(np.add.reduceat(weights**2, starts[:-1])) if keys else np.zeros(0)
        matrix = csr_array(
            (weights / np.repeat(lengths, np.diff(starts)), tokens.indices.to_numpy(), starts),
            shape=(len(keys), len(tokens.dictionary)),
        )
        return _Profiles(keys, {key: row for row, key in enumerate(keys)}, matrix, matrix.T.tocsr())

    @cached_property
    def _firings(self) -> _Firings:
        columns = self._con.execute(_FIRINGS, {"firings": FIRINGS}).fetchnumpy()
        index, polarity, split = (columns[name] for name in ("feature_index", "polarity", "split"))
        starts = _starts(index, polarity, split)
        parts: dict[tuple[Key, Split], slice] = {
            ((int(index[a]), polarity[a]), split[a]): slice(a, b)
            for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        }
        return _Firings(columns["context_id"], columns["place"], parts)


def _starts(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """Where runs of equal rows begin, and where the last one ends."""
    new = np.ones(len(columns[0]), dtype=np.bool_)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return np.append(np.flatnonzero(new), len(new))


def in_turn(queues: Sequence[Iterator[Firing]], n: int) -> list[Firing]:
    """One from each queue in turn, the nearest neighbour's first, until there are n; no context twice."""
    taken: dict[int, int] = {}
    going = list(queues)
    while going and len(taken) < n:
        for queue in list(going):
            found = next((firing for firing in queue if firing[0] not in taken), None)
            if found is None:
                going.remove(queue)
            elif len(taken) < n:
                taken[found[0]] = found[1]
    return list(taken.items())
