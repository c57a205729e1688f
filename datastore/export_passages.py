"""The excerpts an export shows of a feature: its strongest, and some of each interval of its activation.

They are whole harvested contexts in the subject's own tokens, from the evidence file, of all three splits:
whoever labels from an export has seen what our labels were scored on. Where the evidence file is gone, they
are the excerpts of the view `examples`, which are in words.

Intervals are five of equal width from 0 to the feature's maximum, and an excerpt is in that of its peak, as
on Neuronpedia's pages. The share of an interval is that of the contexts in which the feature fires,
estimated from the harvest's uniform sample of them; it is missing where nobody knows how the sample was
drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import numpy as np

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_rows import Example
from exegete.datastore.hashing import digest64
from exegete.datastore.records import Floats, Polarity

TOP = 20
"""Strongest excerpts of a feature."""
INTERVALS = 5
PER_INTERVAL = 5
"""Excerpts of an interval, beside those that are among the strongest."""

Key = tuple[int, Polarity]


@dataclass(frozen=True, slots=True)
class Passage:
    """One excerpt."""

    tokens: tuple[str, ...]
    values: Floats
    """(n_tokens,) raw units, 0 where silent."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Excerpts whose peak is above `low` and at most `high`, raw units."""

    low: float
    high: float
    share: float | None
    """Of the contexts in which the feature fires."""
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of one feature."""

    top: tuple[Passage, ...] = ()
    """Strongest first."""
    intervals: tuple[Interval, ...] = ()
    """Weakest first; those without excerpts are left out."""


class Passages(Protocol):
    """Where excerpts come from."""

    def of(self, keys: Sequence[Key]) -> Mapping[Key, Shown]:
        """What is shown of some features."""


class EvidencePassages:
    """From an evidence file."""

    def __init__(self, file: EvidenceFile) -> None:
        """Read from an open evidence file; whoever opened it closes it."""
        self._file = file

    def of(self, keys: Sequence[Key]) -> Mapping[Key, Shown]:
        """What is shown of some features.

        Raises:
            SubjectError: the file has no such feature.
            WorkspaceDamaged: it can't be read.
        """
        self._file.prefetch([self._file.feature(*key) for key in keys])
        return {key: self._one(key) for key in keys}

    def _one(self, key: Key) -> Shown:
        feature = self._file.feature(*key)
        kept = [example for split in self._file.rows(feature).examples.values() for example in split]
        kept.sort(key=lambda e: (-float(e.values.max()), e.context_id))
        top, rest = kept[:TOP], [e for e in kept[TOP:] if e.sampled]
        edges = _edges(self._file.summary(feature).maximum)
        drawn = _by_interval(rest, [float(e.values.max()) for e in rest], edges)
        sampled = [float(e.values.max()) for e in kept if e.sampled]
        counts = np.bincount(_places(sampled, edges), minlength=INTERVALS)
        chosen = [_chosen(key, group) for group in drawn]
        passages = iter(self._passages([*top, *(e for group in chosen for e in group)]))
        return Shown(
            tuple(next(passages) for _ in top),
            tuple(
                Interval(
                    edges[i],
                    edges[i + 1],
                    int(counts[i]) / len(sampled) if self._file.weighted and sampled else None,
                    tuple(next(passages) for _ in group),
                )
                for i, group in enumerate(chosen)
                if group
            ),
        )

    def _passages(self, examples: Sequence[Example]) -> list[Passage]:
        contexts = self._file.prepared([e.context_id for e in examples], "token")
        found = []
        for context, example in zip(contexts, examples, strict=True):
            values = np.zeros(context.n_tokens, dtype=np.float32)
            values[example.positions] = example.values
            found.append(Passage(context.units, values))
        return found


class StoredPassages:
    """From the view `examples`, where the evidence file is not there."""

    def __init__(self, con: duckdb.DuckDBPyConnection, harvest: str) -> None:
        """Read from an open labels file; whoever opened it closes it."""
        self._con, self._harvest = con, harvest

    def of(self, keys: Sequence[Key]) -> Mapping[Key, Shown]:
        """What is shown of some features."""
        rows = self._con.execute(
            "SELECT feature_index, polarity, words, activations FROM examples WHERE harvest = ? "
            "AND feature_index BETWEEN ? AND ? ORDER BY feature_index, polarity, peak DESC, context_id",
            [self._harvest, min(index for index, _ in keys), max(index for index, _ in keys)],
        ).fetchall()
        found: dict[Key, list[Passage]] = {key: [] for key in keys}
        for index, polarity, words, activations in rows:
            if (index, polarity) in found:
                values = np.asarray(activations, dtype=np.float32)
                found[(index, polarity)].append(Passage(tuple(words), values))
        return {key: Shown(tuple(passages[:TOP])) for key, passages in found.items()}


def numbers(values: Floats) -> list[float]:
    """As the shortest decimals that are the same float32 numbers."""
    return [float(str(value)) if value else 0.0 for value in values]


def shortest(value: float) -> float:
    """A float32 number as the shortest decimal that is the same one."""
    return float(str(np.float32(value)))


def _edges(maximum: float) -> list[float]:
    return [float(np.float32(maximum * i / INTERVALS)) for i in range(INTERVALS + 1)]


def _places(peaks: Sequence[float], edges: Sequence[float]) -> Any:
    """Which interval each peak is in, counted from 0."""
    return np.clip(np.searchsorted(edges, peaks, side="left") - 1, 0, INTERVALS - 1)


def _by_interval(
    examples: Sequence[Example], peaks: Sequence[float], edges: Sequence[float]
) -> list[list[Example]]:
    groups: list[list[Example]] = [[] for _ in range(INTERVALS)]
    for example, place in zip(examples, _places(peaks, edges), strict=True):
        groups[int(place)].append(example)
    return groups


def _chosen(key: Key, group: Sequence[Example]) -> list[Example]:
    """Some of an interval by lot, the same on every call, strongest first."""
    drawn = sorted(group, key=lambda e: digest64("export", *key, e.context_id))[:PER_INTERVAL]
    return sorted(drawn, key=lambda e: (-float(e.values.max()), e.context_id))
