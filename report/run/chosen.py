"""Which run a report is about, and what is written down about it in one row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exegete.datastore.evidence_writer import read_manifest
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError, WorkspaceError

_RUN = """
SELECT r.*, h.subject, h.site, h.layer, h.dictionary, h.corpus, h.tokens, h.kind = 'controls' AS planted,
    (SELECT count(*) FROM features f WHERE f.harvest = r.harvest) AS harvested
FROM runs r JOIN store.harvests h ON h.harvest = r.harvest
WHERE r.run = ?
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A run, its parameters and its evidence."""

    row: Mapping[str, Any]
    """Its row in the view `runs`, with what is known of its harvest."""
    parameters: Mapping[str, Any]
    """As they were frozen before any result was seen."""
    evidence: Path
    """Its evidence file, be it there or not."""
    evidence_is: str
    """Whether the file here is the one the run was made from, in words."""

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.row["run"])

    @property
    def harvest(self) -> str:
        """The harvest it labelled."""
        return str(self.row["harvest"])

    @property
    def digest(self) -> str:
        """sha256 of its parameters: what everything random on its page is seeded by."""
        return str(self.row["digest"])

    @property
    def threshold(self) -> float:
        """The score that a label had to reach."""
        return float(self.parameters["threshold"])


def choose(space: Workspace, name: str | None) -> Chosen:
    """Find a run by its name.

    Args:
        space: the workspace.
        name: the run's; None takes the job that was started last.

    Raises:
        UsageError: there is no such run, it has finished no feature yet, or only planted ones.
    """
    store = Store(space.labels) if space.labels.exists() else None
    known = [] if store is None else store.read("SELECT run FROM runs WHERE kind = 'job' ORDER BY started_at")
    names = [str(row["run"]) for row in known]
    if store is None or not names:
        raise UsageError(f"the workspace {space.root} has no run: label something with `exegete label` first")
    if name is not None and name not in names:
        raise UsageError(f"there is no run {name!r} in {space.root}: it has {', '.join(names)}")
    row = store.read(_RUN, [name or names[-1]])[0]
    if row["planted"]:
        raise UsageError(
            f"the run {row['run']} labelled planted features alone, and its page is that of `exegete "
            "controls`: name another with --run"
        )
    if not row["attempted"]:
        raise UsageError(
            f"the run {row['run']} has not finished a feature yet: run the same `exegete label` again, or "
            "name another with --run"
        )
    parameters = json.loads(row["parameters"])
    evidence = space.evidence / f"{row['harvest']}.duckdb"
    return Chosen(row, parameters, evidence, _compared(evidence, parameters.get("evidence_sha256")))


def _compared(evidence: Path, recorded: str | None) -> str:
    """Whether an evidence file's manifest gives the digest that a run recorded."""
    try:
        manifest = read_manifest(evidence)
    except WorkspaceError:
        return "the evidence file is not in this workspace any more"
    if manifest.sha256 == recorded:
        return "the evidence file here is the one"
    return "the evidence file here is another one"
