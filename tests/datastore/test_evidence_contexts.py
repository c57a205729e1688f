"""Contexts read ahead: the same as read one by one, in fewer queries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from exegete.datastore.database import connect
from exegete.datastore.evidence_contexts import ANNOUNCED, ContextReader
from exegete.datastore.records import Unit
from exegete.datastore.words import join_units, unit_starts
from tests.datastore.streams import Seen, Sizes, build, context

TOKENS = {i: [" to", f" un{i}", "known", "", ",", " naïve\n", f"x{i % 3}"][: 1 + i % 7] for i in range(1, 41)}


class Counting:
    """A connection that counts its queries."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self.con, self.queries = con, 0

    def sql(self, *args: Any, **options: Any) -> duckdb.DuckDBPyRelation:
        self.queries += 1
        return self.con.sql(*args, **options)


@pytest.fixture
def con(tmp_path: Path) -> Iterator[Counting]:
    """Forty contexts, each of a document of its own."""
    stream: list[Seen] = [
        (context(i, 0, f"d{i}", tokens), {0: {0: float(i)}}) for i, tokens in TOKENS.items()
    ]
    file = build(tmp_path, stream, Sizes(1, top=40, sample=(40, 1, 1), quiet=(1, 1, 1)))
    file.close()
    with connect(file.path, read_only=True) as con:
        yield Counting(con)


def plain(reader: ContextReader, ids: list[int], unit: Unit) -> list[tuple[Any, ...]]:
    """Contexts as values that can be compared."""
    strip, rows = reader.rows(np.asarray(ids, dtype=np.int64), unit)
    contexts = strip.prepared(rows)
    return [(c.id, c.document, c.n_tokens, c.starts.tolist(), c.units) for c in contexts]


def literal(ids: list[int], unit: Unit) -> list[tuple[Any, ...]]:
    """The same from the tokens that were stored."""
    starts = {i: unit_starts(TOKENS[i], unit) for i in ids}
    return [(i, f"d{i}", len(TOKENS[i]), starts[i].tolist(), join_units(TOKENS[i], starts[i])) for i in ids]


@pytest.mark.parametrize(("remembered", "at_once"), [(100_000, 50_000), (5, 50_000), (5, 3), (1, 1)])
def test_the_same_in_any_order(
    con: Counting, monkeypatch: pytest.MonkeyPatch, remembered: int, at_once: int
) -> None:
    """Whatever was expected and forgotten before, contexts are what was stored, in the order asked for."""
    monkeypatch.setattr("exegete.datastore.evidence_contexts.REMEMBERED", remembered)
    monkeypatch.setattr("exegete.datastore.evidence_contexts.AT_ONCE", at_once)
    reader = ContextReader(con)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for _ in range(30):
        ids = rng.integers(1, 41, rng.integers(0, 8)).tolist()
        unit: Unit = "word" if rng.random() < 0.5 else "token"
        reader.expect([rng.integers(1, 41, rng.integers(0, 20)) for _ in range(2)])
        assert plain(reader, ids, unit) == literal(ids, unit)


def test_what_is_expected_is_read_at_once(con: Counting) -> None:
    """Contexts that were expected are read with the first that is missing; one that was not, by itself."""
    reader = ContextReader(con)  # type: ignore[arg-type]
    reader.expect([np.arange(1, 11), np.arange(11, 21)])
    reader.expect([np.arange(21, 31)])
    for i in range(1, 31):
        reader.rows(np.asarray([i]), "word")
        reader.rows(np.asarray([i]), "token")
    assert con.queries == 1
    reader.rows(np.asarray([35]), "word")
    assert con.queries == 2


def test_announcements_do_not_pile_up(con: Counting) -> None:
    """A reader that has all it is asked for keeps a bounded number of announcements, the latest."""
    reader = ContextReader(con)  # type: ignore[arg-type]
    reader.expect([np.arange(11, 21)])
    for _ in range(ANNOUNCED):
        reader.expect([np.arange(1, 11)])
    for i in range(1, 11):
        reader.rows(np.asarray([i]), "word")
    assert con.queries == 1
    reader.rows(np.asarray([11]), "word")
    assert con.queries == 2, "what was announced before those was let go"
