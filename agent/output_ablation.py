"""How far zeroing a feature moves predictions, and how far a random direction's zeroing does that fires as
rarely.

Random directions are the same for all features of a harvest, and each is measured once for every density, in
steps of two: its own tokens, its own amounts, and controls on these, as for a feature.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import floor, log

from exegete.agent.output_texts import OWN_TEXTS
from exegete.subjects.causal import CausalSubject, Ids
from exegete.subjects.control_directions import other_rows, random_rows
from exegete.subjects.edits import Feature
from exegete.subjects.effects import Ablation, ablation
from exegete.subjects.random_features import RandomFeatures

LOG = logging.getLogger(__name__)
RANDOM = 50
"""Random directions that are measured as features: the smallest p is 1 / 51."""
CONTROLS = 8
"""Directions taken off in a feature's place, at its own tokens."""
STEP = 2
"""Random directions fire as rarely as a feature, or more rarely by less than this factor. What is rarer is
also more extreme, and does more when it is taken off: rounded the other way, features would be found too
often."""
TOLD = 10
"""Random directions between two lines of the log."""
OTHERS = 20
"""Other features' directions, taken off there too."""


@dataclass(frozen=True, slots=True)
class Ablated:
    """A feature's ablation beside others."""

    found: Ablation
    """The feature's, with its controls."""
    others: tuple[float, ...] = ()
    """Mean movement by other features' directions at its tokens, nats a token."""
    null: tuple[Ablation, ...] = ()
    """What zeroing random directions does, each at its own tokens in as many contexts."""


@dataclass(slots=True)
class AblationTable:
    """Ablates one feature after another; random directions are measured when they are first needed."""

    subject: CausalSubject
    texts: Sequence[Ids]
    """Contexts of the corpus, whatever fires in them: where random directions fire."""
    seed: int
    _randoms: RandomFeatures | None = None
    _measured: dict[float, tuple[Ablation, ...]] = field(default_factory=dict)

    def compare(self, feature: Feature, own: Sequence[Ids], density: float) -> Ablated:
        """Ablate a feature.

        Args:
            feature: whose.
            own: contexts in which it fires.
            density: the share of tokens at which it fires.
        """
        import torch

        if not own:
            return Ablated(Ablation())
        controls = random_rows(self.subject, feature, CONTROLS, self.seed)
        others = other_rows(self.subject, feature, OTHERS, self.seed)
        both = ablation(self.subject, feature, own, torch.cat([controls, others]))
        found = replace(both, controls_in=both.controls_in[:CONTROLS])
        if not found.fired_in:
            return Ablated(found)
        n = len(found.fired_in)
        parts = (each.part(n, self.seed + k) for k, each in enumerate(self._of_density(feature, density)))
        null = tuple(part for part in parts if len(part.fired_in) == n)
        return Ablated(found, both.controls[CONTROLS:], null)

    def _of_density(self, feature: Feature, density: float) -> tuple[Ablation, ...]:
        """What zeroing each random direction does that fires about as rarely."""
        if self._randoms is None:
            # Drawn for the same feature whoever comes first, so that not even their last bits differ.
            first = replace(feature, index=0, sign=1)
            LOG.info("reading how far %d texts reach along %d random directions", len(self.texts), RANDOM)
            self._randoms = RandomFeatures(self.subject, first, self.texts, n=RANDOM, seed=self.seed)
        step = self._randoms.density(STEP ** floor(log(density, STEP)))
        if step not in self._measured:
            LOG.info("measuring what %d random directions do at density %.1g, once", RANDOM, step)
            self._measured[step] = tuple(self._each_ablated(len(self._randoms), step))
        return self._measured[step]

    def _each_ablated(self, n: int, density: float) -> Iterator[Ablation]:
        """What zeroing each of n random directions does; the log is told now and then."""
        for k in range(n):
            yield self._ablated(k, density)
            if (k + 1) % TOLD == 0:
                LOG.info("random directions at density %.1g: %d of %d are measured", density, k + 1, n)

    def _ablated(self, k: int, density: float) -> Ablation:
        assert self._randoms is not None
        one = self._randoms.feature(k, density)
        own = self._randoms.own_texts(one, OWN_TEXTS)
        return ablation(self.subject, one, own, self._randoms.beside(self.subject, one, CONTROLS))
