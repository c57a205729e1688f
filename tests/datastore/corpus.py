"""A small corpus in words, with features whose every activation is known.

0    " bank" after " river", strength by the place; other banks are silent
1    the pieces of "un|lock|ing" (three tokens of one word), each with its own strength
2    a random tenth of all tokens
3    every token of every context: there is no silence
4    nothing
5    six contexts only
"""

from __future__ import annotations

import numpy as np

from exegete.datastore.records import SPLITS
from exegete.datastore.splits import split_of
from tests.datastore.streams import Activations, Seen, Sizes, context

SIZES = Sizes(6, top=12, sample=(40, 20, 20), quiet=(60, 40, 40))
VOCABULARY = [
    " the",
    " of",
    " cat",
    " dog",
    " runs",
    " over",
    " lake",
    " tree",
    " old",
    " new",
    " says",
    " at",
    " by",
    " (",
]


def stream(n: int = 400, seed: int = 3) -> list[Seen]:
    """Contexts, one to three a document, of 20 to 60 tokens."""
    rng = np.random.default_rng(seed)
    found: list[Seen] = []
    while len(found) < n:
        document = f"document {len(found)}"
        split = SPLITS.index(split_of(document, SIZES.seed))
        for part in range(int(rng.integers(1, 4))):
            tokens = [str(t) for t in rng.choice(VOCABULARY, int(rng.integers(20, 60)))]
            for place in rng.integers(0, len(tokens) - 6, 2).tolist():
                kind = rng.random()
                if kind < 0.3:
                    tokens[place : place + 2] = [" river", " bank"]
                elif kind < 0.5:
                    tokens[place : place + 2] = [" blood", " bank"]
                elif kind < 0.8:
                    tokens[place : place + 3] = [" un", "lock", "ing"]
            number = len(found) + 1
            fired = _activations(tokens, number)
            found.append((context(number, split, document, tokens, part * 60), fired))
    return found


def _activations(tokens: list[str], number: int) -> Activations:
    rng = np.random.default_rng(number)
    fired: Activations = {}

    def fire(slot: int, position: int, value: float) -> None:
        fired.setdefault(slot, {})[position] = float(np.float32(value))

    for position, token in enumerate(tokens):
        if token == " bank" and tokens[position - 1] == " river":
            fire(0, position, 1 + rng.random())
        if token == "lock":
            for offset, value in ((-1, 0.5), (0, 2.0), (1, 1.0)):
                fire(1, position + offset, value + rng.random() / 10)
        if rng.random() < 0.1:
            fire(2, position, rng.exponential())
        fire(3, position, 0.1 + rng.random())
    if number in (3, 30, 60, 90, 120, 150):
        fire(5, number % len(tokens), number)
    return fired
