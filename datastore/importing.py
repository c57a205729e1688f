"""Bring your own activations: a folder of Parquet files becomes an evidence file.

    contexts.parquet      context_id int64, document string, tokens list<string>
    activations.parquet   feature int32, context_id int64, position int32, activation float: only what fires
    features.parquet      optional: feature int32, and anything else, which is kept as metadata

Both are read as streams ordered by context and go through the same keeper as a harvest, so that everything
that needs no subject model works on them. They are checked before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb

from exegete.datastore.database import settings
from exegete.datastore.evidence_writer import Manifest, Slot, read_manifest, write_evidence
from exegete.datastore.import_checks import check_import
from exegete.datastore.import_tables import keep_tables
from exegete.datastore.import_target import ImportSpec, evidence_path, is_made, parameters_of
from exegete.errors import FormatError

__all__ = ["ImportSpec", "import_parquet"]


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
    files = [source / f"{name}.parquet" for name in ("contexts", "activations", "features")]
    parameters = parameters_of(source, spec, files, {})
    path = evidence_path(folder, source.resolve().name, parameters)
    if is_made(path):
        return read_manifest(path), False
    with duckdb.connect(":memory:", config=settings(read_only=False)) as con:
        check_import(con, source)
        slots = _slots(con, source)
        kept = keep_tables(con, slots, spec, on_progress)
    folder.mkdir(parents=True, exist_ok=True)
    return write_evidence(path, parameters, slots, kept), True


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
