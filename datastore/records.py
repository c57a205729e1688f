"""The nouns: what the parts of exegete hand to each other.

All are frozen. Arrays in them are float32 and must not be written to.

    FeatureId ── Evidence ── Excerpt ── Context        what was observed
    Label ── Prediction ── Experiment                  what was tried on the subject
    Label ── Score ── Verdict ── Review                what was said about it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Polarity = Literal["+", "-"]
"""Which side of zero of a neuron is the feature; SAE latents only have "+"."""

Split = Literal["explain", "refine", "report"]
"""explain: shown to the explainer; refine: scored while revising; report: scored once, label frozen."""

SPLITS: tuple[Split, ...] = ("explain", "refine", "report")

Status = Literal["accepted", "review", "rejected", "unscorable", "dead", "failed"]
STATUSES: tuple[Status, ...] = ("accepted", "review", "rejected", "unscorable", "dead", "failed")

Side = Literal["input", "output"]
"""What a label is about: what makes a feature fire, or what the feature does."""

PredictionKind = Literal[
    "fires", "silent", "minimal pair", "near miss", "without the key token", "key token elsewhere"
]
"""How a label is tested: a text that should fire or stay silent; one of two texts that differ in what counts;
what the label almost but not quite describes; what it describes in other words; and its favourite word where
the label says nothing should happen."""

Unit = Literal["word", "token"]
"""What one position of an excerpt is: a whole word (activations pooled by maximum) or a subject's token."""

Floats = NDArray[np.float32]

MAX_LEVEL = 10
"""Levels (activation shown to, or simulated by, a model) run from 0 (silent) to this."""


@dataclass(frozen=True, slots=True)
class FeatureId:
    """One feature of one dictionary at one site of one subject model."""

    subject: str
    """Name of the subject model, with its revision or digest."""
    site: str
    """Module path or hook name whose activations the dictionary reads."""
    dictionary: str
    """"neurons", or the name of a set of SAE weights or directions."""
    index: int
    polarity: Polarity = "+"

    def __str__(self) -> str:
        return f"{self.index}{'' if self.polarity == '+' else self.polarity}"


@dataclass(frozen=True, slots=True)
class Context:
    """A window of the corpus, as it is shown to people and to models."""

    id: int
    """63-bit digest of the token ids of the full harvested context the window was cut from."""
    document: str
    start: int
    """Position of the window's first token in the full context."""
    tokens: tuple[str, ...]
    """Words or tokens as text, with their leading whitespace: `"".join(tokens)` is the passage."""

    @property
    def text(self) -> str:
        """The passage as running text."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A context with the true activations of one feature on it."""

    context: Context
    activations: Floats
    """(n_tokens,) raw units, 0 where the feature is at or below its firing threshold."""
    stratum: str
    """"top", "decile 1" (weakest) to "decile 10", "quiet" (uniform), or "hard quiet" (similar, silent)."""
    weight: float
    """1 / probability that its context was kept; 1 for "top", and 0 for "hard quiet", which is no sample. NaN
    where nobody knows how imported evidence was drawn."""

    @property
    def peak(self) -> float:
        """The largest activation in the excerpt, raw units."""
        return float(self.activations.max(initial=0.0))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an explainer or a scorer is handed: excerpts of one split of one feature."""

    feature: FeatureId
    split: Split
    activating: tuple[Excerpt, ...]
    """Strongest first."""
    quiet: tuple[Excerpt, ...]
    """Excerpts in which the feature is known to be silent everywhere."""
    unit: Unit
    maximum: float
    """The feature's largest activation in the *explain* split, raw units: level 10."""
    neighbours: tuple[Excerpt, ...] = ()
    """Excerpts in which the feature is known to be silent and one of its nearest neighbours fires."""

    @property
    def excerpts(self) -> tuple[Excerpt, ...]:
        """All excerpts, activating first."""
        return self.activating + self.quiet


@dataclass(frozen=True, slots=True)
class Plan:
    """How much evidence to read of a feature, and in which form."""

    top: int = 10
    """Strongest contexts."""
    per_decile: int = 3
    """From each decile of the uniform sample of the contexts where the feature fires."""
    quiet: int = 20
    """Uniform from the quiet pool."""
    hard: int = 0
    """Most similar to the activating contexts, from the quiet pool."""
    window: int | None = 32
    """Subject tokens an excerpt is cut to, at a random offset around the peak; None keeps whole contexts."""
    unit: Unit = "word"
    neighbours: int = 0
    """Where a near neighbour of the feature fires and the feature does not, from the quiet pool."""


@dataclass(frozen=True, slots=True)
class Label:
    """A statement in words of what makes a feature fire."""

    feature: FeatureId
    text: str
    author: str
    """method, or method/model@prompt digest, or "person"."""
    round: int = 0
    """0 for a first proposal, then the revision that wrote it."""
    senses: tuple[str, ...] = ()
    """What each of its senses says, where it has several, simulated one by one; `text` says them all."""
    side: Side = "input"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A text with what a label says of it, written before the subject has run it."""

    kind: PredictionKind
    text: str
    fires: bool
    """The prediction: whether the feature fires anywhere in it."""
    pair: int | None = None
    """Number of the pair, for the two texts of a minimal pair."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A prediction, and what the subject did."""

    label: Label
    """The label that was tested."""
    round: int
    """The round of falsification, from 1; 0 for a text that the scorer `generation` had written."""
    prediction: Prediction
    words: tuple[str, ...]
    """The text as the subject read it, each word with its leading whitespace; empty when it was not run."""
    activations: Floats
    """(n_words,) raw units, 0 where the feature is at or below its threshold."""
    threshold: float
    """A prediction that the feature fires holds when the peak is above this, raw units."""
    verdict: Literal["held", "failed", "not run"]
    why: str | None = None
    """Why it was not run."""

    @property
    def peak(self) -> float | None:
        """The largest activation, raw units; None when it was not run."""
        return float(self.activations.max(initial=0.0)) if self.words else None


@dataclass(frozen=True, slots=True)
class Score:
    """How well a label predicts a feature on one split, and what that would be by chance."""

    scorer: str
    """name@version; raised when old values stop being comparable."""
    split: Split
    value: float | None
    """The scorer's primary value, or None when it is undefined (see `why_none`)."""
    low: float | None
    high: float | None
    """95% interval over excerpts."""
    chance: float | None
    """Mean of the permutation null: the same predictions dealt to excerpts at random."""
    p_value: float | None
    """Share of permutations that do at least as well, (1 + #) / (1 + B)."""
    n_asked: int
    """Excerpts the simulator or judge was asked about."""
    n_read: int
    """Excerpts whose reply could be read."""
    why_none: str | None = None
    details: Mapping[str, float | None] = field(default_factory=dict)
    """Further values by name (for example "auroc", "r_weighted", "share_above_threshold")."""
    experiments: tuple[Experiment, ...] = field(default=(), compare=False, repr=False)
    """Texts that it had the subject run, for scorers that do."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a job concluded about a feature. A rejection is a result like any other."""

    feature: FeatureId
    status: Status
    label: Label | None
    confidence: float | None
    """Share of the interval's draws in which the report score clears the job's threshold, [0, 1]."""
    why: str
    """One sentence: which number against which bar, or what is missing."""
    reasons: tuple[str, ...] = ()
    """Why a person should look, each by its short name (see `exegete.scorers.verdict`)."""


@dataclass(frozen=True, slots=True)
class Review:
    """What a person decided about a label."""

    feature: FeatureId
    decision: Literal["accept", "edit", "reject"]
    text: str | None
    """The edited label, or the reason of a rejection."""
    reviewer: str
    at: str
    """UTC, ISO 8601."""
