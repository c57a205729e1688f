"""What a value would be if all missing judgements were wrong, and if all were right.

A missing excerpt is left out of a value, never counted as silence. These two say how much that can matter.

*Balanced accuracy*: exact; missing excerpts are added to the counts as mistakes, or as right answers.

*r*: a missing excerpt is given the levels of the interval's imaginary ones (`exegete.scorers.intervals`).
Right are levels in proportion to its activations, or silence. Wrong is to overlook it whole if the feature
fires in it, and otherwise a false alarm as strong as the label's predictions are. So the bounds are those of
an honest simulator; one that set out to mislead could do worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exegete.datastore.records import Floats
from exegete.scorers.classification import Judgements
from exegete.scorers.intervals import imagine
from exegete.scorers.statistics import Paired, correlation, pair


@dataclass(frozen=True, slots=True)
class Bounds:
    """A value if all that is missing were wrong, and if it were right."""

    wrong: float
    right: float


def accuracy_bounds(judged: Judgements, n_firing: int, n_silent: int) -> Bounds:
    """Balanced accuracy with missing judgements filled in.

    Args:
        judged: the judgements that are there.
        n_firing: missing ones of excerpts in which the feature fires.
        n_silent: missing ones of excerpts in which it is silent.
    """
    firing, silent = judged.positives + n_firing, judged.negatives + n_silent
    wrong = judged.hits / firing + judged.passes / silent
    right = (judged.hits + n_firing) / firing + (judged.passes + n_silent) / silent
    return Bounds(wrong / 2, right / 2)


def correlation_bounds(paired: Paired, missing: Sequence[Floats]) -> Bounds:
    """r with the simulations of missing excerpts filled in.

    Args:
        paired: simulated and true values of the excerpts that were read; they have an r.
        missing: for every other excerpt, (n_words,) true activations.

    Returns:
        Bounds that hold r between them. Silence can raise an r below 0: `wrong` is then r itself.
    """
    rows = paired.moments
    value = float(correlation(rows.sum(0)))
    if not missing:
        return Bounds(value, value)
    imagined = imagine(rows, pair(missing, missing).moments)
    filled = [float(correlation(rows.sum(0) + more.sum(0))) for more in (imagined.wrong, imagined.right)]
    return Bounds(float(np.min([value, *filled])), float(np.max([value, *filled])))
