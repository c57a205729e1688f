"""Excerpts as a card shows them: true levels, simulated ones under them, and what is wrong between the two.

Excerpts are of the explain and refine splits. The report split, which the score is of, is not shown: a label
that a reviewer writes is scored on it, and is to have seen as little of it as the job's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from exegete.datastore.records import MAX_LEVEL, Excerpt, Floats
from exegete.review.pages.texts import visible
from exegete.scorers.reading import PREDICTED

SPOKEN = 6
"""Words that a screen reader is told of an excerpt, strongest first."""
WRONG = 0.2
"""Smallest difference between true and simulated that is called a mistake, of the feature's range; the same
that a reviser is shown (agent/nodes.py)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Some text with one level."""

    before: str
    """The whitespace before it."""
    text: str
    level: int | None
    """1 to 10, 0 for a firing too weak for 1, or None: silent."""
    peak: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """One excerpt of a card."""

    kind: str
    """Its stratum."""
    true: Markup
    """Its words, marked by how strongly the feature fires on them."""
    simulated: Markup | None
    """The same words with simulated levels; None where there is no simulation."""
    size: float
    """Of its worst mistake, 0 to 1."""
    mistake: str
    """What that is, in words; "" when it is too small to speak of."""
    spoken: str
    """What fires, in words, for whoever does not see the marks."""
    document: str
    false_alarm: bool
    """Whether the worst mistake is to predict what does not fire."""


def show(excerpt: Excerpt, maximum: float, simulated: Floats | None = None) -> Shown:
    """Make an excerpt ready to be shown.

    Args:
        excerpt: with raw activations.
        maximum: the feature's largest activation in the explain split, raw units: level 10.
        simulated: (n_words,) levels, 0 to 10.
    """
    words = excerpt.context.tokens
    true = excerpt.activations / (maximum or 1.0)
    size, mistake, false_alarm = 0.0, "", False
    marked = None
    if simulated is not None:
        difference = np.clip(true, 0, 1) - simulated / MAX_LEVEL
        place = int(np.abs(difference).argmax()) if len(words) else 0
        size = float(np.abs(difference[place])) if len(words) else 0.0
        false_alarm = bool(len(words)) and bool(difference[place] < 0)
        if size >= WRONG:
            levels = f"true {_level(true[place])}, simulated {simulated[place]:.0f}"
            what = "predicted more than fires" if false_alarm else "fires more than predicted"
            mistake = f"{what} on “{_named(words[place])}” ({levels})"
        predicted = [x / MAX_LEVEL if x >= PREDICTED else 0.0 for x in simulated.tolist()]
        marked = heat(marks(words, predicted))
    return Shown(
        excerpt.stratum,
        heat(marks(words, true.tolist())),
        marked,
        size,
        mistake,
        _spoken(words, true),
        visible(excerpt.context.document),
        false_alarm,
    )


def heat(marked: Sequence[Mark]) -> Markup:
    """Words as markup: a strength is a class for colour and underline, and a number. All is escaped.

    Made here and not in a template: a card has some thousand words.
    """
    return Markup("".join(map(_marked, marked)))


def _marked(m: Mark) -> str:
    text = escape(m.text)
    if m.level is None:
        return text
    level, peak = m.level or "&lt;1", " peak" if m.peak else ""
    return f'{escape(m.before)}<i class="w l{m.level}{peak}" data-l="{level}">{text}</i>'


def marks(words: Sequence[str], shares: Sequence[float]) -> tuple[Mark, ...]:
    """Words with their levels; silent ones run together.

    Args:
        words: with their leading whitespace.
        shares: of the feature's range, one a word; 0 or less is silent.
    """
    found: list[Mark] = []
    silent = ""
    top = max(shares, default=0.0)
    if top <= 0:
        return (Mark("", visible("".join(words)), None),) if words else ()
    for word, share in zip(words, shares, strict=True):
        if share <= 0:
            silent += word
            continue
        if silent:
            found.append(Mark("", visible(silent), None))
            silent = ""
        core = word.lstrip(" ") or word
        found.append(Mark(word[: len(word) - len(core)], visible(core), _level(share), share == top))
    if silent:
        found.append(Mark("", visible(silent), None))
    return tuple(found)


def _level(share: float) -> int:
    return min(MAX_LEVEL, max(0, round(float(share) * MAX_LEVEL)))


def _spoken(words: Sequence[str], true: Floats) -> str:
    """The strongest words with their levels."""
    if not true.any():
        return "silent"
    order = [i for i in np.argsort(-true, kind="stable")[:SPOKEN].tolist() if true[i] > 0]
    return "fires on " + ", ".join(f"{_named(words[i])} {_level(true[i])}" for i in order)


def _named(word: str) -> str:
    """A word among others; one of spaces alone by a sign."""
    return visible(word.strip()) or "␣"
