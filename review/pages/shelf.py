"""Evidence for cards: files opened once and kept open, and the excerpts of a card made once.

Evidence never changes, so what was made of it for a label stays good; the next cards are made while a person
reads this one. A file is read by one thread at a time. Neighbours are worked out of all features of a file
together, which takes seconds: that happens in the background, over a connection of its own.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from exegete.datastore.database import connect
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_rows import Key as IndexKey
from exegete.datastore.neighbours import Neighbours
from exegete.datastore.records import Evidence, Floats, Label, Plan, Polarity
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError
from exegete.review.keys import Key
from exegete.review.pages.drawings import Histogram, histogram
from exegete.review.pages.excerpts import WRONG, Shown, show
from exegete.review.pages.simulated import Simulating, Simulations, Without, simulate, simulate_at_once

EXPLAIN = Plan(top=10, per_decile=2, quiet=0)
"""Excerpts of the explain split on a card."""
REFINE = Plan(top=5, per_decile=2, quiet=10, hard=5)
"""Excerpts of the refine split where nobody knows the run's own."""
MISTAKES = 12
"""Worst excerpts of the refine split on a card."""
NEIGHBOURS = 8
LIKE = 0.01
"""Smallest cosine of a neighbour on a card: below, two features share a word or two by chance."""
_AT_HAND = 4
"""Cards that are being made, whose excerpts are read before anything is known of their labels."""
_KEPT = 256
"""Cards whose excerpts are remembered: some 100 kB each."""


@dataclass(frozen=True, slots=True)
class Tab:
    """Excerpts of one kind."""

    id: str
    title: str
    excerpts: tuple[Shown, ...]
    empty: str
    """What to say when there are none."""


@dataclass(frozen=True, slots=True)
class Examples:
    """What the evidence file shows of a feature."""

    tabs: tuple[Tab, ...]
    histogram: Histogram | None
    unsimulated: str
    """Why there are no simulated levels; "" where there are."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What an evidence file holds of one feature, as a card shows it."""

    explain: Evidence
    refine: Evidence
    plan: Plan
    """Of `refine`."""
    histogram: Histogram | None


class _Book:
    """One open evidence file."""

    def __init__(self, file: EvidenceFile) -> None:
        self.file = file
        self._reader = AgentEvidence(file)
        self.mutex = threading.Lock()
        self.neighbours: Neighbours | None = None
        """None until profiles are worked out."""
        self._read: OrderedDict[IndexKey, _Read] = OrderedDict()
        """What was read of the last few cards."""
        self._plan = REFINE
        """The latest card's, and most likely the next one's."""
        self._con: duckdb.DuckDBPyConnection | None = None
        self._closed = False

    def find_neighbours(self) -> None:
        """Work out the profiles of all features; in the background."""
        self._con = connect(self.file.path, read_only=True)
        found = Neighbours(self._con, len(self.file.features))
        found.nearest((0, "+"), 1)
        self.neighbours = found

    def read_contexts(self) -> None:
        """Read all contexts, if they are not too many; in the background, while cards are made without."""
        unneeded = ahead = EvidenceFile(self.file.path)
        try:
            if ahead.read_contexts(EXPLAIN.unit):
                unneeded = self._take(ahead)
        finally:
            unneeded.close()

    def _take(self, file: EvidenceFile) -> EvidenceFile:
        """Read from a file opened anew from now on, and hand out the one that is not needed any more."""
        with self.mutex:
            if self._closed:
                return file
            before, self.file, self._reader = self.file, file, AgentEvidence(file)
            return before

    def read(self, index: int, polarity: Polarity, plan: Plan | None = None) -> _Read:
        """Read what a card shows of a feature, unless that was done; without a plan, by the latest one."""
        with self.mutex:
            self._plan = plan or self._plan
            known = self._read.get((index, polarity))
            if known is None or known.plan != self._plan:
                feature = self.file.feature(index, polarity)
                explain = self._reader.explain(feature, EXPLAIN) if known is None else known.explain
                refine = self._reader.refine(feature, self._plan)
                drawn = histogram(self.file.histogram(feature)) if known is None else known.histogram
                known = self._read[index, polarity] = _Read(explain, refine, self._plan, drawn)
            while len(self._read) > _AT_HAND:
                self._read.popitem(last=False)
            return known

    def close(self) -> None:
        with self.mutex:
            self._closed = True
            self.file.close()
        if self._con is not None:
            self._con.close()


class Shelf:
    """The evidence files of a workspace."""

    def __init__(self, workspace: Workspace, simulations: Simulations) -> None:
        """Open nothing yet."""
        self._workspace, self._simulations = workspace, simulations
        self._books: dict[str, _Book] = {}
        self._made: OrderedDict[tuple[Any, ...], Examples] = OrderedDict()
        self._mutex = threading.Lock()

    def warm(self, harvest: str) -> None:
        """Open a harvest, work out its neighbours and read its contexts; to be called in the background.

        Raises:
            ExegeteError: it is not there, or can't be read.
        """
        book = self._book(harvest)
        if book.neighbours is None:
            book.find_neighbours()
            book.read_contexts()

    def read(self, key: Key) -> None:
        """Read what `examples` will show, which is then remembered.

        Raises:
            ExegeteError: it is not there, or can't be read.
        """
        self._book(key.harvest).read(key.index, key.polarity)

    def nearest(self, key: Key) -> list[tuple[IndexKey, float]] | None:
        """A feature's nearest neighbours with their cosines; None while nobody knows."""
        book = self._books.get(key.harvest)
        if book is None or book.neighbours is None:
            return None
        nearest = book.neighbours.nearest((key.index, key.polarity), NEIGHBOURS)
        return [one for one in nearest if one[1] >= LIKE]

    def examples(self, row: Mapping[str, Any], parameters: Mapping[str, Any] | None) -> Examples | str:
        """Excerpts of a feature beside what its label predicts.

        Args:
            row: of the view `labels`.
            parameters: of its run; None where they are not known.

        Returns:
            The excerpts, or why there are none.
        """
        wanted = ("harvest", "feature_index", "polarity", "run", "label")
        key = (*(row[name] for name in wanted), tuple(row["senses"] or ()))
        with self._mutex:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        try:
            made = self._make(row, parameters or {})
        except ExegeteError as error:
            return str(error)
        with self._mutex:
            if not made.unsimulated:  # else what is missing may come
                self._made[key] = made
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return made

    def close(self) -> None:
        """Close all files."""
        for book in self._books.values():
            book.close()

    def _book(self, harvest: str) -> _Book:
        with self._mutex:
            if harvest not in self._books:
                self._books[harvest] = _Book(self._workspace.open_evidence(harvest))
            return self._books[harvest]

    def _make(self, row: Mapping[str, Any], parameters: Mapping[str, Any]) -> Examples:
        book, by = self._book(row["harvest"]), self._simulations.by(row["run"], parameters)
        plan = by.spec.refine_plan if isinstance(by, Simulating) else REFINE
        known = book.read(row["feature_index"], row["polarity"], plan)
        explain, refine = known.explain, known.refine
        simulated: dict[int, Floats] = {}
        why = by.why if isinstance(by, Without) else "there is no label"
        if row["label"] and isinstance(by, Simulating):
            senses = tuple(row["senses"] or ())
            label = Label(explain.feature, row["label"], row["author"] or "", senses=senses)
            why = _simulated(by, label, refine, explain, simulated)
        shown = [show(e, explain.maximum, simulated.get(id(e))) for e in refine.excerpts]
        told = [show(e, explain.maximum, simulated.get(id(e))) for e in explain.activating]
        wrong = sorted((s for s in shown if s.size >= WRONG), key=lambda s: -s.size)[:MISTAKES]
        unsimulated = f"No simulated levels: {why}." if why else ""
        tabs = (
            Tab("mistakes", "Mistakes", tuple(wrong), unsimulated or "No mistake worth speaking of."),
            Tab("top", "Strongest", _of(told, "top"), "It never fires in the explain split."),
            Tab("deciles", "Deciles", _of(told, "decile"), "It fires in too few contexts for a sample."),
            Tab("quiet", "Quiet", _of(shown, "quiet", "hard"), "There are no quiet excerpts."),
        )
        return Examples(tabs, known.histogram, unsimulated)


def _simulated(
    by: Simulating, label: Label, refine: Evidence, explain: Evidence, into: dict[int, Floats]
) -> str:
    """Put simulated levels beside their excerpts, and say why there are none; "" where there are."""
    reading = simulate(by, label, refine)
    if isinstance(reading, Without):
        return reading.why
    into |= {id(e): x for e, x in zip(reading.excerpts, reading.levels, strict=True)}
    pairs = zip(explain.activating, simulate_at_once(by, label, explain.activating), strict=True)
    into |= {id(e): x for e, x in pairs if x is not None}
    return ""


def _of(shown: Sequence[Shown], *kinds: str) -> tuple[Shown, ...]:
    """Excerpts whose stratum begins with one of these words."""
    return tuple(s for s in shown if s.kind.partition(" ")[0] in kinds)
