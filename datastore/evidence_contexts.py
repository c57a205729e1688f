"""Contexts of an evidence file by id, cut into units when they are first asked for.

A query for ten contexts scans as much as one for ten thousand. So whoever knows which contexts will be
wanted says so, and they are all read with the first that is; they wait as codes of words, and become words
when they are asked for. Equal words of different contexts are one object.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from exegete.datastore.quiet_pool import PreparedContext
from exegete.datastore.records import Unit
from exegete.datastore.words import join_units, unit_starts

PREPARED = 20_000
"""Contexts remembered as units."""
READ_AHEAD = 100_000
"""Contexts remembered as codes: of some 1,000 features."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Contexts that were read together."""

    documents: list[str]
    words: list[str]
    codes: NDArray[np.int32]
    """(n_tokens,) places in `words`, context after context."""
    starts: NDArray[np.int32]
    """(n_contexts + 1,) where each context's codes begin."""

    def tokens(self, row: int) -> list[str]:
        """The tokens of one context."""
        codes = self.codes[self.starts[row] : self.starts[row + 1]]
        return [self.words[code] for code in codes.tolist()]


class ContextReader:
    """Reads the contexts of one file, and remembers the recently used ones."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        """Read from an open evidence file; whoever opened it closes it."""
        self._con = con
        self._expected: set[int] = set()
        self._read: OrderedDict[int, tuple[_Batch, int]] = OrderedDict()
        self._prepared: OrderedDict[tuple[int, Unit], PreparedContext] = OrderedDict()

    def expect(self, ids: Iterable[int]) -> None:
        """Say which contexts are likely to be asked for next, in place of what was said before."""
        self._expected = set(ids)

    def prepared(self, ids: Sequence[int], unit: Unit) -> list[PreparedContext]:
        """Contexts by id, in the order asked for, cut into units.

        Raises:
            duckdb.Error: the file can't be read.
        """
        missing = {i for i in ids if i not in self._read and (i, unit) not in self._prepared}
        if missing:
            self._fetch([*missing, *(self._expected - missing - self._read.keys())])
        found = [self._one(i, unit) for i in ids]
        while len(self._prepared) > PREPARED:
            self._prepared.popitem(last=False)
        while len(self._read) > READ_AHEAD:
            self._read.popitem(last=False)
        return found

    def _one(self, context_id: int, unit: Unit) -> PreparedContext:
        key = (context_id, unit)
        if key in self._prepared:
            self._prepared.move_to_end(key)
        else:
            batch, row = self._read[context_id]
            self._prepared[key] = prepare(context_id, batch.documents[row], batch.tokens(row), unit)
        return self._prepared[key]

    def _fetch(self, ids: list[int]) -> None:
        """Read contexts in one query."""
        table = self._con.sql(
            "SELECT context_id, document, tokens FROM contexts "
            "WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
            params=[ids],
        ).to_arrow_table()
        for part in table.to_batches():
            tokens = part.column("tokens")
            encoded = tokens.values.dictionary_encode()
            batch = _Batch(
                part.column("document").to_pylist(),
                [sys.intern(word) for word in encoded.dictionary.to_pylist()],
                encoded.indices.to_numpy(),
                tokens.offsets.to_numpy(),
            )
            for row, context_id in enumerate(part.column("context_id").to_numpy().tolist()):
                self._read[context_id] = (batch, row)


def prepare(context_id: int, document: str, tokens: Sequence[str], unit: Unit) -> PreparedContext:
    """Cut a context into units."""
    starts = unit_starts(tokens, unit)
    return PreparedContext(context_id, document, len(tokens), starts, join_units(tokens, starts))
