"""Planted features among a harvest's own: two evidence files, one job.

`--with-controls 32` plants 32 features on the text of the harvest's quiet pool (controls/suite.py). They go
through the same steps as real ones, at places among them that a hash decides; nothing that a model is asked
says which a feature is, and their labels are tested on what was planted (controls/bench.py). Their indices
come after the harvest's, so that within a run an index is one feature. Their rows belong to a harvest of
their own, of kind 'controls'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from exegete.agent.parts import Parts
from exegete.agent.rows import feature_rows
from exegete.agent.todo import features_left
from exegete.controls.bench import PlantedBench
from exegete.controls.suite import SuiteSpec, make_suite
from exegete.controls.text import pool_text
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.hashing import digest64
from exegete.datastore.records import FeatureId
from exegete.datastore.store import Store


@dataclass(frozen=True, slots=True)
class Sides:
    """A job's parts over the harvest's features, and over the planted ones if there are any."""

    real: Parts
    planted: Parts | None = None

    @property
    def all(self) -> tuple[Parts, ...]:
        """One or two."""
        return (self.real,) if self.planted is None else (self.real, self.planted)

    def features(self, real: list[FeatureId]) -> list[FeatureId]:
        """Some real features with all planted ones among them."""
        return real if self.planted is None else self._mixed(real, self.planted.evidence.features)

    def left(self, store: Store | None, run: str, wanted: list[FeatureId]) -> list[FeatureId]:
        """What a run has not finished of the wanted features, and of the planted ones."""
        real = features_left(store, run, self.real.evidence.name, wanted)
        if self.planted is None:
            return real
        file = self.planted.evidence
        return self._mixed(real, features_left(store, run, file.name, list(file.features)))

    def of(self, feature: FeatureId) -> Parts:
        """The parts over the evidence that has a feature."""
        return self.real if self.planted is None or is_of(feature, self.real.evidence) else self.planted

    def prefetch(self, features: Sequence[FeatureId]) -> None:
        """Read the evidence of some features of either side."""
        for parts in self.all:
            parts.evidence.prefetch([f for f in features if is_of(f, parts.evidence)])

    def register(self, store: Store) -> None:
        """Write the planted features into the labels file, unless they are there."""
        if self.planted is None:
            return
        file = self.planted.evidence
        if store.read("SELECT 1 FROM store.harvests WHERE harvest = ?", [file.name]):
            return
        store.insert(feature_rows(file))

    def _mixed(self, real: list[FeatureId], planted: Iterable[FeatureId]) -> list[FeatureId]:
        """Planted features at hashed places among real ones, whose order stays."""
        seed, at = self.real.spec.seed, dict[int, list[FeatureId]]()
        for feature in planted:
            at.setdefault(digest64(seed, feature.index) % (len(real) + 1), []).append(feature)
        return [f for i in range(len(real) + 1) for f in (*at.get(i, ()), *real[i : i + 1])]


@contextmanager
def opened_sides(parts: Parts) -> Iterator[Sides]:
    """A job's parts with the planted features it asks for: made, or found, beside its harvest.

    Raises:
        CorpusError: the harvest's quiet pool is too little text to plant on.
        WorkspaceError: their evidence can't be written.
    """
    spec, file = parts.spec, parts.evidence
    if not spec.with_controls:
        yield Sides(parts)
        return
    first = max(feature.index for feature in file.features) + 1
    suite = SuiteSpec.mixture(spec.with_controls, spec.seed, first)
    manifest, _ = make_suite(pool_text(file), suite, file.path.parent)
    planted = EvidenceFile(file.path.with_name(f"{manifest.name}.duckdb"))
    bench = None if parts.bench is None else PlantedBench(planted)
    try:
        yield Sides(parts, replace(parts, evidence=planted, bench=bench, effects=None))
    finally:
        planted.close()


def is_of(feature: FeatureId, file: EvidenceFile) -> bool:
    """Whether a feature is one of an evidence file's."""
    p = file.parameters
    return (feature.subject, feature.site, feature.dictionary) == (p["subject"], p["site"], p["dictionary"])
