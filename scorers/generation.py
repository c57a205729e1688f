"""Generation score: does the feature do on new text what its label says?

Reading excerpts is observation: a label can fit all that was seen and be about something else. So somebody
who has seen nothing but the label writes texts, and the subject model runs them [cf. Singh et al. 2023,
"Explaining black box text modules in natural language with language models", synthetic scoring; Juang et al.
2024, "Open source automated interpretability for sparse autoencoder features", generation]:

1. A model writes `N` texts in which a feature that does what the label says would fire, and `N` near misses,
   in which it would not. The prompt holds the frozen label, and nothing else that is known of the feature.
2. Each text is run on the subject by itself. It fires when any word is above the feature's own threshold.
3. The value is the harmonic mean of two shares: of the texts meant to fire those that do, and of the near
   misses those that stay silent. A label that is too broad names texts that don't fire, one that is too
   narrow has near misses that do; the harmonic mean of the two is 0 when either is.
4. *Interval*: quantiles of draws of the two shares (`exegete.scorers.classification.share_draws`), each with
   one imaginary text, right in half of the draws and wrong in the other half. Of ten texts a kind nominal 95%
   intervals hold the truth in 97% on average over all pairs of shares from 0 to 1 by tenths, and in
   92% at the least (tests/scorers/test_generation.py, exact).
5. *Chance*: the same firings dealt to the texts at random. How many of the texts meant to fire then do is
   hypergeometric, so chance level and p are exact. The chance level is 2f(1 - f), if a share f of all texts
   fires: never above .5, which is the bar beside another scorer.

The texts are a sample of what a model makes of the label, and not of any corpus; each goes with the score,
as an experiment of round 0. What cannot be run (too
long, no tokens), and a text that was written twice or in both lists, is missing and no failure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from exegete.datastore.records import Evidence, Experiment, Label, Prediction, Score, Split
from exegete.llm.llm import LLM, Message, Request
from exegete.llm.structured import ask
from exegete.prompts import digest, render
from exegete.scorers.classification import share_draws
from exegete.scorers.reading import MIN_A_SIDE, MIN_SHARE_READ
from exegete.scorers.resampling import ROUNDING, Chance, percentile_interval, share_at_least
from exegete.scorers.scorer import refuse_other_splits, unscored
from exegete.scorers.statistics import Array
from exegete.subjects.bench import Bench, compared

N = 10
"""Texts of each kind."""


class Texts(BaseModel):
    """The reply: what a model made of a label."""

    model_config = ConfigDict(extra="forbid")

    fires: list[str]
    """Texts in which the feature should fire."""
    near_misses: list[str]
    """Texts that almost fit the label, in which it should be silent."""


_SCHEMA = Texts.model_json_schema()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the subject did on the texts, each counted once."""

    hits: int
    """Texts meant to fire that do."""
    n_fires: int
    """Texts meant to fire that were run."""
    passes: int
    """Near misses that stay silent."""
    n_misses: int
    """Near misses that were run."""

    @property
    def value(self) -> float:
        """Harmonic mean of the two shares."""
        return float(harmonic_mean(self.hits / self.n_fires, self.passes / self.n_misses))

    def filled(self, right: bool) -> float:
        """The value if every text that is missing of `N` a kind had done as the label says, or none had."""
        n_fires, n_misses = max(N, self.n_fires), max(N, self.n_misses)
        hits = self.hits + right * (n_fires - self.n_fires)
        passes = self.passes + right * (n_misses - self.n_misses)
        return float(harmonic_mean(hits / n_fires, passes / n_misses))


@dataclass(frozen=True, slots=True)
class GenerationScorer:
    """Scores labels by what the subject does on texts that a model wrote from them alone.

    `Score.details` holds:

    - `fired`: share of the texts meant to fire that do; `silent`: share of the near misses that are;
    - `n_fires`, `n_near_misses`: how many of each were run;
    - `share_above_threshold`: share of draws at or above the threshold; `chance_p95`: 95th percentile of the
      value by chance;
    - `if_missing_wrong`, `if_missing_right`: the value if what is missing had failed, or held.

    `n_asked` and `n_read` count texts. The evidence says which feature it is; no excerpt is read.
    """

    BAR: ClassVar[float] = 0.5
    """The bar it has beside another scorer: what no dealing at random reaches on average."""
    WHY_NOT_FIRST: ClassVar[str] = (
        "it runs a few texts that a model wrote, and says nothing of how often the feature fires in real text"
    )

    llm: LLM
    model_name: str
    """Its name as on the command line."""
    bench: Bench
    """The subject."""
    split: Split
    threshold: float
    """The value a label is to clear, for `share_above_threshold`."""
    seed: int
    """Chooses the draws."""
    n_boot: int = 2000
    """Draws for the interval; 0 leaves it out."""

    @property
    def name(self) -> str:
        """name@version, with the model and the digest of its prompt."""
        return f"generation@1({self.model_name}@{digest('generation')})"

    async def score(self, label: Label, evidence: Evidence) -> Score:
        """Have texts written from a label, and run them.

        Args:
            label: the label to score.
            evidence: of this scorer's split.

        Returns:
            A score; its value is None when the label is empty, or too few texts could be read or be run.

        Raises:
            LeakageError: the evidence is of another split.
            LLMError: the model could not be reached.
            SubjectError, WorkspaceError: as `Bench.measure`.
        """
        refuse_other_splits(self, evidence)
        if not label.text.strip():
            return unscored(self, 0, 0, "nothing can be written from an empty label")
        answer = await ask(self.llm, self._request(label), Texts)
        if answer.value is None:
            return unscored(self, 2 * N, 0, f"no texts could be read ({answer.why_missing})")
        predictions = apart(answer.value)
        bar = self.bench.threshold(evidence.feature)
        done = await self.bench.measure(evidence.feature, [p.text for p in predictions], evidence.unit)
        run = [compared(label, 0, p, found, bar) for p, found in zip(predictions, done, strict=True)]
        outcome = _outcome(run)
        n_run = outcome.n_fires + outcome.n_misses
        if min(outcome.n_fires, outcome.n_misses) < MIN_A_SIDE or n_run < MIN_SHARE_READ * 2 * N:
            score = unscored(self, 2 * N, n_run, _too_few(outcome, run))
        else:
            score = self._score(outcome)
        return replace(score, experiments=tuple(run))

    def _request(self, label: Label) -> Request:
        prompt = render("generation", label=label.text, n=N)
        return Request(
            model=self.model_name,
            system=prompt.system,
            messages=(Message("user", prompt.user),),
            schema=_SCHEMA,
            prompt_version=prompt.version,
            tags={"purpose": "generation", "feature": str(label.feature)},
        )

    def _score(self, outcome: Outcome) -> Score:
        counts = ((outcome.hits, outcome.n_fires), (outcome.passes, outcome.n_misses))
        draws = harmonic_mean(*share_draws(counts, self.seed, self.n_boot))
        interval = percentile_interval(draws)
        chance = by_chance(outcome)
        return Score(
            scorer=self.name,
            split=self.split,
            value=outcome.value,
            low=interval.low,
            high=interval.high,
            chance=chance.mean,
            p_value=chance.p_value,
            n_asked=2 * N,
            n_read=outcome.n_fires + outcome.n_misses,
            details={
                "share_above_threshold": share_at_least(draws, self.threshold),
                "chance_p95": chance.p95,
                "fired": outcome.hits / outcome.n_fires,
                "silent": outcome.passes / outcome.n_misses,
                "n_fires": float(outcome.n_fires),
                "n_near_misses": float(outcome.n_misses),
                "if_missing_wrong": outcome.filled(right=False),
                "if_missing_right": outcome.filled(right=True),
            },
        )


def apart(texts: Texts) -> list[Prediction]:
    """What can be used of a reply: at most `N` different texts of each kind, and none that is of both.

    Texts that differ in spacing only are the same. One without anything visible would be silent whatever the
    label says. A text in both lists is meant to fire and to be
    silent: whatever the subject did, it would say nothing.

    Returns:
        Texts meant to fire, then near misses, each in their order.
    """
    fires, misses = (_distinct(some) for some in (texts.fires, texts.near_misses))
    both = fires.keys() & misses.keys()
    a, b = ([text for key, text in some.items() if key not in both][:N] for some in (fires, misses))
    return [
        *(Prediction("fires", text, True) for text in a),
        *(Prediction("near miss", text, False) for text in b),
    ]


def harmonic_mean(a: Array | float, b: Array | float) -> Array:
    """2ab / (a + b), and 0 where both are 0."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    total = a + b
    return np.asarray(2 * a * b / np.where(total > 0, total, 1.0))


def by_chance(outcome: Outcome) -> Chance:
    """The value if the same firings had been dealt to the texts at random: exact.

    With k of all texts firing, how many of the n_fires meant to do so are among them is hypergeometric, and
    the value rises with it.
    """
    from scipy.stats import hypergeom

    n, k = outcome.n_fires + outcome.n_misses, outcome.hits + outcome.n_misses - outcome.passes
    hits = np.arange(max(0, k - outcome.n_misses), min(k, outcome.n_fires) + 1)
    odds = hypergeom.pmf(hits, n, k, outcome.n_fires)
    values = harmonic_mean(hits / outcome.n_fires, (outcome.n_misses - (k - hits)) / outcome.n_misses)
    # Without a firing, or without a silence, every deal has the value 0.
    p_value = float(odds[values >= outcome.value - ROUNDING].sum())
    p95 = values[np.searchsorted(odds.cumsum(), 0.95 - ROUNDING)]
    return Chance(min(1.0, p_value), float(odds @ values), float(p95))


def _distinct(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        if any(unicodedata.category(char)[0] in "LNPS" for char in text):
            found.setdefault(" ".join(text.split()), text)
    return found


def _outcome(run: Sequence[Experiment]) -> Outcome:
    def count(fires: bool, *verdicts: str) -> int:
        return sum(e.prediction.fires is fires and e.verdict in verdicts for e in run)

    return Outcome(
        hits=count(True, "held"),
        n_fires=count(True, "held", "failed"),
        passes=count(False, "held"),
        n_misses=count(False, "held", "failed"),
    )


def _too_few(outcome: Outcome, run: Sequence[Experiment]) -> str:
    reasons = [one.why for one in run if one.why is not None]
    of = f"; of one: {reasons[0]}" if reasons else ""
    return (
        f"{outcome.n_fires} texts meant to fire and {outcome.n_misses} near misses could be run, and "
        f"{MIN_A_SIDE} of each and {MIN_SHARE_READ:.0%} of {2 * N} are needed{of}"
    )
