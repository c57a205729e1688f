"""A private copy of the labels file as it is at one moment.

What takes long (an export, a snapshot) would hold up a running job for as long as it reads. Copying the file
takes a fraction of that, so the file is held only while its bytes are copied, with the log of what is not yet
in it, and everything else is done on the copy. A copy made without holding the file could miss rows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from exegete.datastore.database import connect
from exegete.datastore.store import Store
from exegete.errors import WorkspaceError


@contextmanager
def frozen(store: Store, beside: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a copy of a labels file, which is gone afterwards.

    Args:
        store: the labels file.
        beside: folder for the copy; it needs as much room as the file takes.

    Raises:
        WorkspaceBusy: a writer holds the file for too long.
        WorkspaceError: there is no room for the copy, or what is made from it can't be written.
    """
    try:
        with TemporaryDirectory(prefix=".exegete-", dir=beside) as folder:
            copy = Path(folder) / "labels.duckdb"

            def work(_: duckdb.DuckDBPyConnection) -> None:
                shutil.copyfile(store.path, copy)
                log = store.path.with_name(f"{store.path.name}.wal")
                if log.exists():
                    shutil.copyfile(log, copy.with_name(f"{copy.name}.wal"))

            store.reading(work)
            with connect(copy, read_only=False) as con:
                con.execute("SET enable_progress_bar = false")  # DuckDB draws it on stdout
                yield con
    except OSError as error:
        raise WorkspaceError(
            f"{error.filename or beside} can't be written ({error.strerror or error}): make room, or name "
            "another place with --out"
        ) from error
    except duckdb.Error as error:
        raise WorkspaceError(
            f"what was to be made in {beside} could not be ({str(error).splitlines()[0]}): make room, or "
            "name another place with --out"
        ) from error
