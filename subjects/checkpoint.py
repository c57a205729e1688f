"""Checkpoints of a harvest that is under way, so that a killed one goes on.

A checkpoint is the state of every keeper and the place in the corpus between two blocks, in a folder that
is renamed into place whole. It stands in a hidden folder beside the evidence files, where no reader looks:

    evidence/.work-DIGEST/at-000120/0/    the first site's keeper (datastore/keeper_state.py)

DIGEST is of all parameters, so a harvest with other ones never finds it. What is kept is a function of the
set of contexts seen, and batches are the same on either side of a checkpoint (subjects/reading.py), so a
harvest that was resumed ends with the evidence of one that was not.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exegete.datastore.evidence_writer import Slot
from exegete.datastore.hashing import digest64
from exegete.datastore.keeper import Keeper
from exegete.datastore.keeper_state import State, open_state, write_state
from exegete.errors import WorkspaceError
from exegete.subjects.reading import Place

log = logging.getLogger(__name__)

EVERY = 300.0
"""Seconds between checkpoints."""
_COST = 20
"""A checkpoint is not written before twenty times as long has passed as the last one took."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A harvest that is under way, or was stopped, as of its last checkpoint."""

    harvests: tuple[str, ...]
    """Their names: several sites may be read in one pass."""
    shard: str | None
    """Such as "0/8", or None where it is of the whole corpus."""
    tokens: int
    """Tokens it has seen."""
    written_at: float
    """Seconds since 1970."""


def unfinished(evidence: Path) -> list[Unfinished]:
    """The harvests that have a checkpoint and no end, by their names.

    Args:
        evidence: the workspace's folder of evidence.
    """
    latest: dict[Path, Unfinished] = {}
    for path in sorted(evidence.glob(".work-*/at-*/0/manifest.json")):
        # It may be dropped, or its harvest done, while it is read; a damaged one is named when it is used.
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            record = json.loads(path.read_text(encoding="utf-8"))
            about = record["about"]["about"]
            shard = f"{about['shard']}/{about['of']}" if about["of"] > 1 else None
            found = Unfinished(tuple(about["harvests"]), shard, record["tokens"], path.stat().st_mtime)
            latest[path.parents[2]] = found
    return sorted(latest.values(), key=lambda found: (found.harvests, found.shard or ""))


class Checkpoints:
    """The checkpoints of one pass over a corpus."""

    def __init__(self, evidence: Path, about: dict[str, Any], every: float = EVERY) -> None:
        """Find the folder; nothing is made yet.

        Args:
            evidence: the workspace's folder of evidence.
            about: everything that decides what the pass does: JSON values.
            every: seconds between checkpoints.
        """
        digest = digest64(repr(sorted(about.items())))
        self._folder, self._about = evidence / f".work-{digest:016x}", about
        self._every, self._last, self._took = every, time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        """Whether the last one was long enough ago."""
        return time.monotonic() - self._last >= max(self._every, _COST * self._took)

    def latest(self, n: int) -> tuple[Place, list[State]] | None:
        """The place that was reached, and the states of the n keepers there; None where nothing is."""
        for folder in sorted(self._folder.glob("at-*"), reverse=True):
            try:
                states = [open_state(folder / str(i)) for i in range(n)]
            except WorkspaceError as error:
                log.warning("the checkpoint %s is passed over: %s", folder.name, error)
                continue
            if all(state.about["about"] == self._about for state in states):
                block, tokens, share = states[0].about["place"]
                return Place(block, tokens, share), states
        return None

    def write(self, place: Place, keepers: Sequence[tuple[Sequence[Slot], Keeper]]) -> None:
        """Write a checkpoint, and drop those before it.

        Raises:
            WorkspaceError: the disk is full or the folder can't be written; the last checkpoint is whole.
        """
        begun = time.monotonic()
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f".draft-{os.getpid()}"
        about = {"about": self._about, "place": [place.block, place.tokens, place.share]}
        try:
            for i, (slots, keeper) in enumerate(keepers):
                write_state(draft / str(i), about, slots, keeper)
            new = self._folder / f"at-{place.block:06d}"
            with contextlib.suppress(FileExistsError):  # of a twin of this process: it is the same
                draft.rename(new)
        except OSError as error:
            raise WorkspaceError(
                f"the checkpoint {self._folder} could not be written ({error.strerror}): make room and "
                "run the command again; what was written before is kept"
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        for old in self._folder.glob("at-*"):
            if old.name < new.name:
                shutil.rmtree(old, ignore_errors=True)
        self._last = time.monotonic()
        self._took = self._last - begun
        log.info("checkpoint at block %d, after %.1f s of writing", place.block, self._took)

    def clear(self) -> None:
        """Drop all checkpoints: the harvest is done."""
        shutil.rmtree(self._folder, ignore_errors=True)
