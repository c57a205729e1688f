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

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from exegete.datastore.database import connect
from exegete.datastore.kept import N_SPLITS, Ints, Kept, ranks_within, slots_of
from exegete.datastore.records import SPLITS, Floats, Polarity
from exegete.errors import WorkspaceDamaged, WorkspaceError

FORMAT = 1
"""Raised when a file written before can no longer be read."""

_BLOCK = 4096
"""Feature slots written at a time."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One feature slot of a harvest, as it goes into the file."""

    index: int
    polarity: Polarity
    threshold: float
    """Activations at or below it count as silent, raw units."""
    metadata: str | None = None
    """JSON of whatever an import said about the feature."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands beside an evidence file."""

    name: str
    sha256: str
    format: int
    parameters: dict[str, Any]


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_evidence(path: Path, parameters: dict[str, Any], slots: Sequence[Slot], kept: Kept) -> Manifest:
    """Write an evidence file and its manifest, each atomically, the manifest last.

    Args:
        path: `evidence/NAME.duckdb`; must not exist.
        parameters: everything the harvest was run with; JSON values.
        slots: the features, in the order of the keeper's slots.
        kept: what the keeper kept.

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
            manifest = Manifest(path.stem, sha256_of(building), FORMAT, parameters)
            draft = path.with_name(f".{path.stem}.{os.getpid()}.manifest")
            draft.write_text(
                json.dumps({f: getattr(manifest, f) for f in Manifest.__slots__}, indent=1) + "\n",
                encoding="utf-8",
            )
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


def manifest_path(path: Path) -> Path:
    """Where the manifest of an evidence file stands."""
    return path.with_suffix(".json")


def read_manifest(path: Path) -> Manifest:
    """The manifest of an evidence file.

    Raises:
        WorkspaceError: there is none, or it is of a newer format.
        WorkspaceDamaged: it is no manifest.
    """
    try:
        record = json.loads(manifest_path(path).read_text(encoding="utf-8"))
        found = int(record["format"])
        # A newer format may have other fields, so it is recognised before they are looked at.
        manifest = Manifest(**record) if found <= FORMAT else None
    except FileNotFoundError:
        raise WorkspaceError(
            f"{path.name} has no manifest: it was not finished; harvest or import again"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise WorkspaceDamaged(
            f"the manifest {manifest_path(path).name} can't be read ({error!r}): delete it and "
            f"{path.name} and harvest again; labels made from it are kept"
        ) from error
    if manifest is None:
        raise WorkspaceError(
            f"{path.name} was written by a newer exegete (evidence format {found}, "
            f"this one reads up to {FORMAT}): upgrade exegete"
        )
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
    _store(con, "contexts", [_contexts(kept)])
    _store(con, "examples", _examples(slots, kept))
    _store(con, "quiet_activations", [_quiet(slots, kept)])


def _seen(kept: Kept) -> list[tuple[str, str]]:
    s = kept.statistics
    return [("tokens", str(s.tokens)), ("contexts", json.dumps(s.contexts.tolist()))]


def _store(con: duckdb.DuckDBPyConnection, name: str, blocks: Iterator[pa.Table] | list[pa.Table]) -> None:
    for number, block in enumerate(blocks):
        con.register("block", block)
        verb = f"CREATE TABLE {name} AS" if number == 0 else f"INSERT INTO {name}"
        con.execute(f"{verb} SELECT * FROM block")
        con.unregister("block")


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
        "histogram": _lists(s.histogram.reshape(-1), np.full(len(slots), s.histogram.shape[1]), pa.int64()),
        "metadata": pa.array([f.metadata for f in slots], pa.string()),
    }
    for i, split in enumerate(SPLITS):
        columns[f"fired_contexts_{split}"] = s.fired_contexts[:, i]
    return pa.table(columns)


def _contexts(kept: Kept) -> pa.Table:
    rows = [kept.contexts[key] for key in sorted(kept.contexts)]
    return pa.table(
        {
            "context_id": pa.array([c.id for c in rows], pa.int64()),
            "split": pa.array([SPLITS[c.split] for c in rows], pa.string()),
            "quiet": pa.array([(c.split, c.id) in kept.quiet for c in rows], pa.bool_()),
            "document": pa.array([c.document for c in rows], pa.string()),
            "start": pa.array([c.start for c in rows], pa.int32()),
            "token_ids": pa.array([c.token_ids for c in rows], pa.list_(pa.int32())),
            "tokens": pa.array([c.tokens for c in rows], pa.list_(pa.string())),
        }
    )


def _examples(slots: Sequence[Slot], kept: Kept) -> Iterator[pa.Table]:
    """Tables of examples, a block of slots each; at least one, so that the table exists."""
    index = np.asarray([f.index for f in slots], dtype=np.int32)
    polarity = np.asarray([f.polarity for f in slots], dtype=object)
    slices = [rows for _, rows in slots_of(kept.pairs)] or [slice(0, 0)]
    for at in range(0, len(slices), _BLOCK):
        some = slices[at : at + _BLOCK]
        p = kept.pairs.take(np.arange(some[0].start, some[-1].stop))
        slot, split = p.group // N_SPLITS, p.group % N_SPLITS
        rank = ranks_within(p.group, -p.strength, p.context)
        yield pa.table(
            {
                "feature_index": pa.array(index[slot], pa.int32()),
                "polarity": pa.array(polarity[slot], pa.string()),
                "split": pa.array(np.asarray(SPLITS, dtype=object)[split], pa.string()),
                "rank": pa.array(rank, pa.int32()),
                "sampled": p.order <= kept.order_bar[p.group],
                "weight": _weights(p.group, rank, kept),
                "context_id": p.context,
                "peak": p.strength,
                "positions": _lists(p.position, p.length, pa.uint16()),
                "activations": _lists(p.value, p.length, pa.float32()),
            }
        )


def _weights(group: Ints, rank: Ints, kept: Kept) -> Floats:
    """1 / inclusion probability: 1 for the top, (population - top) / (kept - top) for the uniform rest."""
    fired = kept.statistics.fired_contexts.reshape(-1)
    rest = np.maximum(1, np.bincount(group, minlength=len(fired))[group] - kept.k_top)
    population = np.maximum(rest, fired[group] - kept.k_top)
    return np.where(rank < kept.k_top, 1.0, population / rest).astype(np.float32)


def _quiet(slots: Sequence[Slot], kept: Kept) -> pa.Table:
    keys = sorted(kept.quiet)
    slot = np.concatenate([np.zeros(0, np.int64), *(kept.quiet[k].slot for k in keys)])
    context = np.concatenate(
        [np.zeros(0, np.int64), *(np.full(len(kept.quiet[k].slot), k[1], dtype=np.int64) for k in keys)]
    )
    position = np.concatenate([np.zeros(0, np.int64), *(kept.quiet[k].position for k in keys)])
    value = np.concatenate([np.zeros(0, np.float32), *(kept.quiet[k].value for k in keys)])
    order = np.lexsort((position, context, slot))
    slot, context, position, value = slot[order], context[order], position[order], value[order]
    new = np.concatenate(([True], (slot[1:] != slot[:-1]) | (context[1:] != context[:-1])))[: len(slot)]
    first = np.flatnonzero(new)
    length = np.diff(np.append(first, len(slot)))
    index = np.asarray([f.index for f in slots], dtype=np.int32)
    polarity = np.asarray([f.polarity for f in slots], dtype=object)
    return pa.table(
        {
            "feature_index": pa.array(index[slot[first]], pa.int32()),
            "polarity": pa.array(polarity[slot[first]], pa.string()),
            "context_id": context[first],
            "positions": _lists(position.astype(np.uint16), length, pa.uint16()),
            "activations": _lists(value, length, pa.float32()),
        }
    )


def _lists(values: np.ndarray[Any, Any], length: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """An Arrow list column from values laid end to end and the length of each list."""
    offsets = np.concatenate(([0], np.cumsum(length))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, kind))
