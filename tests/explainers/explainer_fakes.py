"""A model that says what it is told to, and evidence made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from exegete.datastore.records import Context, Evidence, Excerpt, FeatureId, Label, Split, Unit
from exegete.explainers.explainer import Attempt, Mistake
from exegete.llm.llm import Finish, Reply, Request

FEATURE = FeatureId(subject="tiny@1", site="layers.3", dictionary="neurons", index=32)


class FakeLLM:
    """Gives the replies it was made with, in turn, the last one for ever; remembers what it was asked."""

    def __init__(self, *replies: str | Finish | Exception | Callable[[Request], str]) -> None:
        self.replies = list(replies)
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        said = self.replies[min(len(self.asked), len(self.replies)) - 1]
        if isinstance(said, Exception):
            raise said
        finish: Finish = said if said in ("length", "refusal", "filtered") else "stop"  # type: ignore[assignment]
        text = said(request) if callable(said) else said
        return Reply(text, finish, "fake", 10, 5, 0, 0.0)

    async def close(self) -> None:
        pass


def proposing(*labels: str) -> str:
    """A reply with these labels."""
    return json.dumps({"labels": [{"text": label} for label in labels]})


def excerpt(words: str | Sequence[str], activations: Sequence[float], stratum: str = "top") -> Excerpt:
    """An excerpt of words (given as running text, split at spaces) with their activations."""
    tokens = tuple(f" {word}" for word in words.split(" ")) if isinstance(words, str) else tuple(words)
    context = Context(id=len(tokens), document="d", start=0, tokens=tokens)
    return Excerpt(context, np.asarray(activations, dtype=np.float32), stratum, 1.0)


def evidence(
    *excerpts: Excerpt, split: Split = "explain", maximum: float = 8.0, unit: Unit = "word"
) -> Evidence:
    """Evidence with these activating excerpts."""
    return Evidence(FEATURE, split, excerpts, (), unit, maximum)


DEGREE = evidence(
    excerpt("the soup was terribly salty", [0, 0, 0.1, 8, 0]),
    excerpt(
        ["A", " slightly", " bent", " spoon", ",", "\nLying", " flat"], [0, 2.4, 0.5, 0, 0, 0, 0], "decile 3"
    ),
)
"""Two excerpts of a feature that fires on words of degree."""


def attempt(text: str, score: float | None = 0.31, round_: int = 0) -> Attempt:
    """A label that was tried, with one miss and one false alarm."""
    missed = Mistake(excerpt("it is far too hot", [0, 0, 4, 7.2, 0]), np.asarray([0, 0, 0, 3, 0], np.float32))
    alarm = Mistake(excerpt("a salty soup", [0, 0, 0], "quiet"), np.asarray([0, 6.25, 0], np.float32))
    return Attempt(Label(FEATURE, text, "x", round_), score, (missed,), (alarm,))
