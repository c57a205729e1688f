"""From tables of contexts and of what fires on them to what is kept, in one pass ordered by context.

c(context_id, document, tokens)                       tables or views of a DuckDB connection
a(feature, context_id, position, activation)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import numpy as np

from exegete.datastore.evidence_writer import Slot
from exegete.datastore.hashing import digest64
from exegete.datastore.import_target import ImportSpec, new_keeper
from exegete.datastore.import_tokens import how_shown
from exegete.datastore.kept import Firings, Kept, KeptContext
from exegete.datastore.records import SPLITS
from exegete.datastore.splits import split_of

_BATCH = 256


def keep_tables(
    con: duckdb.DuckDBPyConnection,
    slots: Sequence[Slot],
    spec: ImportSpec,
    on_progress: Callable[[int], None],
) -> Kept:
    """Stream checked tables through a keeper.

    Args:
        con: has `c` and `a`; every feature of `a` has a slot.
        slots: the features.
        spec: how much of them to keep.
        on_progress: told the number of contexts read so far.
    """
    keeper = new_keeper(slots, spec)
    slot_of = {slot.index: i for i, slot in enumerate(slots)}
    for batch, firings in _batches(con, spec, slot_of):
        keeper.add(batch, firings)
        on_progress(int(keeper.statistics.contexts.sum()))
    return keeper.finish()


def _batches(
    con: duckdb.DuckDBPyConnection, spec: ImportSpec, slot_of: dict[int, int]
) -> Iterator[tuple[list[KeptContext], Firings]]:
    """Contexts with what fires on them, some hundred at a time, in the order of their ids."""
    con.execute(
        "CREATE TABLE ids AS SELECT context_id, row_number() OVER (ORDER BY context_id) - 1 AS row FROM c"
    )
    show = how_shown(con)
    contexts = con.cursor().execute("SELECT document, tokens FROM c JOIN ids USING (context_id) ORDER BY row")
    triples = con.cursor().execute(
        "SELECT row, feature, position, activation::FLOAT AS activation FROM a JOIN ids USING (context_id) "
        "ORDER BY row"
    )
    waiting = _Triples(triples)
    at = 0
    while rows := contexts.fetchmany(_BATCH):
        batch = [
            _context(at + i, document, show(tokens), spec.seed) for i, (document, tokens) in enumerate(rows)
        ]
        row, feature, position, value = waiting.until(at + len(rows))
        slots = np.asarray([slot_of[f] for f in feature.tolist()], dtype=np.int64)
        yield batch, Firings(slots, row - at, position, value)
        at += len(rows)


class _Triples:
    """Activations in the order of their contexts, read a chunk at a time."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._held = self._next()

    def until(self, row: int) -> tuple[Any, Any, Any, Any]:
        """Everything of the contexts before `row`: (row, feature, position, activation)."""
        while len(self._held[0]) and self._held[0][-1] < row:
            more = self._next()
            if not len(more[0]):
                break
            self._held = tuple(np.concatenate(pair) for pair in zip(self._held, more, strict=True))
        n = int(np.searchsorted(self._held[0], row))
        taken = tuple(column[:n] for column in self._held)
        self._held = tuple(column[n:] for column in self._held)
        return taken[0], taken[1], taken[2], taken[3]

    def _next(self) -> tuple[Any, ...]:
        rows = self._cursor.fetchmany(100_000)
        columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
        kinds = (np.int64, np.int64, np.int64, np.float32)
        return tuple(np.asarray(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True))


def _context(number: int, document: str, tokens: list[str], seed: int) -> KeptContext:
    text = "\x1f".join(token.replace("\x1f", " ") for token in tokens)
    split = SPLITS.index(split_of(document, seed))
    # There are no token ids; the text itself says which contexts are duplicates.
    ids = np.zeros(len(tokens), dtype=np.int32)
    return KeptContext(digest64(text), split, document, number, ids, text)
