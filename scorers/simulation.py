"""Simulation score: do levels predicted from a label alone rise and fall with the true activations?

1. The simulator predicts a level, 0 to 10, for every word of every excerpt, knowing only the label.
2. The value is Pearson's r over the words of all excerpts that could be read, end to end: the "EV
   correlation" of Bills et al. 2023, here on strongest, sampled, quiet and hard quiet excerpts alike.
3. Its interval is a Bayesian bootstrap of excerpts within their kinds, with an imaginary one each
   (`exegete.scorers.intervals`); chance and p come from dealing the same predictions to excerpts at random.

A label whose simulation is the same everywhere has no r: its value is None. But it was put to the test and
predicted nothing, which no deal can do worse: its p-value is 1 and its share above the threshold 0, and that
tells it apart from a label that could not be tested (both None).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Evidence, Label, Score, Split
from exegete.scorers.intervals import correlation_draws
from exegete.scorers.missing import correlation_bounds
from exegete.scorers.reading import ACTIVATING, GROUPS, QUIET, Design, Group, Reading, read
from exegete.scorers.resampling import LEVEL, compare, dealt_correlations, percentile_interval, share_at_least
from exegete.scorers.scorer import refuse_other_splits
from exegete.scorers.senses import sense_details
from exegete.scorers.statistics import (
    CONSTANT_SIMULATION,
    Array,
    absolute_deviation_explained,
    correlation,
    optional,
)
from exegete.simulators.simulator import Simulator

PARTS: Mapping[str, tuple[Group, tuple[Group, Group]]] = {
    "r_top": ("top", QUIET),
    "r_sampled": ("sampled", QUIET),
    "r_random_quiet": ("quiet", ACTIVATING),
    "r_hard_quiet": ("hard quiet", ACTIVATING),
}
"""Correlations over part of the excerpts, by name: one kind of one side, against all of the other."""


@dataclass(frozen=True, slots=True)
class SimulationScorer:
    """Scores labels by the correlation of simulated and true activations.

    `Score.details` holds, where they are defined:

    - `r_weighted`: r with excerpts weighed to stand for the corpus; `r2`: r squared, with its sign dropped;
      `abs_dev`: share of absolute deviation explained [Bills 2023];
    - `r_top`, `r_sampled`: r on the strongest, or the sampled, activating excerpts and all quiet ones;
      `r_random_quiet`, `r_hard_quiet`: r on all activating excerpts and this kind of quiet ones;
    - `r_decile_1` (weakest) to `r_decile_10`: r on a decile of the sampled excerpts and all quiet ones, which
      says how far down a label holds; r, not mean levels, so that it reads like `r_top` and is in no units;
    - `if_missing_wrong`, `if_missing_right`: r if excerpts that could not be read were simulated as wrongly,
      or as rightly, as `exegete.scorers.missing` has it; both are r where none is missing;
    - `share_above_threshold`: share of draws with r at or above the threshold, of the same draws as the
      interval; `chance_p95`: 95th percentile of r by chance; `n_words`, `n_sampled`: words, and sampled
      excerpts, read;
    - `missing_mass`: mean share of probability given to anything but a level, None where the simulator reads
      no probabilities;
    - of a label with senses, what each of them is worth (`exegete.scorers.senses`).
    """

    BAR: ClassVar[float] = 0.5
    """The bar it has beside another scorer."""

    simulator: Simulator
    split: Split
    threshold: float
    """The r a label is to clear, for `share_above_threshold`."""
    seed: int
    n_boot: int = 2000
    """Draws for the interval; 0 leaves it out."""
    n_perm: int = 1999
    """Permutations; 0 leaves chance and the p-value out."""
    level: float = LEVEL
    """Nominal coverage of the interval."""

    @property
    def name(self) -> str:
        """name@version, with the simulator's."""
        return f"simulation@2({self.simulator.name})"

    async def score(self, label: Label, evidence: Evidence) -> Score:
        """Simulate a label on the evidence and correlate.

        Args:
            label: the label to score.
            evidence: excerpts of this scorer's split.

        Returns:
            A score; its value is None when too few excerpts are there or could be read, or when the
            simulation or the activations are constant.

        Raises:
            LeakageError: the evidence is of another split.
            LLMError: no model could be reached.
        """
        refuse_other_splits(self, evidence)
        return self.score_reading(await read(self.simulator, label, evidence, self.seed))

    def score_reading(self, reading: Reading) -> Score:
        """Score a simulation that has been read."""
        if reading.why_none is not None:
            return self._undefined(reading, reading.why_none)
        paired = reading.words
        if paired.why_undefined is not None:
            return self._undefined(reading, paired.why_undefined)
        found = _correlations(reading, paired.standardised.moments)
        value = found.pop("r")
        draws = correlation_draws(paired, reading.strata, self.seed, self.n_boot)
        interval = percentile_interval(draws, self.level)
        chance = compare(value, dealt_correlations(paired, self.seed, self.n_perm))
        bounds = correlation_bounds(paired, [excerpt.activations for excerpt in reading.missing])
        details = {
            "share_above_threshold": share_at_least(draws, self.threshold),
            "chance_p95": chance.p95,
            "r2": value * value,
            "abs_dev": absolute_deviation_explained(paired),
            "n_words": float(len(paired.true)),
            "n_sampled": float(reading.groups.count("sampled")),
            "if_missing_wrong": bounds.wrong,
            "if_missing_right": bounds.right,
            "missing_mass": reading.missing_mass,
            **{name: optional(r) for name, r in found.items()},
            **sense_details(reading),
        }
        return Score(
            scorer=self.name,
            split=self.split,
            value=value,
            low=interval.low,
            high=interval.high,
            chance=chance.mean,
            p_value=chance.p_value,
            n_asked=reading.n_asked,
            n_read=reading.n_read,
            details=details,
        )

    def _undefined(self, reading: Reading, why: str) -> Score:
        failed = why.startswith(CONSTANT_SIMULATION)
        return Score(
            scorer=self.name,
            split=self.split,
            value=None,
            low=None,
            high=None,
            chance=None,
            p_value=1.0 if failed else None,
            n_asked=reading.n_asked,
            n_read=reading.n_read,
            why_none=why,
            details={"share_above_threshold": 0.0} if failed else {},
        )


_DECILES = tuple(f"decile {number}" for number in range(10, 0, -1))


def _correlations(reading: Reading, rows: Array) -> dict[str, float]:
    """Correlations over all excerpts, over the corpus, and over part of the excerpts, from the same sums.

    Args:
        reading: what was read.
        rows: (n_excerpts, 6) moments of its excerpts.

    Returns:
        "r", and the others by the names they have among a score's details; NaN where undefined.
    """
    parts = _parts(reading.design)
    sums = np.concatenate([rows, np.zeros((1, 6))]).take(parts.places, axis=0).sum(0)
    sums[parts.first_decile :] += sums[_WEIGHTED]
    sums[_WEIGHTED] = reading.weights @ rows
    return dict(zip(parts.names, correlation(sums).tolist(), strict=True))


_WEIGHTED = 1
"""Where the corpus stands among parts; at first the quiet excerpts do, which deciles need."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """Which excerpts each correlation is over."""

    names: tuple[str, ...]
    places: NDArray[np.intp]
    """(most excerpts of a part, n_parts) in order; the place after all excerpts fills shorter parts up."""
    first_decile: int
    """Parts from here on lack the quiet excerpts: adding these up once for all of them is quicker."""


@lru_cache(maxsize=64)
def _parts(design: Design) -> _Parts:
    """The parts of a design."""
    groups, strata = design

    def of(*kinds: Group) -> list[int]:
        return [place for place, group in enumerate(groups) if group in kinds]

    parts = {"r": of(*GROUPS), "r_weighted": of(*QUIET)}
    for name, (kind, others) in PARTS.items():
        # Without its own kind a part would be something else under its name.
        parts[name] = of(kind, *others) if kind in groups else []
    first_decile = len(parts)
    for stratum in _DECILES:
        if stratum in strata:
            own = [place for place in of(*ACTIVATING) if strata[place] == stratum]
            parts[f"r_{stratum.replace(' ', '_')}"] = own
    places = np.array(list(zip_longest(*parts.values(), fillvalue=len(groups))), dtype=np.intp)
    return _Parts(tuple(parts), places, first_decile)
