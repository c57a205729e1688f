"""Bring your own activations: a folder of Parquet files becomes an evidence file.

    contexts.parquet      context_id int64, document string, tokens list<string>
    activations.parquet   feature int32, context_id int64, position int32, activation float: only what fires
    features.parquet      optional: feature int32, and anything else, which is kept as metadata

Both are read as streams ordered by context and go through the same keeper as a harvest, so that everything
that needs no subject model works on them. They are checked before anything is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from exegete.datastore.database import settings
from exegete.datastore.evidence_writer import FORMAT, Manifest, Slot, read_manifest, write_evidence
from exegete.datastore.hashing import digest64
from exegete.datastore.import_checks import check_import
from exegete.datastore.keeper import Keeper
from exegete.datastore.kept import Firings, KeptContext
from exegete.datastore.records import SPLITS
from exegete.datastore.splits import SHARES, split_of
from exegete.errors import FormatError

_BATCH = 256


@dataclass(frozen=True, slots=True)
class ImportSpec:
    """What is said about imported activations, and how much of them to keep."""

    subject: str = "imported"
    site: str = "imported"
    dictionary: str = "imported"
    top: int = 20
    sample: int = 200
    quiet: int = 2000
    seed: int = 0


def import_parquet(
    source: Path, spec: ImportSpec, folder: Path, on_progress: Callable[[int], None] = lambda _: None
) -> tuple[Manifest, bool]:
    """Import a folder of Parquet files.

    Args:
        source: the folder; see the module's table.
        spec: names and sizes.
        folder: where evidence files stand.
        on_progress: told the number of contexts read so far.

    Returns:
        The manifest, and whether it was made now (False: the same import was already there).

    Raises:
        FormatError: a file or column is missing, or a value can't be what it should be.
        WorkspaceError: the evidence file can't be written.
    """
    contexts, activations = source / "contexts.parquet", source / "activations.parquet"
    parameters = {
        "kind": "import",
        "source": source.resolve().name,
        "fingerprint": _fingerprint([contexts, activations, source / "features.parquet"]),
        "corpus": source.resolve().name,
        "layer": None,
        "shares": list(SHARES),
        "format": FORMAT,
        **{name: getattr(spec, name) for name in ImportSpec.__slots__},
    }
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
    stem = "".join(ch if ch.isalnum() or ch in "-_." else "-" for ch in source.resolve().name).lower()
    path = folder / f"{stem}-{digest}.duckdb"
    if path.exists() and path.with_suffix(".json").exists():
        return read_manifest(path), False
    with duckdb.connect(":memory:", config=settings(read_only=False)) as con:
        check_import(con, source)
        slots = _slots(con, source)
        keeper = _keeper(slots, spec)
        slot_of = {slot.index: i for i, slot in enumerate(slots)}
        for batch, firings in _batches(con, spec, slot_of):
            keeper.add(batch, firings)
            on_progress(int(keeper.statistics.contexts.sum()))
    folder.mkdir(parents=True, exist_ok=True)
    return write_evidence(path, parameters, slots, keeper.finish()), True


def _keeper(slots: Sequence[Slot], spec: ImportSpec) -> Keeper:
    keys = np.asarray([slot.index * 2 for slot in slots], dtype=np.int64)
    a, b, c = (max(1, round(spec.sample * share)) for share in SHARES)
    d, e, f = (max(1, round(spec.quiet * share)) for share in SHARES)
    return Keeper(len(slots), keys, spec.top, (a, b, c), (d, e, f), spec.seed)


def _fingerprint(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _slots(con: duckdb.DuckDBPyConnection, source: Path) -> list[Slot]:
    """Every feature that fires or is described, in order."""
    metadata: dict[int, str] = {}
    if (source / "features.parquet").exists():
        rows = con.execute("SELECT feature, to_json(f) FROM f").fetchall()
        metadata = {int(feature): str(record) for feature, record in rows}
    firing = {int(row[0]) for row in con.execute("SELECT DISTINCT feature FROM a").fetchall()}
    if not firing | set(metadata):
        raise FormatError(f"{source}: activations.parquet has no rows: there is no feature to label")
    return [Slot(i, "+", 0.0, metadata.get(i)) for i in sorted(firing | set(metadata))]


def _batches(
    con: duckdb.DuckDBPyConnection, spec: ImportSpec, slot_of: dict[int, int]
) -> Iterator[tuple[list[KeptContext], Firings]]:
    """Contexts with what fires on them, some hundred at a time, in the order of their ids."""
    con.execute(
        "CREATE TABLE ids AS SELECT context_id, row_number() OVER (ORDER BY context_id) - 1 AS row FROM c"
    )
    show = _how_shown(con)
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


def _how_shown(con: duckdb.DuckDBPyConnection) -> Callable[[Sequence[str]], list[str]]:
    """How the tokens of these files say where words begin: the way of most of those that say anything.

    A single context can't tell (one without a "##" may still be of word pieces), nor can a single token
    ("####" is a heading where spaces are marked).
    """
    counted = con.execute(
        "SELECT count(*) FILTER (t LIKE ' %' OR t LIKE 'Ġ%' OR t LIKE '▁%'), count(*) FILTER (t LIKE '##_%') "
        "FROM (SELECT unnest(tokens) AS t FROM c)"
    ).fetchone()
    marked, pieces = counted or (0, 0)
    if pieces > marked:
        return _as_pieces
    return _as_marked if marked else _as_words


def _as_marked(tokens: Sequence[str]) -> list[str]:
    """Tokens of which those that begin words begin with a space, or a mark that stands for one."""
    return [" " + token[1:] if token[:1] in ("Ġ", "▁") else token for token in tokens]


def _as_pieces(tokens: Sequence[str]) -> list[str]:
    """Tokens of which those that go on words begin with "##"."""
    return [token[2:] if token.startswith("##") and len(token) > 2 else " " + token for token in tokens]


def _as_words(tokens: Sequence[str]) -> list[str]:
    """Tokens that say nothing about spaces are words."""
    return [" " + token for token in tokens]
