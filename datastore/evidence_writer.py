"""The immutable evidence file: one DuckDB file a harvest or import.

    meta(key, value)                    the harvest's parameters, as JSON
    features(…)                         one row a feature: threshold, density, maxima, histogram
    contexts(…)                         every context that is referred to, once, with its split
    examples(…)                         kept (feature, context) pairs, ordered by feature, strongest first
    quiet_activations(…)                everything that fires in the quiet pool, ordered by feature

It is built beside its place and renamed into it, so a half-written file is never seen; its sha256 stands in
a manifest of the same name. Nobody writes to it again, and any number of processes may read it. There are no
indexes: rows are ordered by feature, and DuckDB's zone maps find them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exegete.datastore.database import connect
from exegete.datastore.kept import N_SPLITS, Kept, Pairs, QuietContext, ranks_within
from exegete.datastore.manifest import (
    FORMAT,
    Manifest,
    manifest_path,
    read_manifest,
    sha256_of,
    write_draft,
)
from exegete.datastore.records import SPLITS, Floats, Polarity
from exegete.errors import WorkspaceError

__all__ = [
    "FORMAT",
    "Manifest",
    "Slot",
    "lists",
    "manifest_path",
    "read_manifest",
    "sha256_of",
    "write_evidence",
]

_BLOCK = 4096
"""Contexts, or feature slots of the quiet pool, written at a time."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One feature slot of a harvest, as it goes into the file."""

    index: int
    polarity: Polarity
    threshold: float
    """Activations at or below it count as silent, raw units."""
    metadata: str | None = None
    """JSON of whatever an import said about the feature."""


def write_evidence(
    path: Path,
    parameters: dict[str, Any],
    slots: Sequence[Slot],
    kept: Kept,
    source: dict[str, str | None] | None = None,
) -> Manifest:
    """Write an evidence file and its manifest, each atomically, the manifest last.

    Args:
        path: `evidence/NAME.duckdb`; must not exist.
        parameters: everything the harvest was run with; JSON values.
        slots: the features, in the order of the keeper's slots.
        kept: what the keeper kept.
        source: where the subject and the dictionary were loaded from.

    Returns:
        The manifest.

    Raises:
        WorkspaceError: the disk is full or the folder can't be written.
    """
    building = path.with_name(f".{path.stem}.{os.getpid()}.building")
    try:
        building.unlink(missing_ok=True)  # of a process that was killed and had our number
        try:
            with connect(building, read_only=False) as con:
                _write_tables(con, parameters, slots, kept)
                con.execute("CHECKPOINT")
            manifest = Manifest(path.stem, sha256_of(building), FORMAT, parameters, source)
            draft = write_draft(path, manifest)
            os.replace(building, path)
            os.replace(draft, manifest_path(path))
        finally:
            for leftover in path.parent.glob(f".{path.stem}.{os.getpid()}.*"):
                leftover.unlink(missing_ok=True)
    except (OSError, duckdb.OperationalError, duckdb.FatalException) as error:
        raise WorkspaceError(
            f"the evidence file {path.name} could not be written ({str(error).splitlines()[0]}): "
            "nothing was left behind; make room or choose another --workspace and run the command again"
        ) from error
    return manifest


def _write_tables(
    con: duckdb.DuckDBPyConnection, parameters: dict[str, Any], slots: Sequence[Slot], kept: Kept
) -> None:
    con.execute("CREATE TABLE meta (key VARCHAR, value VARCHAR)")
    con.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [("format", str(FORMAT)), ("parameters", json.dumps(parameters)), *_seen(kept)],
    )
    _store(con, "features", [_features(slots, kept)])
    _store(con, "contexts", _contexts(kept))
    _store(con, "examples", _examples(slots, kept))
    _store(con, "quiet_activations", _quiet(slots, kept))


def _seen(kept: Kept) -> list[tuple[str, str]]:
    s = kept.statistics
    return [("tokens", str(s.tokens)), ("contexts", json.dumps(s.contexts.tolist()))]


def _store(con: duckdb.DuckDBPyConnection, name: str, blocks: Iterable[pa.Table]) -> None:
    """Make a table of one block at least, in one statement: each would be a transaction of its own."""
    rest = iter(blocks)
    first = next(rest)
    batches = (batch for block in chain([first], rest) for batch in block.to_batches())
    con.register("blocks", pa.RecordBatchReader.from_batches(first.schema, batches))
    con.execute(f"CREATE TABLE {name} AS SELECT * FROM blocks")
    con.unregister("blocks")


def _features(slots: Sequence[Slot], kept: Kept) -> pa.Table:
    s = kept.statistics
    tokens = max(1, s.tokens)
    columns: dict[str, Any] = {
        "feature_index": pa.array([f.index for f in slots], pa.int32()),
        "polarity": [f.polarity for f in slots],
        "threshold": pa.array([f.threshold for f in slots], pa.float32()),
        "fired": s.fired,
        "density": s.fired / tokens,
        "maximum": s.maximum.max(axis=1),
        "maximum_explain": s.maximum[:, 0],
        "histogram": lists(s.histogram.reshape(-1), np.full(len(slots), s.histogram.shape[1]), pa.int64()),
        "metadata": pa.array([f.metadata for f in slots], pa.string()),
    }
    for i, split in enumerate(SPLITS):
        columns[f"fired_contexts_{split}"] = s.fired_contexts[:, i]
    return pa.table(columns)


def _contexts(kept: Kept) -> Iterator[pa.Table]:
    keys = sorted(kept.contexts)
    for at in range(0, max(1, len(keys)), _BLOCK):
        rows = [kept.contexts[key] for key in keys[at : at + _BLOCK]]
        yield pa.table(
            {
                "context_id": pa.array([c.id for c in rows], pa.int64()),
                "split": pa.array([SPLITS[c.split] for c in rows], pa.string()),
                "quiet": pa.array([(c.split, c.id) in kept.quiet for c in rows], pa.bool_()),
                "document": pa.array([c.document for c in rows], pa.string()),
                "start": pa.array([c.start for c in rows], pa.int32()),
                "token_ids": pa.array([c.token_ids for c in rows], pa.list_(pa.int32())),
                "tokens": pc.split_pattern(pa.array([c.text for c in rows], pa.string()), "\x1f"),
            }
        )


def _examples(slots: Sequence[Slot], kept: Kept) -> Iterator[pa.Table]:
    """Tables of examples, some thousand slots each; at least one, so that the table exists."""
    index = np.asarray([f.index for f in slots], dtype=np.int32)
    polarity = np.asarray([f.polarity for f in slots], dtype=object)
    for p in kept.parts:
        slot, split = p.group // N_SPLITS, p.group % N_SPLITS
        rank = ranks_within(p.group, np.arange(len(p)))
        yield pa.table(
            {
                "feature_index": pa.array(index[slot], pa.int32()),
                "polarity": pa.array(polarity[slot], pa.string()),
                "split": pa.array(np.asarray(SPLITS, dtype=object)[split], pa.string()),
                "rank": pa.array(rank, pa.int32()),
                "sampled": p.order <= kept.order_bar[p.group],
                "weight": _weights(p, rank, kept),
                "context_id": p.context,
                "peak": p.strength,
                "positions": lists(p.position, p.length, pa.uint16()),
                "activations": lists(p.value, p.length, pa.float32()),
            }
        )


def _weights(p: Pairs, rank: np.ndarray[Any, Any], kept: Kept) -> Floats:
    """1 / inclusion probability: 1 for the top, (population - top) / (kept - top) for the uniform rest."""
    fired = kept.statistics.fired_contexts.reshape(-1)[p.group]
    first = int(p.group.min(initial=0))
    rest = np.maximum(1, np.bincount(p.group - first)[p.group - first] - kept.k_top)
    population = np.maximum(rest, fired - kept.k_top)
    return np.where(rank < kept.k_top, 1.0, population / rest).astype(np.float32)


def _quiet(slots: Sequence[Slot], kept: Kept) -> Iterator[pa.Table]:
    """Tables of what fires in the pool, some thousand slots each, ordered by feature and context."""
    index = np.asarray([f.index for f in slots], dtype=np.int32)
    polarity = np.asarray([f.polarity for f in slots], dtype=object)
    pool = sorted(kept.quiet.items(), key=lambda item: item[0][1])
    for at in range(0, max(1, len(slots)), _BLOCK):
        slot, context, position, value = _quiet_of(pool, at, at + _BLOCK)
        new = np.concatenate(([True], (slot[1:] != slot[:-1]) | (context[1:] != context[:-1])))[: len(slot)]
        first = np.flatnonzero(new)
        length = np.diff(np.append(first, len(slot)))
        yield pa.table(
            {
                "feature_index": pa.array(index[slot[first]], pa.int32()),
                "polarity": pa.array(polarity[slot[first]], pa.string()),
                "context_id": context[first],
                "positions": lists(position, length, pa.uint16()),
                "activations": lists(value, length, pa.float32()),
            }
        )


def _quiet_of(
    pool: Sequence[tuple[tuple[int, int], QuietContext]], first: int, last: int
) -> tuple[np.ndarray[Any, Any], ...]:
    """What fires in the pool of slots `first` to `last` - 1: slot, context id, position, value.

    The pool is in the order of context ids, and what fires in a context in that of slots and positions.
    """
    parts: list[tuple[np.ndarray[Any, Any], ...]] = [
        (np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32))
    ]
    for (_, id_), q in pool:
        a, b = np.searchsorted(q.slot, [first, last]).tolist()
        parts.append((q.slot[a:b], np.full(b - a, id_, dtype=np.int64), q.position[a:b], q.value[a:b]))
    columns = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(columns[0], kind="stable")
    return tuple(column[order] for column in columns)


def lists(values: np.ndarray[Any, Any], length: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """An Arrow list column from values laid end to end and the length of each list."""
    offsets = np.concatenate(([0], np.cumsum(length, dtype=np.int64))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, kind))
