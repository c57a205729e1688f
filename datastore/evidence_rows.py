"""What is stored of features, read for some dozens of them at once and kept as columns.

A scan of the file costs about the same for one feature as for sixty-four, and columns take a tenth of the
memory of as many small objects; a feature's examples become objects when it is its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exegete.datastore.arrow import numbers
from exegete.datastore.hashing import UInts, scattered
from exegete.datastore.records import Floats, Polarity, Split
from exegete.datastore.strip import Ints, ranges

Key = tuple[int, Polarity]
"""A feature of the file."""


@dataclass(frozen=True, slots=True)
class Example:
    """One kept pair, as stored."""

    context_id: int
    sampled: bool
    """Whether the uniform sample drew it (the top contexts are kept whether or not it did)."""
    positions: NDArray[np.uint16]
    values: Floats


@dataclass(frozen=True, slots=True)
class Examples:
    """A feature's kept pairs of one split as columns, strongest first."""

    context_ids: NDArray[np.int64]
    """(n,)"""
    scattered: UInts
    """(n,) the same, as random numbers are drawn from them."""
    sampled: NDArray[np.bool_]
    """(n,)"""
    starts: NDArray[np.int64]
    """(n + 1,) where the positions and values of each pair begin."""
    positions: NDArray[np.uint16]
    values: Floats

    def __len__(self) -> int:
        return len(self.context_ids)

    def __iter__(self) -> Iterator[Example]:
        edges = pairwise(self.starts.tolist())
        for i, drawn, (a, b) in zip(self.context_ids.tolist(), self.sampled.tolist(), edges, strict=True):
            yield Example(i, drawn, self.positions[a:b], self.values[a:b])

    def firings(self, rows: Ints) -> tuple[Ints, Ints, Floats]:
        """Of some pairs, how many positions fire in each, and all of these with their activations."""
        begun = self.starts[rows]
        lengths = self.starts[rows + 1] - begun
        fired = ranges(begun, lengths)
        return lengths, self.positions[fired].astype(np.int64), self.values[fired]

    def part(self, a: int, b: int) -> Examples:
        """Pairs `a` to `b` - 1; positions and values are those of all."""
        own, starts = slice(a, b), self.starts[a : b + 1]
        ids, scattered, sampled = self.context_ids[own], self.scattered[own], self.sampled[own]
        return Examples(ids, scattered, sampled, starts, self.positions, self.values)


@dataclass(frozen=True, slots=True)
class Rows:
    """Everything stored of one feature."""

    examples: Mapping[Split, Examples]
    """Of the splits that have any."""
    loud_in_pool: NDArray[np.int64]
    """Ids of the pool's contexts in which the feature fires."""

    @property
    def context_ids(self) -> NDArray[np.int64]:
        """Of all its examples."""
        return np.concatenate([_NO_IDS, *(kept.context_ids for kept in self.examples.values())])

    @property
    def loud(self) -> NDArray[np.int64]:
        """Ids of contexts in which the feature is known to fire, some of them twice."""
        # A duplicate may have fired where the pool's copy, just below the threshold, did not.
        return np.concatenate([self.loud_in_pool, self.context_ids])


_NO_IDS = np.zeros(0, dtype=np.int64)
NO_EXAMPLES = Examples(
    _NO_IDS,
    scattered(_NO_IDS),
    np.zeros(0, dtype=bool),
    np.zeros(1, dtype=np.int64),
    np.zeros(0, dtype=np.uint16),
    np.zeros(0, dtype=np.float32),
)
"""What is stored of a split in which nothing fires."""


def read_rows(con: duckdb.DuckDBPyConnection, wanted: Set[Key]) -> Iterator[tuple[Key, Rows]]:
    """Read the rows of some features in two queries.

    Args:
        con: the evidence file, open.
        wanted: features; at least one.

    Yields:
        Each wanted feature with what is stored of it, be it nothing.

    Raises:
        duckdb.Error: the file can't be read.
    """
    indices = sorted({index for index, _ in wanted})
    where, params = "feature_index IN (SELECT unnest(?::INTEGER[]))", [indices]
    if indices[-1] - indices[0] + 1 == len(indices):
        where, params = f"feature_index BETWEEN {indices[0]} AND {indices[-1]}", []
    table = con.sql(
        "SELECT feature_index, polarity, split, rank, context_id, sampled::UTINYINT AS sampled, positions, "
        "activations "
        f"FROM examples WHERE {where}",
        params=params,
    ).to_arrow_table()
    pool = con.sql(
        f"SELECT feature_index, polarity, context_id FROM quiet_activations WHERE {where}", params=params
    ).to_arrow_table()
    table = _sorted(table, "feature_index", "polarity", "split", "rank")
    pool = _sorted(pool, "feature_index", "polarity")
    columns = _columns(table)
    examples: dict[Key, dict[Split, Examples]] = {}
    for (index, polarity, split), a, b in _runs(table, "feature_index", "polarity", "split"):
        examples.setdefault((index, polarity), {})[split] = columns.part(a, b)
    ids = _numbers(pool, "context_id")
    loud = {
        (index, polarity): ids[a:b] for (index, polarity), a, b in _runs(pool, "feature_index", "polarity")
    }
    for key in wanted:
        yield key, Rows(examples.get(key, {}), loud.get(key, _NO_IDS))


def _sorted(table: pa.Table, *names: str) -> pa.Table:
    """Rows by some columns; words in any order, so long as equal ones follow each other.

    Files are written in order, and here that is found out much faster than DuckDB sorts.
    """
    order = np.lexsort([_codes(table, name)[0] for name in reversed(names)])
    return table if np.array_equal(order, np.arange(len(table))) else table.take(pa.array(order))


def _columns(table: pa.Table) -> Examples:
    positions = table.column("positions").combine_chunks()
    activations = table.column("activations").combine_chunks()
    ids = _numbers(table, "context_id")
    return Examples(
        ids,
        scattered(ids),
        _numbers(table, "sampled").view(np.bool_),
        numbers(positions.offsets).astype(np.int64),
        numbers(positions.values),
        numbers(activations.values),
    )


def _runs(table: pa.Table, *names: str) -> Iterator[tuple[tuple[Any, ...], int, int]]:
    """Runs of rows that agree in some columns: their values there, the first row, and the first after."""
    if not len(table):
        return
    columns, words = zip(*(_codes(table, name) for name in names), strict=True)
    new = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    starts = np.concatenate(([0], np.flatnonzero(new) + 1, [len(table)]))
    values = [
        column[starts[:-1]].tolist() if own is None else [own[code] for code in column[starts[:-1]].tolist()]
        for column, own in zip(columns, words, strict=True)
    ]
    yield from zip(zip(*values, strict=True), starts[:-1].tolist(), starts[1:].tolist(), strict=True)


def _codes(table: pa.Table, name: str) -> tuple[NDArray[Any], list[str] | None]:
    """A column of whole numbers; or of few different words, as numbers of those in a list."""
    column = table.column(name).combine_chunks()
    if not pa.types.is_string(column.type):
        return numbers(column), None
    encoded = column.dictionary_encode()
    return numbers(encoded.indices), encoded.dictionary.to_pylist()


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    """A column of numbers."""
    return numbers(table.column(name).combine_chunks())
