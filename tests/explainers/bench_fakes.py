"""A bench that computes a known rule on any text, and experiments made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from exegete.datastore.records import Experiment, FeatureId, Label, Prediction, PredictionKind, Unit
from exegete.subjects.bench import Measured, NotRun
from tests.explainers.explainer_fakes import FEATURE

Rule = Callable[[list[str], int], float]
"""(words of a text, place) to an activation."""


class RuleBench:
    """The feature of a rule, on any text; what is not to be run is said by text."""

    def __init__(self, rule: Rule, threshold: float = 0.0, not_run: dict[str, str] | None = None) -> None:
        self.rule = rule
        self.not_run = not_run or {}
        self._threshold = threshold
        self.asked: list[tuple[FeatureId, list[str], Unit]] = []

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        self.asked.append((feature, list(texts), unit))
        return [NotRun(self.not_run[text]) if text in self.not_run else self._run(text) for text in texts]

    def threshold(self, feature: FeatureId) -> float:
        return self._threshold

    def _run(self, text: str) -> Measured:
        words = text.split()
        acts = [self.rule(words, i) for i in range(len(words))]
        above = [a if a > self._threshold else 0.0 for a in acts]
        return Measured(tuple(f" {word}" for word in words), np.asarray(above, dtype=np.float32))


def on_word(word: str, activation: float = 8.0) -> Rule:
    """Fires on one word."""
    return lambda words, i: activation if words[i] == word else 0.0


def experiment(
    text: str,
    activations: Sequence[float],
    *,
    fires: bool,
    kind: PredictionKind | None = None,
    pair: int | None = None,
    round_: int = 1,
    threshold: float = 0.0,
) -> Experiment:
    """A test that was run."""
    prediction = Prediction(kind or ("fires" if fires else "silent"), text, fires, pair)
    acts = np.asarray(activations, dtype=np.float32)
    verdict = "held" if bool(acts.max(initial=0.0) > threshold) is fires else "failed"
    words = tuple(f" {word}" for word in text.split())
    return Experiment(Label(FEATURE, "x", "y"), round_, prediction, words, acts, threshold, verdict)  # type: ignore[arg-type]
