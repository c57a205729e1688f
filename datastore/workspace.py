"""A workspace: the folder that holds everything about one piece of work.

workspace.json      what it is, and the version of its layout
evidence/           immutable evidence files, one a harvest or import
labels.duckdb       everything that changes (datastore/store.py), made of what is in the other folders
journal/            every paid reply
decisions/          what people decided, and what runs were asked to do
batches/            batches at providers, while `--batch` is in use
measurements/       what subjects did on texts that were written to test labels
logs/               what commands did
job.lock            held by the job that is running
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exegete.datastore.evidence_file import EvidenceFile
from exegete.errors import JobError, UsageError, WorkspaceBusy, WorkspaceError

FORMAT = 1
MARKER = "workspace.json"
CONTROLS = "controls-"
"""How the names of harvests of planted features begin."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """An opened workspace folder."""

    root: Path

    @staticmethod
    def open(root: Path) -> Workspace:
        """Open a workspace that exists.

        Raises:
            WorkspaceError: the path holds no workspace, or one of a newer layout.
        """
        marker = root / MARKER
        if not marker.is_file():
            what = (
                "is a file" if root.is_file() else "holds no workspace" if root.exists() else "does not exist"
            )
            raise WorkspaceError(
                f"{root} {what}: pass --workspace with a folder made by `exegete harvest` or `exegete import`"
            )
        try:
            found = int(json.loads(marker.read_text())["format"])
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise WorkspaceError(
                f"{marker} can't be read ({error}): restore it, or make a new workspace"
            ) from error
        if found > FORMAT:
            raise WorkspaceError(
                f"{root} was made by a newer exegete (workspace format {found}, this one knows {FORMAT}): "
                "upgrade exegete"
            )
        return Workspace(root)

    @staticmethod
    def open_or_create(root: Path) -> Workspace:
        """Open a workspace, made first if the folder is new or empty.

        Raises:
            WorkspaceError: the path is a file, a folder of something else, or can't be written.
        """
        if (root / MARKER).exists():
            return Workspace.open(root)
        # Its own empty folders are what a first attempt on a full disk left.
        if root.is_file() or (root.is_dir() and any(not _just_begun(path) for path in root.iterdir())):
            what = "a file" if root.is_file() else "a folder with other things in it"
            raise WorkspaceError(f"{root} is {what} and no workspace: pass --workspace with a new folder")
        try:
            for folder in (root, root / "evidence", root / "journal"):
                folder.mkdir(parents=True, exist_ok=True)
            draft = root / f".{MARKER}.{os.getpid()}"
            try:
                draft.write_text(json.dumps({"exegete": "workspace", "format": FORMAT}) + "\n")
                os.replace(draft, root / MARKER)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"the workspace {root} can't be made ({error.strerror}): make room, or pass --workspace with "
                "a folder that can be written"
            ) from error
        return Workspace(root)

    @property
    def evidence(self) -> Path:
        """The folder of evidence files."""
        return self.root / "evidence"

    @property
    def labels(self) -> Path:
        """The labels file."""
        return self.root / "labels.duckdb"

    @property
    def journal(self) -> Path:
        """The folder of the call journal."""
        return self.root / "journal"

    @property
    def batches(self) -> Path:
        """The folder of the log of batches."""
        return self.root / "batches"

    @property
    def measurements(self) -> Path:
        """The folder of what subjects did on texts."""
        return self.root / "measurements"

    def harvests(self) -> list[str]:
        """Names of all finished harvests and imports, oldest first."""
        found = [p for p in self.evidence.glob("*.duckdb") if p.with_suffix(".json").exists()]
        return [p.stem for p in sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def open_evidence(self, name: str | None = None) -> EvidenceFile:
        """Open a harvest by name, or by a part of it that only one has; None takes the only one.

        Raises:
            UsageError: there is none of that name, or several.
        """
        names = self.harvests()
        if not names:
            raise UsageError(f"the workspace {self.root} has no harvest: run `exegete harvest` first")
        # Planted features stand beside a harvest, and are meant only when they are named or alone.
        usual = [n for n in names if not n.startswith(CONTROLS)] if name is None else names
        matching = [n for n in names if n == name] or [n for n in usual or names if name is None or name in n]
        if len(matching) == 1:
            return EvidenceFile(self.evidence / f"{matching[0]}.duckdb")
        if matching:
            raise UsageError(f"choose one of these harvests with --harvest: {', '.join(matching)}")
        raise UsageError(f"there is no harvest {name!r} in {self.root}; it has {', '.join(names)}")

    def running_job(self) -> int | None:
        """The process id of the job that runs here, or None."""
        path = self.root / "job.lock"
        if not path.exists():
            return None
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else 0
        return None

    @contextmanager
    def job_lock(self) -> Iterator[None]:
        """Hold the workspace for one job.

        Raises:
            WorkspaceBusy: another job runs; the message names its process.
        """
        path = self.root / "job.lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise WorkspaceBusy(
                    f"another job is running in {self.root} (process {file.read().strip() or '?'}): wait "
                    "for it, or stop it with Ctrl-C; it can be resumed"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield


def _just_begun(path: Path) -> bool:
    return path.name in ("evidence", "journal") and path.is_dir() and not any(path.iterdir())


def parse_features(text: str) -> tuple[int, ...]:
    """Feature indices from "0-511", "3,7,9" or a mixture.

    Raises:
        JobError: it is neither.
    """
    indices: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        # isdecimal, not isdigit: "²" is a digit that int() can't read.
        if not low.isdecimal() or (dash and not high.isdecimal()) or (dash and int(high) < int(low)):
            raise JobError(f"--features {text!r} can't be read: write 0-511, or 3,7,9, or both")
        indices.update(range(int(low), int(high or low) + 1))
    return tuple(sorted(indices))
