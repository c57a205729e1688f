"""Which other feature's label stands in for chance: one whose feature is as dense, with as common a word.

A label of any other feature would be beaten too easily: one of a dense feature is vague, one of a rare word
never fires. Of the labels of the same run, of other features and saying something else (twins.py), the one
that comes first by

    1. the distance of the bands of density (thirds of a decade);
    2. the distance of the bands of frequency of the features' heaviest words (decades of their share of the
       explain split's quiet pool; a word that is not there counts as half an occurrence);
    3. the distance of the densities' logarithms; then by hash.

So the bands are the same where there is such a label, and else give way, frequency first. The site is always
the same: a harvest has one. Of large runs only the `NEAR` nearest in density are looked at, as a feature's
heaviest word has to be read.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from exegete.agent.nodes import SHOWN
from exegete.agent.twins import twins
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.hashing import digest64, uniform
from exegete.datastore.records import FeatureId, Plan, Unit

NEAR = 50
"""Features whose words are compared, those nearest in density."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A feature with the label that its run chose."""

    feature: FeatureId
    text: str
    senses: tuple[str, ...]
    density: float
    """Share of tokens that fire, above 0."""


class Matcher:
    """Finds matched labels among those of one run on one harvest."""

    def __init__(
        self, evidence: EvidenceFile, unit: Unit, window: int, seed: int, labelled: Sequence[Labelled]
    ) -> None:
        """Prepare.

        Args:
            evidence: the harvest; only its explain split is read.
            unit: what a word is.
            window: subject tokens of the excerpts that are read.
            seed: decides between features that are equally near.
            labelled: all that may be chosen from.
        """
        self._file, self._unit, self._seed = evidence, unit, seed
        self._evidence = AgentEvidence(evidence)
        self._plan: Plan = replace(SHOWN, unit=unit, window=window)
        self._labelled = labelled
        self._logs = np.log10([one.density for one in labelled])
        self._bands = np.floor(3 * self._logs)
        self._words: dict[FeatureId, str] = {}

    def match(self, own: Labelled) -> Labelled | None:
        """The label that stands in for chance; None where no other feature's says something else.

        Args:
            own: the feature with its own label.
        """
        near = self._near(own)
        self._file.prefetch([own.feature, *(self._labelled[i].feature for i in near)])
        mine, band = self._frequency_band(own.feature), math.floor(3 * math.log10(own.density))

        def distance(i: int) -> tuple[float, float, float, float]:
            other = self._labelled[i]
            return (
                abs(float(self._bands[i]) - band),
                abs(self._frequency_band(other.feature) - mine),
                abs(float(self._logs[i]) - math.log10(own.density)),
                _draw(self._seed, own.feature, other.feature),
            )

        return self._labelled[min(near, key=distance)] if near else None

    def _near(self, own: Labelled) -> list[int]:
        """The nearest in density, by band and then by density itself, that say something else."""
        log = math.log10(own.density)
        order = np.lexsort((np.abs(self._logs - log), np.abs(self._bands - math.floor(3 * log))))
        found: list[int] = []
        for i in order.tolist():
            other = self._labelled[i]
            if other.feature != own.feature and not twins([own.text, other.text])[0]:
                found.append(i)
                if len(found) == NEAR:
                    break
        return found

    def _frequency_band(self, feature: FeatureId) -> int:
        count = self._counts[self._word(feature)]
        return math.floor(math.log10(max(count, 0.5) / max(1, self._counts.total())))

    def _word(self, feature: FeatureId) -> str:
        """The word on which the feature's activations sum to most in its strongest excerpts."""
        if feature not in self._words:
            sums: Counter[str] = Counter()
            for excerpt in self._evidence.explain(feature, self._plan).activating:
                for word, value in zip(excerpt.context.tokens, excerpt.activations.tolist(), strict=True):
                    sums[word.strip().lower()] += value
            self._words[feature] = max(sorted(sums), key=lambda word: sums[word], default="")
        return self._words[feature]

    @cached_property
    def _counts(self) -> Counter[str]:
        """How often each word stands in the quiet pool."""
        pool = self._file.pool("explain", self._unit)
        return Counter(key for context in pool.contexts for key in context.keys)


def _draw(seed: int, own: FeatureId, other: FeatureId) -> float:
    """In [0, 1)."""
    key = digest64("match", own.index, own.polarity, other.index, other.polarity)
    return float(uniform(seed, key)[0])
