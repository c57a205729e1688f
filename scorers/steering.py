"""Steering score: can a feature's continuations be told by its output label from those of other directions?

1. Short neutral texts are continued with a direction pushed up, and with it pushed down, for the feature and
   for controls (other features, random directions), all at the same movement of predictions
   (`exegete.subjects.effects.matched_shift`): whoever pushes harder would be told by the damage alone.
2. Each round shows `CHOICES` sets in an order drawn by hash, the feature's and those of three controls, from
   texts and random numbers that no other round has, and a judge picks the set that the output label
   describes.
3. The value is the share of rounds in which the feature's is picked, 1 / `CHOICES` by chance. p is that of an
   exact binomial test: where the label says nothing of the direction, the place of the feature's set is drawn
   without regard to what the judge goes by, round by round. The interval is Jeffreys' [Brown, Cai & DasGupta
   2001].

Two judges: a language model (`ModelJudge`), and one that counts the tokens that a label lists
(`LexicalJudge`). Each is named in the scorer's name; their values don't compare.

The score is about a label and a direction together. A direction that nobody learned has effects too, and a
right label of them is found: that a feature does more than any direction would is what ablation measures.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from exegete.datastore.hashing import digest64
from exegete.datastore.records import Label, Score
from exegete.errors import LLMStop
from exegete.llm.llm import LLM, Message, Request
from exegete.llm.structured import Answer, ask
from exegete.prompts import digest, render
from exegete.prompts.material import spaced
from exegete.scorers.reading import MIN_SHARE_READ
from exegete.simulators.output_words import read_label, shown

CHOICES = 4
"""Sets a round, the feature's among them."""
MIN_ROUNDS = 4
"""Rounds that a value needs."""

Texts = tuple[tuple[str, ...], ...]
"""Continuations, each as its tokens with their leading spaces."""


@dataclass(frozen=True, slots=True)
class Continued:
    """What one direction makes of the texts of one round."""

    up: Texts
    """With the direction pushed up."""
    down: Texts
    """With it pushed down, as far."""


@dataclass(frozen=True, slots=True)
class Round:
    """One question."""

    number: int
    sets: tuple[Continued, ...]
    """In the order they are shown in."""
    own: int
    """Place of the feature's, from 0."""


class Judge(Protocol):
    """Picks the set that a label describes."""

    @property
    def name(self) -> str:
        """Who: part of the scorer's name."""

    async def pick(self, label: Label, rounds: Sequence[Round]) -> list[int | str]:
        """For each round the place of a set, from 0, or why no answer could be had.

        Raises:
            LLMUnavailable, LLMStop: the model could not be reached.
        """


class Choice(BaseModel):
    """A model's reply: the number of a set."""

    model_config = ConfigDict(extra="forbid")

    set: Literal[1, 2, 3, 4]
    """From 1 to `CHOICES`."""


_SCHEMA = Choice.model_json_schema()


@dataclass(frozen=True, slots=True)
class ModelJudge:
    """Asks a language model, one call a round."""

    llm: LLM
    model_name: str
    """Its name as on the command line."""

    @property
    def name(self) -> str:
        """The model, with the digest of its prompt."""
        return f"{self.model_name}@{digest('steering')}"

    async def pick(self, label: Label, rounds: Sequence[Round]) -> list[int | str]:
        """See `Judge.pick`."""
        calls = [ask(self.llm, self.request(label, each), Choice) for each in rounds]
        answers = _unless_failed(await asyncio.gather(*calls, return_exceptions=True))
        return [
            answer.value.set - 1 if answer.value is not None else answer.why_missing or "unreadable"
            for answer in answers
        ]

    def request(self, label: Label, each: Round) -> Request:
        """The call about one round."""
        lines = []
        for number, own in enumerate(each.sets, start=1):
            lines += [f"Set {number}, up: {_line(tokens)}" for tokens in own.up]
            lines += [f"Set {number}, down: {_line(tokens)}" for tokens in own.down]
        prompt = render("steering", label=label.text, sets="\n".join(lines), n=len(each.sets))
        return Request(
            model=self.model_name,
            system=prompt.system,
            messages=(Message("user", prompt.user),),
            schema=_SCHEMA,
            prompt_version=prompt.version,
            max_tokens=256,
            tags={"purpose": "steering", "feature": str(label.feature)},
        )


@dataclass(frozen=True, slots=True)
class LexicalJudge:
    """Counts the tokens that a label lists: raised ones where it is pushed up, less those where it is pushed
    down, and the reverse for lowered ones. Equal counts are decided by hash. Asks nobody."""

    seed: int

    name = "lexical"

    async def pick(self, label: Label, rounds: Sequence[Round]) -> list[int | str]:
        """See `Judge.pick`; a label that lists no tokens can't be judged."""
        said = read_label(label.text)
        if not said.raised and not said.lowered:
            return ["the label quotes no token that it says is raised or lowered"] * len(rounds)
        picked: list[int | str] = []
        for each in rounds:
            counts = [_count(own, said.raised) - _count(own, said.lowered) for own in each.sets]
            best = [place for place, count in enumerate(counts) if count == max(counts)]
            f = label.feature
            picked.append(best[digest64(self.seed, "tie", f.index, f.polarity, each.number) % len(best)])
        return picked


def judge_of(llm: LLM | None, model_name: str | None, seed: int) -> Judge:
    """A language model where there is one, else the judge that counts."""
    return LexicalJudge(seed) if llm is None or model_name is None else ModelJudge(llm, model_name)


def deal(
    label: Label, own: Sequence[Continued], controls: Sequence[Sequence[Continued]], seed: int
) -> list[Round]:
    """The rounds of a feature.

    Args:
        label: says which feature.
        own: what it makes of the texts of each round.
        controls: for each control direction likewise; there have to be `CHOICES` - 1 at least.
        seed: chooses controls and places.
    """
    f, rounds = label.feature, []
    for number, mine in enumerate(own):
        order = sorted(
            range(len(controls)), key=lambda c: digest64(seed, "control", f.index, f.polarity, number, c)
        )
        sets = [controls[c][number] for c in order[: CHOICES - 1]]
        place = digest64(seed, "place", f.index, f.polarity, number) % CHOICES
        sets.insert(place, mine)
        rounds.append(Round(number, tuple(sets), place))
    return rounds


async def steering_score(
    label: Label, rounds: Sequence[Round], judge: Judge, **details: float | None
) -> Score:
    """Have a label's continuations picked among those of controls.

    Args:
        label: an output label.
        rounds: from `deal`.
        judge: who picks.
        details: further figures to keep.

    Returns:
        A score of the report split; its value is None when too few rounds could be made or read.

    Raises:
        LLMUnavailable, LLMStop: the model could not be reached.
    """
    if len(rounds) < MIN_ROUNDS:
        return unsteered(f"texts were found for {len(rounds)} rounds, and {MIN_ROUNDS} are needed", judge)
    picked = await judge.pick(label, rounds)
    read = [(each, place) for each, place in zip(rounds, picked, strict=True) if isinstance(place, int)]
    if len(read) < max(MIN_ROUNDS, MIN_SHARE_READ * len(rounds)):
        missing = next(place for place in picked if isinstance(place, str))
        why = f"{len(read)} of {len(rounds)} rounds could be read; of the others: {missing}"
        return unsteered(why, judge, len(rounds), len(read))
    right = sum(place == each.own for each, place in read)
    return _score(judge, len(rounds), len(read), right, details)


def unsteered(why: str, judge: Judge, n_asked: int = 0, n_read: int = 0) -> Score:
    """A score without a value."""
    return Score(_name(judge), "report", None, None, None, 1 / CHOICES, None, n_asked, n_read, why)


def _score(judge: Judge, n_asked: int, n_read: int, right: int, details: dict[str, float | None]) -> Score:
    from scipy.special import bdtrc, betaincinv

    a, b = right + 0.5, n_read - right + 0.5
    return Score(
        scorer=_name(judge),
        split="report",
        value=right / n_read,
        low=float(betaincinv(a, b, 0.025)) if right else 0.0,
        high=float(betaincinv(a, b, 0.975)) if right < n_read else 1.0,
        chance=1 / CHOICES,
        p_value=float(bdtrc(right - 1, n_read, 1 / CHOICES)) if right else 1.0,
        n_asked=n_asked,
        n_read=n_read,
        details={"choices": float(CHOICES), **details},
    )


def _name(judge: Judge) -> str:
    return f"steering@1({judge.name})"


def _line(tokens: Sequence[str]) -> str:
    """A continuation on one line."""
    return spaced(tuple("".join(tokens).split())) or "(nothing)"


def _count(own: Continued, listed: Sequence[str]) -> int:
    """How much more often listed tokens come when the direction is pushed up than when it is pushed down."""
    wanted = set(listed)
    up, down = (Counter(shown(token) for text in texts for token in text) for texts in (own.up, own.down))
    return sum(up[token] - down[token] for token in wanted)


def _unless_failed(done: Sequence[Answer[Choice] | BaseException]) -> list[Answer[Choice]]:
    """Hand back what every call gave, or raise what one of them raised: what ends the job, first."""
    failures = [result for result in done if isinstance(result, BaseException)]
    if failures:
        raise next((failure for failure in failures if isinstance(failure, LLMStop)), failures[0])
    return [result for result in done if not isinstance(result, BaseException)]
