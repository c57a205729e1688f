"""A made-up corpus, and features of it whose rule is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from exegete.datastore.records import Context, Evidence, Excerpt, FeatureId, Floats, Split

FEATURE = FeatureId("made-up", "layer", "neurons", 7)

_NOUNS = "house river stone paper garden window teacher number letter market winter question engine forest"
_VERBS = "walk open carry paint collect follow answer climb measure repeat"
_ADVERBS = "quick slow silent bright calm proud eager open rare brave"
_DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_SMALL = "the of a to in and with from this that on by , . ( ) ; 3 14 275"

Rule = Callable[[Sequence[str], int], float]
"""The activation of word i of a passage, from its stripped words."""


@cache
def passages(split: Split, n: int = 220, length: int = 60) -> tuple[Context, ...]:
    """Passages of one split: words drawn independently, small words most often."""
    rng = np.random.default_rng({"explain": 1, "refine": 2, "report": 3}[split])
    verbs = [v.removesuffix("e") + e for v in _VERBS.split() for e in ("s", "ed", "ing")]
    rare = [*_NOUNS.split(), *verbs, *(f"{a}ly" for a in _ADVERBS.split()), *_DAYS.split()]
    small = _SMALL.split()
    made = []
    for number in range(n):
        words = [str(rng.choice(small) if rng.random() < 0.55 else rng.choice(rare)) for _ in range(length)]
        tokens = tuple(word if word in ",.;)" else f" {word}" for word in words)
        made.append(Context(1000 * len(split) + number, f"{split}/{number // 4}", 0, tokens))
    return tuple(made)


def activations(rule: Rule, context: Context) -> Floats:
    """What a feature with this rule does on a passage."""
    words = [token.strip() for token in context.tokens]
    return np.asarray([rule(words, i) for i in range(len(words))], dtype=np.float32)


def evidence(rule: Rule, split: Split = "explain", most: int = 100) -> Evidence:
    """What a harvest would hand out of a feature with this rule: whole passages, strongest first."""
    found = [(context, activations(rule, context)) for context in passages(split)]
    loud = sorted((pair for pair in found if pair[1].max() > 0), key=lambda pair: -float(pair[1].max()))
    activating = tuple(Excerpt(c, a, "top", 1.0) for c, a in loud[:most])
    quiet = tuple(Excerpt(c, a, "quiet", 1.0) for c, a in found if not a.max() > 0)
    maximum = activating[0].peak if activating else 0.0
    return Evidence(FEATURE, split, activating, quiet, "word", maximum)


@dataclass(frozen=True, slots=True)
class Noise:
    """A feature that fires at random, about once a passage in three."""

    seed: int

    def __call__(self, words: Sequence[str], i: int) -> float:
        """Fire for no reason; the same on every call."""
        key = hash_of(" ".join(words))
        draws = np.random.default_rng([self.seed, key]).random(len(words))
        return float(draws[i]) if draws[i] < 0.006 else 0.0


@cache
def hash_of(text: str) -> int:
    """A number from a text, the same in every process."""
    return int.from_bytes(text.encode()[:64], "big") % 2**32 + sum(text.encode())
