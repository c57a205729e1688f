"""A keeper on disk: a folder of Parquet files that another keeper can take in.

    features.parquet    index, polarity, threshold and statistics of every slot
    pairs.parquet       kept pairs with what fires in them, sorted by slot
    contexts.parquet    the contexts they refer to
    quiet.parquet       the quiet pool
    manifest.json       what the folder is, how much was seen, and the files' sha256; written last

The folder is built beside its place and renamed into it, so it is there whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exegete.datastore.evidence_writer import Slot, lists, sha256_of
from exegete.datastore.hashing import uniform
from exegete.datastore.keeper import Keeper
from exegete.datastore.kept import N_SPLITS, KeptContext, Pairs, QuietContext, Statistics
from exegete.errors import WorkspaceDamaged, WorkspaceError

FORMAT = 1
"""Raised when a folder written before can no longer be read."""
_MANIFEST = "manifest.json"
_TABLES = ("features", "pairs", "contexts", "quiet")
_BLOCK = 4096
"""Contexts written or read at a time."""


@dataclass(frozen=True, slots=True)
class State:
    """A keeper on disk."""

    folder: Path
    about: dict[str, Any]
    """What its writer said of it: JSON values."""
    tokens: int
    """Tokens the keeper has seen."""
    contexts: tuple[int, int, int]
    """Contexts it has seen, by split."""
    sha256: dict[str, str]
    """Digest of each table's file."""


def write_state(folder: Path, about: dict[str, Any], slots: Sequence[Slot], keeper: Keeper) -> None:
    """Write what a keeper holds, atomically. The keeper is compacted, and can go on.

    Args:
        folder: where to; must not exist.
        about: what it is: JSON values.
        slots: the keeper's features.
        keeper: the keeper.

    Raises:
        WorkspaceError: the disk is full or the folder can't be written.
    """
    keeper.compact()
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.building")
    try:
        try:
            draft.mkdir(parents=True)
            pq.write_table(_features(slots, keeper.statistics), draft / "features.parquet")
            _write(draft / "pairs.parquet", (_pairs(part.pairs) for part in keeper.parts))
            _write(draft / "contexts.parquet", _contexts(keeper))
            pq.write_table(_quiet(keeper), draft / "quiet.parquet")
            manifest = {
                "format": FORMAT,
                "about": about,
                "tokens": keeper.statistics.tokens,
                "contexts": keeper.statistics.contexts.tolist(),
                "sha256": {name: sha256_of(draft / f"{name}.parquet") for name in _TABLES},
            }
            (draft / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise WorkspaceError(
            f"{folder} could not be written ({error.strerror or str(error).splitlines()[0]}): make room and "
            "run the command again; what was written before is kept"
        ) from error


def open_state(folder: Path) -> State:
    """A keeper on disk, its files checked.

    Raises:
        WorkspaceError: there is none, or it is of a newer format.
        WorkspaceDamaged: a file is missing or not what was written.
    """
    try:
        record = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if record["format"] > FORMAT:
            raise WorkspaceError(
                f"{folder} was written by a newer exegete (format {record['format']}, this one reads up to "
                f"{FORMAT}): upgrade exegete"
            )
        a, b, c = record["contexts"]
        state = State(folder, dict(record["about"]), int(record["tokens"]), (a, b, c), dict(record["sha256"]))
        damaged = [name for name in _TABLES if sha256_of(folder / f"{name}.parquet") != state.sha256[name]]
    except FileNotFoundError as error:
        raise WorkspaceError(
            f"{folder} is not whole ({Path(str(error.filename)).name} is missing): harvest it again"
        ) from None
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise WorkspaceDamaged(f"{folder} can't be read ({error!r}): delete it and harvest again") from error
    if damaged:
        raise WorkspaceDamaged(
            f"{folder / damaged[0]}.parquet is not what was written: delete {folder} and harvest again"
        )
    return state


def slots_of(state: State) -> list[Slot]:
    """The features of a keeper on disk."""
    table = pq.read_table(state.folder / "features.parquet", columns=["index", "polarity", "threshold"])
    return [Slot(row["index"], row["polarity"], row["threshold"]) for row in table.to_pylist()]


def absorb_state(keeper: Keeper, state: State) -> None:
    """Take a keeper on disk into one of the same slots, sizes and seed."""
    folder = state.folder
    keeper.absorb(
        _read_contexts(folder / "contexts.parquet"),
        _read_quiet(folder / "quiet.parquet", keeper.seed + 1),
        _read_statistics(state),
        _read_pairs(folder / "pairs.parquet", keeper),
    )


def _write(path: Path, tables: Iterator[pa.Table]) -> None:
    first = next(tables)
    with pq.ParquetWriter(path, first.schema, compression="zstd", compression_level=1) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _features(slots: Sequence[Slot], s: Statistics) -> pa.Table:
    def matrix(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
        return lists(values.reshape(-1), np.full(len(values), values.shape[1]), kind)

    return pa.table(
        {
            "index": pa.array([slot.index for slot in slots], pa.int32()),
            "polarity": pa.array([slot.polarity for slot in slots], pa.string()),
            "threshold": pa.array([slot.threshold for slot in slots], pa.float32()),
            "fired": s.fired,
            "fired_contexts": matrix(s.fired_contexts, pa.int64()),
            "maximum": matrix(s.maximum, pa.float32()),
            "histogram": matrix(s.histogram, pa.int64()),
        }
    )


def _read_statistics(state: State) -> Statistics:
    table = pq.read_table(state.folder / "features.parquet")

    def matrix(name: str) -> np.ndarray[Any, Any]:
        flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat).reshape(len(table), -1)

    return Statistics(
        state.tokens,
        np.asarray(state.contexts, dtype=np.int64),
        np.asarray(table["fired"].to_numpy(), dtype=np.int64),
        matrix("fired_contexts"),
        matrix("maximum"),
        matrix("histogram"),
    )


def _pairs(p: Pairs) -> pa.Table:
    return pa.table(
        {
            "group": pa.array(p.group, pa.int32()),
            "context_id": pa.array(p.context, pa.int64()),
            "positions": lists(p.position, p.length, pa.uint16()),
            "activations": lists(p.value, p.length, pa.float32()),
        }
    )


def _read_pairs(path: Path, keeper: Keeper) -> Iterator[Pairs]:
    """Pairs as they were written; strength and sample key are worked out anew."""
    with pq.ParquetFile(path) as file:
        for at in range(file.num_row_groups):
            table = file.read_row_group(at)
            if not len(table):
                continue
            group, context = table["group"].to_numpy(), table["context_id"].to_numpy()
            positions = table["positions"].combine_chunks()
            value = table["activations"].combine_chunks().flatten().to_numpy()
            offsets = positions.offsets.to_numpy() - positions.offsets[0].as_py()
            yield Pairs(
                group,
                context,
                np.maximum.reduceat(value, offsets[:-1]),
                keeper.sample_keys(group // N_SPLITS, context),
                np.diff(offsets).astype(np.uint16),
                positions.flatten().to_numpy(),
                value,
            )


def _contexts(keeper: Keeper) -> Iterator[pa.Table]:
    keys = sorted(keeper.contexts)
    for at in range(0, max(1, len(keys)), _BLOCK):
        rows = [keeper.contexts[key] for key in keys[at : at + _BLOCK]]
        yield pa.table(
            {
                "split": pa.array([c.split for c in rows], pa.int8()),
                "context_id": pa.array([c.id for c in rows], pa.int64()),
                "document": pa.array([c.document for c in rows], pa.string()),
                "start": pa.array([c.start for c in rows], pa.int32()),
                "token_ids": pa.array([c.token_ids for c in rows], pa.list_(pa.int32())),
                "text": pa.array([c.text for c in rows], pa.string()),
            }
        )


def _read_contexts(path: Path) -> Iterator[KeptContext]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BLOCK):
            ids = batch["token_ids"]
            flat, offsets = (
                ids.flatten().to_numpy(),
                (ids.offsets.to_numpy() - ids.offsets[0].as_py()).tolist(),
            )
            plain = (batch[name].to_pylist() for name in ("context_id", "split", "document", "start", "text"))
            for row, (id_, split, document, start, text) in enumerate(zip(*plain, strict=True)):
                own = flat[offsets[row] : offsets[row + 1]].copy()  # a view would keep its batch alive
                yield KeptContext(id_, split, document, start, own, text)


def _quiet(keeper: Keeper) -> pa.Table:
    keys = sorted(keeper.quiet)
    drawn = [keeper.quiet[key] for key in keys]
    return pa.table(
        {
            "split": pa.array([split for split, _ in keys], pa.int8()),
            "context_id": pa.array([id_ for _, id_ in keys], pa.int64()),
            "slot": pa.array([q.slot for q in drawn], pa.list_(pa.int32())),
            "position": pa.array([q.position for q in drawn], pa.list_(pa.uint16())),
            "value": pa.array([q.value for q in drawn], pa.list_(pa.float32())),
        }
    )


def _read_quiet(path: Path, seed: int) -> dict[tuple[int, int], QuietContext]:
    table = pq.read_table(path)
    keys = list(zip(table["split"].to_pylist(), table["context_id"].to_pylist(), strict=True))
    order = uniform(seed, table["context_id"].to_numpy()).tolist() if keys else []
    columns = [table[name] for name in ("slot", "position", "value")]
    return {
        key: QuietContext(order[i], *(column[i].values.to_numpy() for column in columns))
        for i, key in enumerate(keys)
    }
