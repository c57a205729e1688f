"""Intruder score: can a model see, without any label, which excerpt a feature does not fire in?

A measure of the *feature*, whatever its label says: one in which nothing in common can be seen has no good
label. After the word intrusion of Chang et al. 2009, with a language model as who is asked.

1. Activating excerpts are dealt to rounds by hash, `CHOICES` to each, their firing words marked.
2. In each round one of them gives way to the intruder: a quiet excerpt with as many marks, on words of the
   same kinds at the same places (`exegete.scorers.marking`). Which number it has is a hash.
3. One call a round asks for the odd one out. A reply that can't be read leaves its round out.
4. The value is the share of rounds in which it is found, 1 / `CHOICES` by chance. The interval is Jeffreys'
   [Brown, Cai & DasGupta 2001], p that of a binomial test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from exegete.datastore.hashing import digest64
from exegete.datastore.records import Evidence, Excerpt, Label, Score, Split
from exegete.errors import LLMStop
from exegete.llm.llm import LLM, Message, Request
from exegete.llm.structured import Answer, ask
from exegete.prompts import digest, render
from exegete.prompts.marked import marked_text
from exegete.scorers.marking import Marked, marks_of, substitutes
from exegete.scorers.reading import MIN_SHARE_READ
from exegete.scorers.scorer import refuse_other_splits

CHOICES = 5
"""Excerpts a round, the intruder among them."""
MIN_ROUNDS = 5
"""Rounds that a value needs."""


class Choice(BaseModel):
    """The reply: the number of the odd one out."""

    model_config = ConfigDict(extra="forbid")

    excerpt: Literal[1, 2, 3, 4, 5]
    """Its number, from 1 to `CHOICES`."""


@dataclass(frozen=True, slots=True)
class Round:
    """One question."""

    shown: tuple[str, ...]
    """The excerpts, in the order they are shown in."""
    intruder: int
    """The intruder's number, from 1."""


@dataclass(frozen=True, slots=True)
class IntruderScorer:
    """Scores features by how often a model finds the excerpt that one does not fire in. No label is read.

    `Score.details` holds `share_above_threshold`, the share of the posterior Beta(right + 1/2, wrong + 1/2)
    at or above the threshold, and `choices`, the excerpts a round. `n_asked` and `n_read` count rounds.
    """

    BAR: ClassVar[float] = 0.5
    """The bar it has beside another scorer."""
    WHY_NOT_FIRST: ClassVar[str] = "it says how interpretable a feature is and reads no label"

    llm: LLM
    model_name: str
    """Its name as on the command line."""
    split: Split
    threshold: float
    """The share of rounds a feature is to clear, for `share_above_threshold`."""
    seed: int
    """Deals excerpts to rounds."""

    @property
    def name(self) -> str:
        """name@version, with the model and the digest of its prompt."""
        return f"intruder@1({self.model_name}@{digest('intruder')})"

    async def score(self, label: Label, evidence: Evidence) -> Score:
        """Ask for the odd one out, round after round.

        Args:
            label: says which feature; its text is not read.
            evidence: excerpts of this scorer's split.

        Returns:
            A score of the feature; its value is None when too few rounds can be made or be read.

        Raises:
            LeakageError: the evidence is of another split.
            LLMError: the model could not be reached.
        """
        refuse_other_splits(self, evidence)
        rounds = rounds_of(evidence, self.seed)
        if len(rounds) < MIN_ROUNDS:
            why = f"excerpts were found for {len(rounds)} rounds of {CHOICES}, and {MIN_ROUNDS} are needed"
            return self._none(0, 0, why)
        calls = [ask(self.llm, self._request(each, evidence), Choice) for each in rounds]
        answers = _unless_failed(await asyncio.gather(*calls, return_exceptions=True))
        said = [None if answer.value is None else answer.value.excerpt for answer in answers]
        n_read = sum(choice is not None for choice in said)
        if n_read < max(MIN_ROUNDS, MIN_SHARE_READ * len(rounds)):
            missing = next(answer.why_missing for answer in answers if answer.value is None)
            why = f"{n_read} of {len(rounds)} rounds could be read; of the others: {missing}"
            return self._none(len(rounds), n_read, why)
        right = sum(choice == each.intruder for choice, each in zip(said, rounds, strict=True))
        return self._score(len(rounds), n_read, right)

    def _request(self, each: Round, evidence: Evidence) -> Request:
        lines = [f"Excerpt {number}: {text}" for number, text in enumerate(each.shown, start=1)]
        prompt = render("intruder", excerpts="\n".join(lines), n=len(lines))
        return Request(
            model=self.model_name,
            system=prompt.system,
            messages=(Message("user", prompt.user),),
            schema=_SCHEMA,
            prompt_version=prompt.version,
            tags={"purpose": "intruder", "feature": str(evidence.feature)},
        )

    def _score(self, n_asked: int, n_read: int, right: int) -> Score:
        from scipy.special import bdtrc, betainc, betaincinv

        a, b = right + 0.5, n_read - right + 0.5
        return Score(
            scorer=self.name,
            split=self.split,
            value=right / n_read,
            low=float(betaincinv(a, b, 0.025)) if right else 0.0,
            high=float(betaincinv(a, b, 0.975)) if right < n_read else 1.0,
            chance=1 / CHOICES,
            p_value=float(bdtrc(right - 1, n_read, 1 / CHOICES)) if right else 1.0,
            n_asked=n_asked,
            n_read=n_read,
            details={
                "share_above_threshold": float(1 - betainc(a, b, min(max(self.threshold, 0.0), 1.0))),
                "choices": float(CHOICES),
            },
        )

    def _none(self, n_asked: int, n_read: int, why: str) -> Score:
        return Score(
            scorer=self.name,
            split=self.split,
            value=None,
            low=None,
            high=None,
            chance=1 / CHOICES,
            p_value=None,
            n_asked=n_asked,
            n_read=n_read,
            why_none=why,
        )


_SCHEMA = Choice.model_json_schema()


def rounds_of(evidence: Evidence, seed: int) -> list[Round]:
    """The questions about a feature: as many as its activating excerpts make, each of them in one at most."""
    excerpts = evidence.excerpts
    firing = [Marked(row, marks_of(excerpt)) for row, excerpt in enumerate(evidence.activating)]
    firing = [marked for marked in firing if len(marked.places)]
    firing.sort(key=lambda marked: digest64(seed, "round", excerpts[marked.row].context.id))
    dealt = [firing[at : at + CHOICES] for at in range(0, len(firing) - CHOICES + 1, CHOICES)]
    quiet = range(len(evidence.activating), len(excerpts))
    rounds = []
    intruders = substitutes(excerpts, [members[0] for members in dealt], quiet, seed)
    for (model, *others), intruder in zip(dealt, intruders, strict=True):
        if intruder is not None:
            place = digest64(seed, "intruder", excerpts[model.row].context.id) % CHOICES
            shown = [*others[:place], intruder, *others[place:]]
            rounds.append(Round(tuple(_shown(excerpts[each.row], each) for each in shown), place + 1))
    return rounds


def _shown(excerpt: Excerpt, marked: Marked) -> str:
    """An excerpt on one line, with its marks."""
    return marked_text(excerpt.context.tokens, marked.places.tolist())


def _unless_failed(done: Sequence[Answer[Choice] | BaseException]) -> list[Answer[Choice]]:
    """Hand back what every call gave, or raise what one of them raised: what ends the job, first."""
    failures = [result for result in done if isinstance(result, BaseException)]
    if failures:
        raise next((failure for failure in failures if isinstance(failure, LLMStop)), failures[0])
    return [result for result in done if not isinstance(result, BaseException)]
