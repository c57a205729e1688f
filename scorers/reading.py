"""What a label's simulation can be scored on: the excerpts that could be read, and whether they are enough.

All scorers of a simulation ask for it in the same order, so that it is made once for them
(`exegete.scorers.together`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np

from exegete.datastore.hashing import digest64
from exegete.datastore.records import Context, Evidence, Excerpt, Floats, Label
from exegete.scorers.statistics import Array, Paired, pair
from exegete.simulators.senses import combined, simulate_senses
from exegete.simulators.simulator import Simulation, Simulator

MIN_SHARE_READ = 0.8
"""With a smaller share read, a score could say more about what was unreadable than about the label."""

MIN_A_SIDE = 5
"""Activating excerpts, and quiet ones, that a score needs."""

PREDICTED = 0.5
"""A word at this level or above is predicted to fire: half a level, since levels may be expected values."""

Group = Literal["top", "sampled", "quiet", "hard quiet"]
ACTIVATING: tuple[Group, Group] = ("top", "sampled")
QUIET: tuple[Group, Group] = ("quiet", "hard quiet")
"""Kinds of excerpt of either side; "sampled" are all deciles together, too few each to be resampled apart."""
GROUPS: tuple[Group, ...] = (*ACTIVATING, *QUIET)
_PLACE = {group: place for place, group in enumerate(GROUPS)}


class Design(NamedTuple):
    """Of which kinds some excerpts are: most features of a job share what is worked out from it alone."""

    groups: tuple[Group, ...]
    strata: tuple[str, ...]
    """As `Excerpt.stratum`, which divides the sampled ones further."""


@dataclass(frozen=True)
class Reading:
    """The readable part of a simulation: excerpts, kind after kind, with their simulated levels.

    What several scorers make of it is made once.
    """

    excerpts: tuple[Excerpt, ...]
    levels: tuple[Floats, ...]
    """For every excerpt, (n_tokens,) levels, 0 to 10."""
    groups: tuple[Group, ...]
    """For every excerpt its kind, in the order of `GROUPS`."""
    n_asked: int
    why_none: str | None
    """Why this is too little to be scored, or None when it is enough."""
    missing: tuple[Excerpt, ...] = ()
    """The excerpts whose simulation could not be read."""
    missing_groups: tuple[Group, ...] = ()
    """For every one of them its kind."""
    by_sense: tuple[tuple[Floats, ...], ...] = ()
    """For every sense of a label that has some, levels of its own like `levels`, which are their largest."""
    missing_mass: float | None = None
    """Mean share of probability given to anything but a level; None where no probabilities are read."""

    @property
    def n_read(self) -> int:
        """Excerpts whose simulation could be read."""
        return len(self.excerpts)

    @cached_property
    def words(self) -> Paired:
        """The excerpts' simulated and true values, word by word.

        Raises:
            ValueError: as `pair`.
        """
        return pair(self.levels, [excerpt.activations for excerpt in self.excerpts])

    @cached_property
    def weights(self) -> Array:
        """(n_excerpts,) what each counts over the corpus, as `Excerpt.weight`."""
        return np.array([excerpt.weight for excerpt in self.excerpts])

    @cached_property
    def design(self) -> Design:
        """Of which kinds the excerpts are."""
        return Design(self.groups, tuple([excerpt.stratum for excerpt in self.excerpts]))

    @property
    def strata(self) -> tuple[int, ...]:
        """Sizes of the strata to resample in; the rows of a stratum follow each other.

        Strata are the kinds; a kind with one excerpt joins the other of its side, since it could not vary.
        """
        return _sizes(self.groups)


async def read(simulator: Simulator, label: Label, evidence: Evidence, seed: int) -> Reading:
    """Simulate a label on some evidence and keep what could be read.

    Contexts are handed over in an order that depends on the feature and the seed only, so that their order
    gives nothing away about where the feature fires. Evidence that is too thin to start with is not
    simulated at all.

    Args:
        simulator: predicts levels from the label's text, or from each of its senses.
        label: the label.
        evidence: excerpts of one split.
        seed: chooses the order.

    Raises:
        LLMError: no model could be reached.
        ValueError: the simulator's answer is not one finite level a word, or None, for every context.
    """
    thin = _too_few(len(evidence.activating), len(evidence.quiet), "found")
    if thin is not None:
        return Reading((), (), (), 0, thin)
    excerpts = evidence.excerpts
    order = _order(evidence, seed)
    contexts = [excerpts[i].context for i in order]
    simulations = await simulate_senses(simulator, label, contexts)
    for each in simulations:
        _check(each, contexts, simulator.name)
    simulation = combined(simulations)
    levels: list[Floats | None] = [None] * len(excerpts)
    for place, i in enumerate(order):
        levels[i] = simulation.levels[place]
    reading = _keep_read(evidence, levels, [why for why in simulation.why_missing if why is not None])
    masses = [mass for mass in simulation.missing_mass if mass is not None]
    if masses:
        reading = replace(reading, missing_mass=float(np.mean(masses)))
    if not label.senses:
        return reading
    places = {id(excerpts[i]): place for place, i in enumerate(order)}
    asked = [places[id(excerpt)] for excerpt in reading.excerpts]
    own = [[one for i in asked if (one := each.levels[i]) is not None] for each in simulations]
    return replace(reading, by_sense=tuple(map(tuple, own)))


@lru_cache(maxsize=64)
def _sizes(groups: tuple[Group, ...]) -> tuple[int, ...]:
    """Sizes of the strata of a reading with these kinds of excerpts."""
    counts = Counter(groups)
    sizes: list[int] = []
    for side in (ACTIVATING, QUIET):
        members = [counts[group] for group in side if counts[group]]
        sizes += [sum(members)] if 1 in members else members
    return tuple(sizes)


def group_of(stratum: str, activating: bool) -> Group:
    """The kind of an excerpt of this stratum."""
    if activating:
        return "top" if stratum == "top" else "sampled"
    return "hard quiet" if stratum == "hard quiet" else "quiet"


def _keep_read(evidence: Evidence, levels: Sequence[Floats | None], reasons: Sequence[str]) -> Reading:
    """Drop missing excerpts, put the others in the order of their kinds, and judge if they are enough."""
    excerpts, first_quiet = evidence.excerpts, len(evidence.activating)
    groups = [group_of(excerpt.stratum, i < first_quiet) for i, excerpt in enumerate(excerpts)]
    by_kind = sorted(range(len(excerpts)), key=[_PLACE[group] for group in groups].__getitem__)
    kept = [i for i in by_kind if levels[i] is not None]
    missing = [i for i, simulated in enumerate(levels) if simulated is None]
    if len(kept) < MIN_SHARE_READ * len(levels):
        why: str | None = (
            f"{len(kept)} of {len(levels)} excerpts could be read ({len(kept) / len(levels):.0%}), and "
            f"{MIN_SHARE_READ:.0%} are needed{_commonest(reasons)}"
        )
    else:
        n_activating = sum(i < first_quiet for i in kept)
        why = _too_few(n_activating, len(kept) - n_activating, "read")
    return Reading(
        tuple(excerpts[i] for i in kept),
        tuple(simulated for i in kept if (simulated := levels[i]) is not None),
        tuple(groups[i] for i in kept),
        len(levels),
        why,
        tuple(excerpts[i] for i in missing),
        tuple(groups[i] for i in missing),
    )


def _commonest(reasons: Sequence[str]) -> str:
    """The commonest reason for a missing excerpt, to append to a sentence."""
    if not reasons:
        return ""
    reason, count = Counter(reasons).most_common(1)[0]
    return f"; of those missing, {count}: {reason}"


def _too_few(n_activating: int, n_quiet: int, verb: str) -> str | None:
    """Why this many excerpts are too few, or None."""
    if min(n_activating, n_quiet) >= MIN_A_SIDE:
        return None
    found = f"{n_activating} activating and {n_quiet} quiet excerpts were {verb}"
    return f"{found}, and {MIN_A_SIDE} of each are needed"


def _order(evidence: Evidence, seed: int) -> list[int]:
    """Order to ask about the excerpts in: the same for every label and every scorer of a feature."""
    feature = evidence.feature
    digest = digest64(
        feature.subject, feature.site, feature.dictionary, feature.index, feature.polarity, evidence.split
    )
    order = np.random.default_rng([seed, digest]).permutation(len(evidence.excerpts))
    return list(order.tolist())


def _check(simulation: Simulation, contexts: Sequence[Context], name: str) -> None:
    """Raise ValueError unless every context has None or one finite level a word."""
    if len(simulation.levels) != len(contexts):
        raise ValueError(
            f"simulator {name} answered for {len(simulation.levels)} contexts of {len(contexts)}: "
            "it must give one entry a context, None where it has no answer"
        )
    for levels, context in zip(simulation.levels, contexts, strict=True):
        if levels is not None and levels.shape != (len(context.tokens),):
            raise ValueError(
                f"simulator {name} gave levels of shape {levels.shape} for a context of "
                f"{len(context.tokens)} words: it must give one level a word"
            )
    given = [levels for levels in simulation.levels if levels is not None]
    if given and not np.isfinite(np.concatenate(given)).all():
        raise ValueError(f"simulator {name} gave a level that is no number: it must give None instead")
