"""What a simulator is: from a label alone, how strongly should the feature fire on every word?

A simulator never sees a true activation. It answers for every context by position; a context it could
not answer for is missing, with the reason, and is never a row of zeros.

    >>> simulation = await simulator.simulate("words of degree", contexts)
    >>> simulation.levels[0]          # array([0., 0., 7., 0., ...]), one level a word
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from exegete.datastore.records import Context, Floats


@dataclass(frozen=True, slots=True)
class Simulation:
    """Predicted levels for a list of contexts."""

    levels: tuple[Floats | None, ...]
    """For every context, (n_tokens,) levels from 0 (silent) to 10, or None when missing."""
    why_missing: tuple[str | None, ...]
    """For every context, why it is missing, or None when it is not."""
    missing_mass: tuple[float | None, ...] = ()
    """For every context, the mean share of its probability that a model gave to anything but a level, or None
    where the context is missing; empty for a simulator that reads no probabilities."""

    @property
    def n_read(self) -> int:
        """How many contexts were answered."""
        return sum(levels is not None for levels in self.levels)


class Simulator(Protocol):
    """Predicts activations from a label's text alone."""

    @property
    def name(self) -> str:
        """name@version, with the model if there is one; part of a scorer's version."""

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Predict a level for every word of every context.

        Args:
            label: the statement to simulate from.
            contexts: passages, in any order; the order carries no information about activations.

        Returns:
            A simulation aligned with `contexts`.

        Raises:
            LLMError: no model could be reached at all.
        """
