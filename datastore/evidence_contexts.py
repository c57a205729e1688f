"""Contexts of an evidence file by id, read when they are first asked for.

A query for ten contexts scans as much as one for ten thousand. So whoever knows which contexts will be
wanted says so, and they are all read with the first that is; they wait as codes of their tokens' texts, and
are cut into units, all of a feature's together, when they are asked for.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exegete.datastore.records import Split, Unit
from exegete.datastore.strip import PreparedContext, Strip
from exegete.datastore.words import Vocabulary, join_units, unit_starts

REMEMBERED = 100_000
"""Contexts remembered: of some 1,000 features."""
AT_ONCE = 50_000
"""Contexts, about, that one query reads of those that are expected."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Contexts that were read together."""

    documents: list[str]
    codes: NDArray[np.int32]
    """(n_tokens,) of tokens, context after context."""
    starts: list[int]
    """(n_contexts + 1) where each context's codes begin."""


class ContextReader:
    """Reads the contexts of one file, and remembers the recently read ones."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        """Read from an open evidence file; whoever opened it closes it."""
        self._con = con
        self._vocabulary = Vocabulary()
        self._expected: deque[NDArray[np.int64]] = deque()
        self._read: OrderedDict[int, tuple[_Batch, int]] = OrderedDict()

    def expect(self, ids: Sequence[NDArray[np.int64]]) -> None:
        """Say which contexts are likely to be asked for, after those of which it was said before."""
        self._expected += ids

    def strip(self, ids: Sequence[int], unit: Unit) -> Strip:
        """Contexts by id, laid end to end in the order asked for.

        Raises:
            duckdb.Error: the file can't be read.
        """
        missing = {i for i in ids if i not in self._read}
        if missing:
            while self._expected and len(missing) < AT_ONCE:
                missing |= set(self._expected.popleft().tolist()) - self._read.keys()
            self._fetch([*missing])
        found = [self._read[i] for i in ids]
        while len(self._read) > REMEMBERED:
            self._read.popitem(last=False)
        parts = [batch.codes[batch.starts[row] : batch.starts[row + 1]] for batch, row in found]
        documents = [batch.documents[row] for batch, row in found]
        return self._strip(
            ids, documents, np.asarray([len(part) for part in parts], dtype=np.int64), parts, unit
        )

    def pool(self, split: Split, unit: Unit) -> Strip:
        """The quiet pool of one split, in the order of ids.

        Raises:
            duckdb.Error: the file can't be read.
        """
        table = self._con.sql(
            "SELECT context_id, document, tokens FROM contexts WHERE quiet AND split = ? ORDER BY context_id",
            params=[split],
        ).to_arrow_table()
        tokens = table.column("tokens").combine_chunks()
        ids, documents = table.column("context_id").to_pylist(), table.column("document").to_pylist()
        lengths = np.diff(tokens.offsets.to_numpy()).astype(np.int64)
        return self._strip(ids, documents, lengths, [self._encoded(tokens)], unit)

    def _strip(
        self,
        ids: Sequence[int],
        documents: Sequence[str],
        lengths: NDArray[np.int64],
        parts: Sequence[NDArray[np.int32]],
        unit: Unit,
    ) -> Strip:
        codes = np.concatenate([np.zeros(0, dtype=np.int32), *parts])
        every = np.ones(len(codes), dtype=bool)
        begins = self._vocabulary.begins(codes, lengths) if unit == "word" else every
        return Strip(ids, documents, lengths, self._vocabulary.texts, codes, begins)

    def _fetch(self, ids: list[int]) -> None:
        """Read contexts in one query."""
        table = self._con.sql(
            "SELECT context_id, document, tokens FROM contexts "
            "WHERE context_id IN (SELECT unnest(?::BIGINT[]))",
            params=[ids],
        ).to_arrow_table()
        for part in table.to_batches():
            tokens = part.column("tokens")
            batch = _Batch(
                part.column("document").to_pylist(), self._encoded(tokens), tokens.offsets.to_pylist()
            )
            for row, context_id in enumerate(part.column("context_id").to_pylist()):
                self._read[context_id] = (batch, row)

    def _encoded(self, tokens: pa.ListArray) -> NDArray[np.int32]:
        """Codes of the texts of many tokens."""
        encoded = tokens.values.dictionary_encode()
        codes = self._vocabulary.encode(encoded.dictionary.to_pylist())
        return np.asarray(codes[encoded.indices.to_numpy()])


def prepare(context_id: int, document: str, tokens: Sequence[str], unit: Unit) -> PreparedContext:
    """Cut a context into units."""
    starts = unit_starts(tokens, unit)
    return PreparedContext(context_id, document, len(tokens), starts, join_units(tokens, starts))
