"""Scoring that stops once it is clear of the threshold, with intervals that hold at every look.

1. *Looks.* The excerpts are asked about in portions of one call, each a stratified share of every kind, in an
   order that depends on the feature and the seed only. After each portion all that has been read is scored.
2. *Spending.* A 95% interval looked at again and again is wrong more often than 5% of the time. So each look
   has an interval of its own, higher level: after a share t of the excerpts α·t² of α = 5% is spent [Lan &
   DeMets 1983; Kim & DeMets 1987], and the joint distribution of the looks, that of Brownian motion at the
   times t, says which level that leaves to each [Armitage, McPherson & Rowe 1969].
3. *Stopping.* When the interval of the first scorer lies above or below the threshold, no more is asked. The
   interval reported is that of the look at which it stopped: such intervals hold the truth at all looks at
   once with probability 1 - α [Jennison & Turnbull 1989], so also at the one that the data chose.

A look without an interval (too little was read, or a constant simulation) never stops anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from statistics import NormalDist
from typing import Any, cast

import numpy as np

from exegete.datastore.hashing import digest64
from exegete.datastore.records import Context, Evidence, Floats, Label, Score
from exegete.scorers.reading import MIN_A_SIDE, Group, Reading, group_of, read
from exegete.scorers.scorer import Scorer, refuse_other_splits
from exegete.scorers.statistics import Array
from exegete.scorers.together import ReadsSimulation, score_together
from exegete.simulators.simulator import Simulation, Simulator

PORTION = 20
"""Excerpts a look adds at most: those that share a simulator's call."""

MAX_LOOKS = 6
"""More looks at a large report set save little and widen the last interval."""

ALPHA = 0.05
"""How often any of the looks' intervals may miss the truth."""

_NORMAL = NormalDist()
_NODES = 128
"""Of the quadrature; levels are then exact to six digits (tests/scorers/test_stopping.py)."""


Spending = Callable[[float], float]
"""From the share of the excerpts asked about to the share of α that may be spent by then."""


def rising(time: float) -> float:
    """Share of α spent after a share of the excerpts: its square [Kim & DeMets 1987, power family].

    Spending it evenly saves more calls and widens the last interval; keeping nearly all for the end saves
    fewer, and asks of the first look a level that draws can't resolve (docs/decisions/012-scoring-stops.md).
    """
    return time * time


@lru_cache(maxsize=64)
def levels_of_looks(
    times: tuple[float, ...], alpha: float = ALPHA, spending: Spending = rising
) -> tuple[float, ...]:
    """Nominal level of the interval of every look, such that all of them hold the truth at once.

    Args:
        times: share of the planned excerpts asked about at each look, rising, the last at most 1.
        alpha: how often any of the intervals may miss the truth.
        spending: how alpha is spread over the looks.

    Returns:
        One level a look, 1 - alpha for a single one.
    """
    levels: list[float] = []
    nodes, spent, before = np.zeros(1), 0.0, 0.0
    density = np.ones(1)  # of the process at `nodes`, times their quadrature weights, where nothing stopped
    for time in times:
        due = alpha * spending(time) - spent
        step = math.sqrt(time - before)
        bound = _bound(nodes, density, step, due)
        levels.append(2 * _NORMAL.cdf(bound / math.sqrt(time)) - 1)
        places, weights = np.polynomial.legendre.leggauss(_NODES)
        moved = places * bound
        kernel = np.exp(-(((moved[:, None] - nodes) / step) ** 2) / 2) / (step * math.sqrt(2 * math.pi))
        nodes, density = moved, weights * bound * (kernel @ density)
        spent, before = spent + due, time
    return tuple(levels)


def _bound(nodes: Array, density: Array, step: float, due: float) -> float:
    """Where the process, going one normal step on from `nodes`, ends outside with probability `due`."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    def too_much(bound: float) -> float:
        outside = norm.sf((bound - nodes) / step) + norm.cdf((-bound - nodes) / step)
        return float(density @ outside) - due

    return float(brentq(too_much, 0.0, 20.0, xtol=1e-10))


def portions(evidence: Evidence, seed: int) -> list[list[int]]:
    """Which excerpts each look adds: a stratified share of every kind, in an order of feature and seed only.

    Args:
        evidence: excerpts of one split.
        seed: chooses the order within kinds.

    Returns:
        Portions of equal size, to one excerpt, as places in `evidence.excerpts`. The first has MIN_A_SIDE
        excerpts of either side; where that can't be, there is one portion.
    """
    order = _spread(evidence, seed)
    n, n_activating = len(order), len(evidence.activating)
    n_looks = min(max(1, math.ceil(n / PORTION)), MAX_LOOKS)
    while n_looks > 1:
        cut = [list(map(int, part)) for part in np.array_split(order, n_looks)]
        firing = sum(i < n_activating for i in cut[0])
        if min(firing, len(cut[0]) - firing) >= MIN_A_SIDE:
            return cut
        n_looks -= 1
    return [order]


def _spread(evidence: Evidence, seed: int) -> list[int]:
    """All excerpts in an order of which every stretch has about its share of every kind and decile."""
    f = evidence.feature
    digest = digest64(f.subject, f.site, f.dictionary, f.index, f.polarity, evidence.split)
    rng = np.random.default_rng([seed, digest, 4])
    strata: dict[tuple[Group, str], list[int]] = {}
    for i, excerpt in enumerate(evidence.excerpts):
        group = group_of(excerpt.stratum, i < len(evidence.activating))
        strata.setdefault((group, excerpt.stratum), []).append(i)
    kinds: dict[Group, list[int]] = {}
    for group in dict.fromkeys(group for group, _ in strata):
        of_kind = [rng.permutation(members).tolist() for (g, _), members in strata.items() if g == group]
        rng.shuffle(of_kind)
        # One of every decile, then the next one of every decile.
        dealt = sorted((j, k, i) for k, members in enumerate(of_kind) for j, i in enumerate(members))
        kinds[group] = [i for *_, i in dealt]
    places = [((j + 0.5) / len(members), i) for members in kinds.values() for j, i in enumerate(members)]
    return [i for _, i in sorted(places)]


@dataclass(frozen=True, slots=True)
class Looks:
    """Scores labels look by look, and stops asking once the first scorer's interval clears the threshold.

    Attributes:
        simulator: predicts levels from a label.
        scorers: the primary one first; those that don't read the simulation score as they always do.
        threshold: the primary value a label is held against.
        seed: chooses the order in which excerpts are asked about.
        spending: how the chance of a wrong interval is spread over the looks.
    """

    simulator: Simulator
    scorers: Sequence[Scorer]
    threshold: float
    seed: int
    spending: Spending = rising

    async def score(self, label: Label, evidence: Evidence) -> tuple[Score, ...]:
        """Score a label on some evidence, as far as is needed.

        Args:
            label: the label.
            evidence: all excerpts it may be asked about, of the scorers' split.

        Returns:
            One score a scorer. `n_asked` counts what was asked, `details["n_planned"]` what would have been.

        Raises:
            LeakageError: the evidence is of another split.
            LLMError: no model could be reached.
        """
        for scorer in self.scorers:
            refuse_other_splits(scorer, evidence)
        primary = self.scorers[0]
        if not (isinstance(primary, ReadsSimulation) and "level" in _parameters(primary)):
            return await score_together(self.scorers, label, evidence)
        reading, level = await self._read_enough(primary, label, evidence)
        n_planned = len(evidence.excerpts) if reading.n_asked else 0
        scores = []
        for scorer in self.scorers:
            if isinstance(scorer, ReadsSimulation):
                score = _at(scorer, level=level).score_reading(reading)
                scores.append(replace(score, details={**score.details, "n_planned": float(n_planned)}))
            else:
                scores.append(await scorer.score(label, evidence))
        return tuple(scores)

    async def reading(self, label: Label, evidence: Evidence) -> Reading:
        """What `score` reads of the same label and evidence: no more than that is asked.

        Raises:
            LLMError: no model could be reached.
        """
        primary = self.scorers[0]
        if not (isinstance(primary, ReadsSimulation) and "level" in _parameters(primary)):
            return await read(self.simulator, label, evidence, self.seed)
        return (await self._read_enough(primary, label, evidence))[0]

    async def _read_enough(
        self, primary: ReadsSimulation, label: Label, evidence: Evidence
    ) -> tuple[Reading, float]:
        """What was read when scoring could stop, and the level that is left to its interval."""
        simulator = _Growing(self.simulator)
        parts = portions(evidence, self.seed)
        ends = np.cumsum([len(part) for part in parts])
        levels = levels_of_looks(tuple((ends / ends[-1]).tolist()), ALPHA, self.spending)
        asked: list[int] = []
        for part, level in zip(parts, levels, strict=True):
            asked += part
            reading = await read(simulator, label, _only(evidence, asked), self.seed)
            # Chance is not what stops it, and takes most of the time of a score.
            if part is parts[-1] or self._clear(_at(primary, level=level, n_perm=0).score_reading(reading)):
                break
        return reading, level

    def _clear(self, score: Score) -> bool:
        """Does the whole interval lie on one side of the threshold?"""
        if score.low is None or score.high is None:
            return False
        return score.low >= self.threshold or score.high < self.threshold


class _Growing:
    """A simulator that is asked about more contexts each time, and asks another about the new ones only."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._known: dict[tuple[str, Context], tuple[Floats | None, str | None, float | None]] = {}

    @property
    def name(self) -> str:
        """The name of the simulator that is asked."""
        return self._simulator.name

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Predict levels for contexts; what was missing once stays missing."""
        new = [context for context in contexts if (label, context) not in self._known]
        if new:
            found = await self._simulator.simulate(label, new)
            masses = found.missing_mass or (None,) * len(new)
            said = zip(found.levels, found.why_missing, masses, strict=True)
            self._known.update({(label, c): one for c, one in zip(new, said, strict=True)})
        known = [self._known[(label, context)] for context in contexts]
        levels, reasons, masses = zip(*known, strict=True)
        return Simulation(levels, reasons, masses)


def _only(evidence: Evidence, places: Sequence[int]) -> Evidence:
    """The evidence with only these of its excerpts, in their order."""
    wanted, n = set(places), len(evidence.activating)
    return replace(
        evidence,
        activating=tuple(e for i, e in enumerate(evidence.activating) if i in wanted),
        quiet=tuple(e for i, e in enumerate(evidence.quiet, start=n) if i in wanted),
    )


def _at(scorer: ReadsSimulation, **changed: float) -> ReadsSimulation:
    """The scorer with other parameters, of those it has."""
    known = {name: value for name, value in changed.items() if name in _parameters(scorer)}
    return cast("ReadsSimulation", replace(cast("Any", scorer), **known))


def _parameters(scorer: ReadsSimulation) -> set[str]:
    return {field.name for field in fields(cast("Any", scorer))}
