"""Checks of a workspace's health: every file is what was recorded, and can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from exegete.agent.events import EVENT, events_folder
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_writer import read_manifest, sha256_of
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError
from exegete.llm.lines import Position, intact, numbers, path_of, read_lines
from exegete.llm.record import LOST, RECORD


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str


def check_workspace(root: Path) -> list[Finding]:
    """Check a workspace's marker, evidence files, labels file, journal, decisions and measurements.

    Args:
        root: the workspace folder.

    Returns:
        One finding a thing; none is raised.
    """
    try:
        workspace = Workspace.open(root)
    except ExegeteError as error:
        return [Finding("workspace", False, str(error))]
    findings = [Finding("workspace", True, str(root))]
    for name in workspace.harvests():
        path = workspace.evidence / f"{name}.duckdb"
        findings.append(_try(f"evidence {name}", lambda path=path: _evidence(path)))  # type: ignore[misc]
    if workspace.labels.exists():
        findings.append(_try("labels", lambda: _labels(workspace.labels)))
    findings.append(_try("journal", lambda: _journal(workspace.journal)))
    findings.append(_try("decisions", lambda: _decisions(events_folder(workspace.labels))))
    if workspace.measurements.exists():
        findings.append(_try("measurements", lambda: _measurements(workspace.measurements)))
    running = workspace.running_job()
    findings.append(Finding("job", True, f"process {running} is running" if running else "none is running"))
    return findings


def _try(what: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (ExegeteError, duckdb.Error, OSError) as error:
        return Finding(what, False, str(error).splitlines()[0])


def _evidence(path: Path) -> Finding:
    manifest = read_manifest(path)
    what = "evidence"
    if sha256_of(path) != manifest.sha256:
        return Finding(what, False, f"{path.name} is not what was recorded: delete it and harvest again")
    file = EvidenceFile(path)
    n = len(file.features)
    file.close()
    return Finding(what, True, f"{manifest.name}: {n:,} features, digest as recorded")


def _labels(path: Path) -> Finding:
    store = Store(path)
    n = store.read("SELECT count(*) AS n FROM labels")[0]["n"]
    return Finding("labels", True, f"{path.name}: {n:,} labelled features")


def _journal(folder: Path) -> Finding:
    kinds, damaged = _lines(folder, RECORD, LOST)
    segments = numbers(folder)
    compressed = sum(not path_of(folder, number).exists() for number in segments)
    found = f"{kinds[RECORD]:,} replies"
    if compressed:
        found += f", {compressed:,} of {len(segments):,} segments compressed"
    if kinds[LOST]:
        found += f", {kinds[LOST]:,} lost calls (sent, maybe billed, never answered)"
    if damaged:
        found += f"; {damaged:,} damaged lines, whose calls are made again if needed"
    return Finding("journal", not damaged, found)


def _decisions(folder: Path) -> Finding:
    kinds, damaged = _lines(folder, EVENT)
    found = f"{kinds[EVENT]:,} events noted"
    if damaged:
        found += f"; {damaged:,} damaged lines: what they said is in labels.duckdb alone, keep a copy of it"
    return Finding("decisions", not damaged, found)


def _measurements(folder: Path) -> Finding:
    whole = damaged = 0
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                if intact(line):
                    whole += 1
                elif line.endswith(b"\n"):  # one without its end is being written, or was not finished
                    damaged += 1
    found = f"{whole:,} sets of texts measured"
    if damaged:
        found += f"; {damaged:,} damaged lines, whose texts are run again if needed"
    return Finding("measurements", not damaged, found)


def _lines(folder: Path, *beginnings: bytes) -> tuple[Counter[bytes], int]:
    """How many sealed lines of a folder begin in each way, and how many are damaged."""
    kinds: Counter[bytes] = Counter()
    damaged = 0
    for _, line, _ in read_lines(folder, Position(1, 0)):
        if intact(line):
            kinds.update(beginning for beginning in beginnings if line.startswith(beginning))
        else:
            damaged += 1
    return kinds, damaged
