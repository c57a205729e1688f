"""What a run's simulator made of a label on the refine split, worked out again without asking anybody.

A simulator that needs no model does it anew. What a model said is in the journal, which a running job keeps
to itself for writing and anybody may read: its records are found once, in the background, and again when one
is missing that may have come since.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from exegete import simulators
from exegete.agent.remembering import NotJournalled, RememberedModels
from exegete.agent.runs import frozen_spec
from exegete.agent.spec import JobSpec
from exegete.datastore.records import Evidence, Excerpt, Floats, Label
from exegete.errors import ExegeteError
from exegete.llm import Journal
from exegete.llm.lines import Position, intact, read_lines
from exegete.llm.readers import Readers
from exegete.llm.record import RECORD
from exegete.scorers.reading import Reading, read
from exegete.simulators.senses import simulate_label
from exegete.simulators.simulator import Simulator

T = TypeVar("T")

_KEY = 64
"""Characters of a record's key."""


class Replies:
    """The records of a journal by their keys, read without its lock."""

    def __init__(self, folder: Path) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._at: dict[bytes, Position] = {}
        self._next = Position(1, 0)
        self._readers = Readers(folder)
        self._mutex = threading.Lock()

    def look(self) -> None:
        """Find the records that were written since the last look.

        Raises:
            OSError: a file can't be read.
        """
        with self._mutex:
            for here, line, after in read_lines(self._folder, self._next):
                if line.startswith(RECORD):
                    key = line[len(RECORD) : len(RECORD) + _KEY]
                    self._at.setdefault(bytes.fromhex(key.decode("ascii")), here)
                self._next = after

    def record(self, key: str) -> dict[str, Any] | None:
        """The record of a request's key, or None."""
        here = self._at.get(bytes.fromhex(key))
        if here is None:
            return None
        with self._mutex:
            line = self._readers.read(here)
        return dict(json.loads(line)) if intact(line) else None

    def close(self) -> None:
        """Let go of the files."""
        self._readers.close()


@dataclass(frozen=True, slots=True)
class Without:
    """No simulation."""

    why: str
    """In one clause, for the card."""


@dataclass(frozen=True, slots=True)
class Simulating:
    """How a run simulated."""

    spec: JobSpec
    simulator: Simulator
    asks_nobody: bool
    """Whether it works without a model, so that any label can be simulated at once."""


class Simulations:
    """Simulations of labels as their runs made them."""

    def __init__(self, journal: Path) -> None:
        """Over the journal in this folder, which need not be there."""
        self._replies = Replies(journal)
        # What is remembered asks a journal for nothing but its records.
        self._models = RememberedModels(cast("Journal", self._replies))
        self._runs: dict[str, Simulating | Without] = {}

    def prepare(self) -> None:
        """Find what the journal holds; takes seconds a gigabyte, so it is done in the background.

        Raises:
            OSError: a file can't be read.
        """
        self._replies.look()

    def close(self) -> None:
        """Let go of the journal's files."""
        self._replies.close()

    def by(self, run: str, parameters: Mapping[str, Any]) -> Simulating | Without:
        """How a run simulated, by its parameters as frozen; or why that can't be known."""
        if run not in self._runs:
            try:
                spec = frozen_spec(parameters)
                llm, name = self._models.open(spec.simulator_llm or spec.llm)
                built = simulators.build(spec.simulator_name, llm, name)
                self._runs[run] = Simulating(spec, built, not simulators.asks_model(spec.simulator_name))
            except ExegeteError as error:
                self._runs[run] = Without(str(error).splitlines()[0])
        return self._runs[run]


def simulate(by: Simulating, label: Label, evidence: Evidence) -> Reading | Without:
    """Simulate a label as a run did.

    Args:
        by: how the run simulated.
        label: one that the run tried, or, for a simulator that asks no model, any.
        evidence: what it was tried on; of the run's refine plan for a simulator that asks a model.
    """
    try:
        reading = _finished(read(by.simulator, label, evidence, by.spec.seed))
    except NotJournalled:
        return Without("no simulation of this label is in the journal, rescore it to see one")
    except ExegeteError as error:
        return Without(str(error).splitlines()[0])
    return reading if reading.excerpts else Without(reading.why_none or "nothing was asked")


def simulate_at_once(by: Simulating, label: Label, excerpts: Sequence[Excerpt]) -> list[Floats | None]:
    """Simulate a label on any excerpts, where that asks nobody; else nothing is known of any of them."""
    if not by.asks_nobody:
        return [None] * len(excerpts)
    contexts = [excerpt.context for excerpt in excerpts]
    return list(_finished(simulate_label(by.simulator, label, contexts)).levels)


def _finished(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that waits for nobody."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
