"""Excerpts as a card shows them: true levels, simulated ones under them, and what is wrong between the two.

Excerpts are of the explain and refine splits. The report split, which the score is of, is not shown: a label
that a reviewer writes is scored on it, and is to have seen as little of it as the job's.
"""

from __future__ import annotations

import re
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


def show(excerpt: Excerpt, maximum: float, simulated: Floats | None = None) -> Shown:
    """Make an excerpt ready to be shown.

    Args:
        excerpt: with raw activations.
        maximum: the feature's largest activation in the explain split, raw units: level 10.
        simulated: (n_words,) levels, 0 to 10.
    """
    words = excerpt.context.tokens
    scaled = excerpt.activations / (maximum or 1.0)
    true = scaled.tolist()
    size, mistake = 0.0, ""
    marked = None
    if simulated is not None:
        difference = scaled.clip(0, 1) - simulated / MAX_LEVEL
        place = int(np.abs(difference).argmax()) if words else 0
        worst = float(difference[place]) if words else 0.0
        size = abs(worst)
        if size >= WRONG:
            levels = f"true {_level(true[place])}, simulated {simulated[place]:.0f}"
            what = "predicted more than fires" if worst < 0 else "fires more than predicted"
            mistake = f"{what} on “{_named(words[place])}” ({levels})"
        predicted = [x / MAX_LEVEL if x >= PREDICTED else 0.0 for x in simulated.tolist()]
        marked = heat(marks(words, predicted))
    return Shown(excerpt.stratum, heat(marks(words, true)), marked, size, mistake, _spoken(words, true))


def heat(marked: Sequence[Mark]) -> Markup:
    """Words as markup: a strength is a class for colour and underline, and a number. All is escaped.

    Made here and not in a template: a card has some thousand words.
    """
    return Markup("".join(map(_marked, marked)))


def _marked(m: Mark) -> str:
    if m.level is None:
        return _escaped(m.text)
    level, peak = m.level or "&lt;1", " peak" if m.peak else ""
    return f'{_escaped(m.before)}<i class="w l{m.level}{peak}" data-l="{level}">{_escaped(m.text)}</i>'


def _escaped(text: str) -> str:
    """Text as markup; most has nothing to escape, and to find that out takes a fraction of the time."""
    return str(escape(text)) if _ESCAPED.search(text) else text


_ESCAPED = re.compile(r"""[&<>'"]""")
"""What `markupsafe.escape` replaces."""


def marks(words: Sequence[str], shares: Sequence[float]) -> tuple[Mark, ...]:
    """Words with their levels; silent ones run together.

    Args:
        words: with their leading whitespace.
        shares: of the feature's range, one a word; 0 or less is silent.
    """
    found: list[Mark] = []
    top = max(shares, default=0.0)
    told = 0
    for place in [i for i, share in enumerate(shares) if share > 0]:
        if silent := "".join(words[told:place]):
            found.append(Mark("", visible(silent), None))
        word, share = words[place], shares[place]
        core = word.lstrip(" ") or word
        found.append(Mark(word[: len(word) - len(core)], visible(core), _level(share), share == top))
        told = place + 1
    if silent := "".join(words[told:]):
        found.append(Mark("", visible(silent), None))
    return tuple(found)


def _level(share: float) -> int:
    return min(MAX_LEVEL, max(0, round(float(share) * MAX_LEVEL)))


def _spoken(words: Sequence[str], true: Sequence[float]) -> str:
    """The strongest words with their levels."""
    firing = [i for i, share in enumerate(true) if share > 0]
    strongest = sorted(firing, key=lambda i: -true[i])[:SPOKEN]
    return (
        "fires on " + ", ".join(f"{_named(words[i])} {_level(true[i])}" for i in strongest)
        if firing
        else "silent"
    )


def _named(word: str) -> str:
    """A word among others; one of spaces alone by a sign."""
    return visible(word.strip()) or "␣"
