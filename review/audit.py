"""Cards that are dealt at random, so that what people say of them holds for all labels.

The queue shows people the labels they were sent for, and says nothing of the others. So one card in `SLICE`
is taken from *all* labelled features, whatever their status. Which ones is a digest of run and feature, and
not of what anybody did: a card of the slice stays one, however it was come by. They are dealt in the order of
the digest, never by worth, so that wherever a reviewer stops, those decided are a random sample.

Second reviews are chosen likewise, by a digest of their own.

The digest is 32 bits of feature and run, mixed by lowbias32 [Wellons 2018], in SQL, where a million rows take
a tenth of a second; DuckDB's own hash() may change with its version.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from exegete.datastore.hashing import digest64
from exegete.review.keys import Key

SLICE = 0.1
"""Share of the queue that is dealt at random."""
SECOND = 0.1
"""Share of decided cards that are dealt again, to somebody else."""

_MASK = 0xFFFFFFFF
_FIRST, _SECOND_FACTOR = 0x7FEB352D, 0x846CA68B

PLACE = f"""
    xor(CAST(2 * l.feature_index + CAST(l.polarity = '-' AS INTEGER) AS UBIGINT), {{salt}}) AS {{name}}_0,
    (xor({{name}}_0, {{name}}_0 >> 16) * {_FIRST}) & {_MASK} AS {{name}}_1,
    (xor({{name}}_1, {{name}}_1 >> 15) * {_SECOND_FACTOR}) & {_MASK} AS {{name}}_2,
    xor({{name}}_2, {{name}}_2 >> 16) / {_MASK + 1}.0 AS {{name}}"""
"""SQL columns over `l`, a table of features: a number in [0, 1) by feature and a salt of its run."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What of a run is dealt at random."""

    run: str
    share: float
    """Of its labelled features; with the labels that wait they make a queue of which `SLICE` is random."""

    @property
    def salt(self) -> int:
        """32 bits that order the run's features."""
        return digest64(self.run, "audit") & _MASK

    @property
    def second_salt(self) -> int:
        """32 bits that order its second reviews."""
        return digest64(self.run, "second") & _MASK


def slices(con: duckdb.DuckDBPyConnection) -> list[Slice]:
    """The random slice of every run, by what the runs said: decisions of people move nothing.

    With R labels waiting of N, a share s of all is dealt, of which s R wait as well: the queue holds
    R + s (N - R) cards, and `SLICE` of them are random when s = SLICE R / ((1 - SLICE) N + SLICE R).
    """
    rows = con.execute(
        "SELECT run, count(*) FILTER (status = 'review' AND label IS NOT NULL), count(label) "
        "FROM store.outcomes "
        "WHERE harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls') "
        "GROUP BY run ORDER BY run"
    ).fetchall()
    return [Slice(run, _share(waiting, labelled)) for run, waiting, labelled in rows]


def is_dealt(con: duckdb.DuckDBPyConnection, run: str, key: Key) -> bool:
    """Whether a card is of its run's random slice."""
    for one in slices(con):
        if one.run == run:
            return place(one.salt, key) < one.share
    return False


def place(salt: int, key: Key) -> float:
    """The number in [0, 1) that `PLACE` gives a feature."""
    x = (2 * key.index + (key.polarity == "-")) ^ salt
    x = ((x ^ (x >> 16)) * _FIRST) & _MASK
    x = ((x ^ (x >> 15)) * _SECOND_FACTOR) & _MASK
    return (x ^ (x >> 16)) / (_MASK + 1)


def _share(waiting: int, labelled: int) -> float:
    return SLICE * waiting / ((1 - SLICE) * labelled + SLICE * waiting) if waiting else 0.0
