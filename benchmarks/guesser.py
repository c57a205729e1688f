"""A scripted model that labels, tests and simulates, and knows of a feature what its prompts show.

As an explainer it lists hypotheses (guessing.py), keeps those that fit what it was shown about equally well,
and names one by its habit:

    broad       the widest
    narrow      from the three strongest excerpts alone, the narrowest
    scattered   any, by a hash of the prompt

So its first label errs in a known direction wherever the marked words leave room for it, and it can only be
moved by being shown something else. As a tester it lists the same hypotheses, without a habit, and writes the
texts on which the label and most of the others disagree. As a simulator it takes a label at its word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from zlib import crc32

import numpy as np

from benchmarks.guessing import (
    Knowledge,
    Seen,
    blocks,
    cost,
    hypotheses,
    marked,
    predicted,
    reported,
    tried,
)
from exegete.llm import Reply, Request
from exegete.llm.size import CHARACTERS_PER_TOKEN, likely_tokens

Habit = Literal["broad", "narrow", "scattered"]
HABITS: tuple[Habit, ...] = ("broad", "narrow", "scattered")

ABOUT_EQUAL = 1.0
"""Hypotheses within so much of the best fit are as good as it."""
STRONGEST = 3
"""Excerpts that a narrow reader reads."""
RIVALS = 12
"""Other hypotheses that a tester thinks of."""
NEAR = 3
"""Words on either side of the deciding one in a test's text."""
TEXTS = 200
"""Places that a tester looks at for a text."""


@dataclass(frozen=True)
class Guesser:
    """Answers prompts of `highlight`, `falsify` and `sparse`."""

    habit: Habit
    knowledge: Knowledge

    async def complete(self, request: Request) -> Reply:
        """Answer; tokens are characters / 4."""
        text = self.answer(request)
        sizes = likely_tokens(request), len(text) // CHARACTERS_PER_TOKEN
        return Reply(text, "stop", "guesser", *sizes, 0, 0.0)

    async def close(self) -> None:
        """Nothing is open."""

    def answer(self, request: Request) -> str:
        """The reply to a request."""
        prompt = request.messages[0].text
        found = blocks(prompt)
        if "label" in found:
            return json.dumps(self._simulate(found["excerpts"], found["label"]))
        if "attempt" in found:
            n = int(re.findall(r"Write (\d+) test", prompt)[-1])
            return json.dumps({"tests": self._test(found, n)})
        k = int(re.findall(r"Write (\d+) ", prompt)[-1])
        return json.dumps({"labels": [{"text": text} for text in self._label(found, k, prompt)]})

    def _simulate(self, excerpts: str, label: str) -> dict[str, Any]:
        said = []
        for number, passage in re.findall(r"^Excerpt (\d+): (.*)$", excerpts, re.M):
            words = tuple(passage.split(" "))
            at = np.flatnonzero(predicted(label, words)).tolist()
            fires = [[words[i], words[: i + 1].count(words[i]), 8] for i in at]
            said.append({"excerpt": int(number), "fires": fires})
        return {"excerpts": said}

    def _label(self, found: dict[str, str], k: int, prompt: str) -> list[str]:
        """The k hypotheses that fit about equally well and come first by habit."""
        excerpts, attempts = marked(found["excerpts"]), found.get("attempts", "")
        if self.habit == "narrow":
            excerpts = excerpts[:STRONGEST]
        seen = [*excerpts, *reported(attempts)]
        fitting = [text for text in _fitting(seen, ABOUT_EQUAL) if text not in tried(attempts)]
        return sorted(fitting, key=lambda text: (self._rank(text, prompt), text))[:k]

    def _rank(self, text: str, prompt: str) -> int:
        if self.habit == "scattered":
            return crc32(f"{prompt}{text}".encode())
        return self.knowledge.extent(text) * (-1 if self.habit == "broad" else 1)

    def _test(self, found: dict[str, str], n: int) -> list[dict[str, Any]]:
        """Texts on which a label and most rivals disagree; each time those that are not yet told apart."""
        (label,) = tried(found["attempt"])
        seen = [*marked(found["excerpts"]), *reported(found["attempt"]), *reported(found.get("before", ""))]
        rivals = [text for text in _fitting(seen, 2 * ABOUT_EQUAL) if text != label][:RIVALS]
        texts = self._texts(label, rivals)
        says = {text: predicted(label, text).any() for text in texts}
        apart = {text: [predicted(r, text).any() != says[text] for r in rivals] for text in texts}
        times = np.zeros(len(rivals))
        tests: list[dict[str, Any]] = []
        while texts and len(tests) < n:
            worth = [float((np.asarray(apart[text]) / (1 + times)).sum()) for text in texts]
            if max(worth) <= 0:
                break
            text = texts.pop(int(np.argmax(worth)))
            times += apart[text]
            fires = bool(says[text])
            kind = "fires" if fires else "near miss"
            tests.append({"kind": kind, "text": "".join(text).strip(), "fires": fires, "pair": None})
        return tests

    def _texts(self, label: str, rivals: Sequence[str]) -> list[tuple[str, ...]]:
        """Short pieces of general text around words at which a label and a rival disagree, one a word."""
        words = self.knowledge.words
        own = predicted(label, words)
        found: dict[tuple[str, bool], tuple[str, ...]] = {}
        for rival in rivals:
            places = np.flatnonzero(predicted(rival, words) != own)
            for i in places[:: max(1, len(places) * len(rivals) // TEXTS)].tolist():
                found.setdefault((words[i].lower(), bool(own[i])), words[max(0, i - NEAR) : i + NEAR + 1])
        return list(dict.fromkeys(found.values()))


def _fitting(seen: Sequence[Seen], room: float) -> list[str]:
    """Hypotheses whose cost is within some room of the smallest, the best first."""
    costs = {text: cost(text, seen) for text in hypotheses(seen)}
    least = min(costs.values(), default=0.0)
    return sorted((text for text in costs if costs[text] <= least + room), key=lambda text: costs[text])
