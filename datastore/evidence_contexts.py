"""Contexts of an evidence file by id, read when they are first asked for.

A query for ten contexts scans as much as one for ten thousand. So whoever knows which contexts will be
wanted says so, and they are all read with the first that is, laid end to end, and cut into units together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa

from exegete.datastore.arrow import numbers
from exegete.datastore.records import Split, Unit
from exegete.datastore.strip import Ints, PreparedContext, Strip, Tokens
from exegete.datastore.words import Vocabulary, join_units, unit_starts

REMEMBERED = 100_000
"""Contexts remembered, of some 1,000 features; beyond that, the older half is forgotten."""
AT_ONCE = 50_000
"""Contexts, about, that one query reads of those that are expected."""
ANNOUNCED = 2048
"""Features whose contexts are expected: more than a job has under way and has read ahead. Where all contexts
are remembered nothing is fetched any more, and what was announced would pile up."""


class ContextReader:
    """Reads the contexts of one file, and remembers the recently read ones."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        """Read from an open evidence file; whoever opened it closes it."""
        self._con = con
        self._vocabulary = Vocabulary()
        self._expected: deque[Ints] = deque(maxlen=ANNOUNCED)
        self._strips: dict[Unit, Strip] = {}
        """The same contexts in each."""
        self._row: dict[int, int] = {}
        """Of each context that is remembered."""

    def expect(self, ids: Sequence[Ints]) -> None:
        """Say which contexts are likely to be asked for, after those of which it was said before.

        Args:
            ids: of each feature's contexts; of those announced before, the last `ANNOUNCED` are kept.
        """
        self._expected += ids

    def rows(self, ids: Ints, unit: Unit) -> tuple[Strip, Ints]:
        """A strip that has some contexts, and their rows in it, in the order asked for.

        The strip is good until contexts are asked for again.

        Raises:
            duckdb.Error: the file can't be read.
        """
        if unit not in self._strips:
            others = self._strips.values()
            fresh = Strip(self._vocabulary, unit)
            self._strips[unit] = next((other.recut(unit) for other in others), fresh)
        wanted = ids.tolist()
        rows = list(map(self._row.get, wanted))
        if None in rows:
            if len(self._row) > REMEMBERED:
                self._forget(len(self._row) // 2)
            missing = set(wanted) - self._row.keys()
            while self._expected and len(missing) < AT_ONCE:
                missing |= set(self._expected.popleft().tolist()) - self._row.keys()
            self._fetch(list(missing))
            rows = list(map(self._row.get, wanted))
        return self._strips[unit], np.asarray(rows, dtype=np.int64)

    def pool(self, split: Split, unit: Unit) -> Strip:
        """The quiet pool of one split, in the order of ids.

        Raises:
            duckdb.Error: the file can't be read.
        """
        table = self._con.sql(
            "SELECT context_id, document, tokens FROM contexts WHERE quiet AND split = ? ORDER BY context_id",
            params=[split],
        ).to_arrow_table()
        strip = Strip(self._vocabulary, unit)
        for part in table.combine_chunks().to_batches():
            strip.add(*self._laid(part))
        return strip

    def _forget(self, n: int) -> None:
        """Forget the contexts that were read first."""
        self._strips = {unit: strip.recut(unit, n) for unit, strip in self._strips.items()}
        self._row = {i: row - n for i, row in self._row.items() if row >= n}

    def _fetch(self, ids: list[int]) -> None:
        """Read contexts in one query."""
        table = self._con.sql(
            "SELECT context_id, document, tokens FROM contexts "
            "WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
            params=[ids],
        ).to_arrow_table()
        for part in table.to_batches():
            laid = self._laid(part)
            self._row.update(zip(laid[0], range(len(self._row), len(self._row) + len(laid[0])), strict=True))
            for strip in self._strips.values():
                strip.add(*laid)

    def _laid(self, part: pa.RecordBatch) -> tuple[list[int], list[str], Ints, Tokens]:
        """Ids, documents and lengths of contexts, and all their tokens."""
        tokens = part.column("tokens")
        lengths = np.diff(numbers(tokens.offsets)).astype(np.int64)
        encoded = tokens.flatten().dictionary_encode()
        codes = self._vocabulary.encode(encoded.dictionary.to_pylist())
        ids, documents = part.column("context_id").to_pylist(), part.column("document").to_pylist()
        return ids, documents, lengths, np.asarray(codes[numbers(encoded.indices)])


def prepare(context_id: int, document: str, tokens: Sequence[str], unit: Unit) -> PreparedContext:
    """Cut a context into units."""
    starts = unit_starts(tokens, unit)
    return PreparedContext(context_id, document, len(tokens), starts, join_units(tokens, starts))
