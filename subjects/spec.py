"""What a harvest is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class HarvestSpec:
    """Everything that decides what a harvest holds, apart from the subject's and the corpus's bytes."""

    site: str
    features: tuple[int, ...] | None = None
    """Indices, or None for all."""
    dictionary: str = "neurons"
    polarity: Literal["+", "-", "both"] = "+"
    tokens: int | None = None
    """Stop after this many tokens of text; None reads the whole corpus."""
    context: int = 128
    """Tokens a context, special tokens included."""
    batch: int = 32
    """Contexts a forward pass."""
    top: int = 20
    """Strongest contexts kept, a split."""
    sample: int = 200
    """Contexts kept by the uniform sample, over the splits."""
    quiet: int = 2000
    """Contexts in the quiet pool, over the splits."""
    firing_quantile: float = 0.998
    """Dense features fire above this quantile of their activations on the first sample."""
    calibration: int = 256
    """Contexts of the first sample."""
    seed: int = 0
    shuffle: bool = False
    """Deal activations to other contexts: a control, in which no label can be right."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` parts of a corpus."""

    number: int = 0
    """From 0."""
    of: int = 1

    @property
    def whole(self) -> bool:
        """Whether it is all of the corpus."""
        return self.of == 1


WHOLE = Shard()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a harvest has come."""

    stage: Literal["calibrating", "harvesting", "writing"]
    tokens: int
    expected: int | None = None
    """Tokens there will be in all, as far as can be told."""
