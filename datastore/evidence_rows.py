"""What is stored of features, read for some dozens of them at once and kept as columns.

A scan of the file costs about the same for one feature as for sixty-four, and columns take a tenth of the
memory of as many small objects; a feature's examples become objects when it is its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exegete.datastore.records import Floats, Polarity, Split

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
class Rows:
    """Everything stored of one feature."""

    examples: dict[Split, list[Example]]
    """Strongest first."""
    loud: frozenset[int]
    """Ids of contexts in which the feature is known to fire: the pool's, and its own examples."""


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Everything stored of one feature, as a part of the columns that were read."""

    columns: _Columns
    part: slice
    """Its examples among them."""
    loud_in_pool: frozenset[int]

    @property
    def context_ids(self) -> list[int]:
        """Of all its examples."""
        return list(self.columns.context_ids[self.part].tolist())

    def rows(self) -> Rows:
        """The same as objects."""
        c, ids = self.columns, self.context_ids
        sampled = c.sampled[self.part].tolist()
        edges = pairwise(c.starts[self.part.start : self.part.stop + 1].tolist())
        examples: dict[Split, list[Example]] = {}
        for split, i, drawn, (a, b) in zip(c.splits[self.part], ids, sampled, edges, strict=True):
            examples.setdefault(split, []).append(Example(i, drawn, c.positions[a:b], c.values[a:b]))
        # A duplicate may have fired where the pool's copy, just below the threshold, did not.
        return Rows(examples, self.loud_in_pool.union(ids))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Examples of some features: one after the other, each feature's by split and strongest first."""

    splits: list[Split]
    context_ids: NDArray[np.int64]
    sampled: NDArray[np.bool_]
    starts: NDArray[np.int32]
    """(n + 1,) where the positions and values of each example begin."""
    positions: NDArray[np.uint16]
    values: Floats


def read_rows(con: duckdb.DuckDBPyConnection, wanted: Set[Key]) -> Iterator[tuple[Key, StoredRows]]:
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
    where = "feature_index IN (SELECT unnest(?::INTEGER[]))"
    if indices[-1] - indices[0] + 1 == len(indices):
        where = f"feature_index BETWEEN {indices[0]} AND {indices[-1]} AND len(?) > 0"
    table = con.sql(
        "SELECT feature_index, polarity, split, context_id, sampled, positions, activations "
        f"FROM examples WHERE {where} ORDER BY feature_index, polarity, split, rank",
        params=[indices],
    ).to_arrow_table()
    loud: dict[Key, set[int]] = {}
    sql = f"SELECT feature_index, polarity, context_id FROM quiet_activations WHERE {where}"
    for index, polarity, context_id in con.execute(sql, [indices]).fetchall():
        loud.setdefault((index, polarity), set()).add(context_id)
    columns = _columns(table)
    keys = zip(_numbers(table, "feature_index").tolist(), _words(table, "polarity"), strict=True)
    parts: dict[Key, slice] = {}
    last = 0
    for key, group in groupby(keys):
        first, last = last, last + sum(1 for _ in group)
        parts[key] = slice(first, last)
    for key in wanted:
        yield key, StoredRows(columns, parts.get(key, slice(0, 0)), frozenset(loud.get(key, ())))


def _columns(table: pa.Table) -> _Columns:
    positions = table.column("positions").combine_chunks()
    activations = table.column("activations").combine_chunks()
    return _Columns(
        _words(table, "split"),
        _numbers(table, "context_id"),
        _numbers(table, "sampled"),
        positions.offsets.to_numpy(),
        positions.values.to_numpy(),
        activations.values.to_numpy(),
    )


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    """A column of numbers or truth values."""
    return np.asarray(table.column(name).combine_chunks().to_numpy(zero_copy_only=False))


def _words(table: pa.Table, name: str) -> list[Any]:
    """A column of words, of which there are few different ones: one object each."""
    encoded = table.column(name).combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    return [words[code] for code in encoded.indices.to_numpy().tolist()]
