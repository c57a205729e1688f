"""What a competent model would answer: a function of a prompt's words alone.

As an explainer it reads the marked words of a `highlight` prompt and says what they have in common, in one of
the forms below; as a simulator it reads such a label back and lists the words it speaks of.

    the word "a"                 the words "a", "b"
    words ending in "a"          the word after "a"

Asked for tests of a label, it writes texts with its words, and texts without them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any
from zlib import crc32

from tests.agent.planted import ENDING, VOCABULARY

BLOCK = re.compile(r"\[begin (\w+) (\w+)\]\n(.*?)\n\[end \1 \2\]", re.S)
WRONG = 'the word "zzz"'
NOISE = "noise"
"""Labels that begin so are simulated at random: each fires on a seventh of all words, its own."""


def blocks(prompt: str) -> dict[str, str]:
    """What stands between marks in a user turn, by name."""
    return {name: body for name, _, body in BLOCK.findall(prompt)}


def purpose_of(prompt: str) -> str:
    """propose, falsify, revise or simulate."""
    found = blocks(prompt)
    marks = {"label": "simulate", "attempt": "falsify", "attempts": "revise"}
    return next((purpose for block, purpose in marks.items() if block in found), "propose")


def excerpts_of(prompt: str) -> dict[int, list[str]]:
    """Words of the excerpts of a simulation prompt, by number."""
    lines = blocks(prompt)["excerpts"].split("\n")
    found = (re.fullmatch(r"Excerpt (\d+): (.*)", line) for line in lines)
    return {int(line[1]): line[2].split(" ") for line in found if line}


def label_of(prompt: str) -> str:
    """The label a simulation prompt asks about."""
    return blocks(prompt)["label"]


def fires(label: str, words: list[str]) -> list[tuple[int, int]]:
    """(place, level) of the words of an excerpt that a label speaks of; none for a label of another form."""
    quoted = re.findall(r'"([^"]+)"', label)
    if label.startswith(NOISE):
        hashes = [crc32(f"{label} {word}".encode()) for word in words]
        return [(i, 1 + code % 10) for i, code in enumerate(hashes) if code % 7 == 0]
    if "after" in label:
        return [(i + 1, 8) for i, word in enumerate(words[:-1]) if word in quoted]
    if "ending" in label:
        return [(i, 8) for i, word in enumerate(words) if word.endswith(tuple(quoted))]
    level = {word: 10 - 3 * rank for rank, word in enumerate(quoted[:3])}
    return [(i, level[word]) for i, word in enumerate(words) if word in level]


def simulate(prompt: str, label: str | None = None) -> dict[str, Any]:
    """A sparse simulation, as its prompt asks for it."""
    said = label_of(prompt) if label is None else label
    return {
        "excerpts": [
            {
                "excerpt": number,
                "fires": [
                    [words[i], words[: i + 1].count(words[i]), level] for i, level in fires(said, words)
                ],
            }
            for number, words in excerpts_of(prompt).items()
        ]
    }


def explain(prompt: str) -> str:
    """The best label for the marked words of a `highlight` prompt."""
    lines = [line for line in blocks(prompt)["excerpts"].split("\n") if line.startswith("Excerpt ")]
    words = [line.partition(": ")[2].split(" ") for line in lines]
    marked = Counter(w.strip("<>") for text in words for w in text if w.startswith("<<"))
    before = Counter(a.strip("<>") for text in words for a, b in pairwise(text) if "<<" in b)
    total = marked.total()
    (top, n), *_ = marked.most_common(1)
    if n > 0.9 * total:
        return f'the word "{top}"'
    if sum(k for word, k in marked.items() if word.endswith(ENDING)) > 0.9 * total:
        return f'words ending in "{ENDING}"'
    if before and before.most_common(1)[0][1] > 0.8 * total:
        return f'the word after "{before.most_common(1)[0][0]}"'
    if sum(k for _, k in marked.most_common(3)) > 0.9 * total:
        levels: Counter[str] = Counter()
        for word, level in re.findall(r"(\w+) (\d+)", "\n".join(_levels(prompt))):
            levels[word] = max(levels[word], int(level))
        return "the words " + ", ".join(f'"{word}"' for word, _ in levels.most_common(3))
    return WRONG


def _levels(prompt: str) -> list[str]:
    return [line for line in blocks(prompt)["excerpts"].split("\n") if line.startswith("Levels: ")]


def tests(prompt: str) -> dict[str, Any]:
    """Tests of the label of a falsification prompt: each of its words in a text, and texts of other words."""
    (label,) = re.findall(r"Label 1: (.*)", blocks(prompt)["attempt"])
    quoted = re.findall(r'"([^"]+)"', label)
    others = [word for word in VOCABULARY if not re.search("|".join(quoted), word)]
    at = crc32(prompt.encode())  # a reply that shows whatever the prompt showed
    fillers = [others[(at + 7 * i) % len(others)] for i in range(6)]
    fires = [
        {"kind": "fires", "text": f"{fillers[i]} {w} {fillers[i + 1]}", "fires": True}
        for i, w in enumerate(quoted[:3])
    ]
    silent = [{"kind": "silent", "text": f"{fillers[i]} {fillers[i + 1]}", "fires": False} for i in (3, 4)]
    return {"tests": [*fires, *silent]}


def proposals(*texts: str) -> dict[str, Any]:
    """A reply of an explainer."""
    return {"labels": [{"text": text} for text in texts]}


def answer(prompt: str) -> str:
    """The reply to a first user turn."""
    if purpose_of(prompt) == "simulate":
        return json.dumps(simulate(prompt))
    if purpose_of(prompt) == "falsify":
        return json.dumps(tests(prompt))
    return json.dumps(proposals(explain(prompt), WRONG))
