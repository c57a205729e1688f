"""Simulate a label as a whole: sense by sense where it has several, by its text where it has none.

A feature with several senses fires where any of them holds, so the level of a word is the largest that a
sense gives it. Each sense is put to the simulator as a label of its own, so a label with n senses costs n
times the calls of a label without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from exegete.datastore.records import Context, Floats, Label
from exegete.errors import LLMStop
from exegete.simulators.simulator import Simulation, Simulator


async def simulate_label(simulator: Simulator, label: Label, contexts: Sequence[Context]) -> Simulation:
    """Predict a level for every word of every context from all that a label says.

    Args:
        simulator: predicts levels from a text.
        label: with or without senses.
        contexts: passages; every sense is asked about them in this order.

    Returns:
        A simulation aligned with `contexts`.

    Raises:
        As `simulate_senses` and `combined`.
    """
    return combined(await simulate_senses(simulator, label, contexts))


async def simulate_senses(
    simulator: Simulator, label: Label, contexts: Sequence[Context]
) -> tuple[Simulation, ...]:
    """Simulate each sense of a label by itself, or its text where it has no senses.

    Returns:
        One simulation a sense, in their order; one for a label without senses.

    Raises:
        LLMError: no model could be reached. Calls for other senses that are under way are let finish first,
            so that no paid reply is lost.
    """
    if not label.senses:
        return (await simulator.simulate(label.text, contexts),)
    done = await asyncio.gather(
        *(simulator.simulate(sense, contexts) for sense in label.senses), return_exceptions=True
    )
    failures = [result for result in done if isinstance(result, BaseException)]
    if failures:
        raise next((failure for failure in failures if isinstance(failure, LLMStop)), failures[0])
    return tuple(result for result in done if not isinstance(result, BaseException))


def combined(simulations: Sequence[Simulation]) -> Simulation:
    """What senses predict together: word by word the largest level.

    Args:
        simulations: one a sense, at least one, of the same contexts.

    Returns:
        A context that is missing for one sense is missing, for what that sense would have said may be the
        largest. The missing mass of a context is its largest.

    Raises:
        ValueError: they are of different numbers of contexts, or of words of one.
    """
    if len(simulations) == 1:
        return simulations[0]
    levels = [_largest(one) for one in zip(*(s.levels for s in simulations), strict=True)]
    reasons = [_why(one) for one in zip(*(s.why_missing for s in simulations), strict=True)]
    masses: list[float | None] = []
    if all(s.missing_mass for s in simulations):
        for several in zip(*(s.missing_mass for s in simulations), strict=True):
            known = [mass for mass in several if mass is not None]
            masses.append(max(known) if len(known) == len(several) else None)
    return Simulation(tuple(levels), tuple(reasons), tuple(masses))


def _largest(levels: Sequence[Floats | None]) -> Floats | None:
    """Word by word the largest of what senses predict for one context; None where one is missing."""
    given = [one for one in levels if one is not None]
    if len(given) < len(levels):
        return None
    return np.asarray(np.stack(given).max(0), dtype=np.float32)


def _why(reasons: Sequence[str | None]) -> str | None:
    """Why a context is missing: the first reason there is, with the sense it was missing for."""
    return next((f"sense {n}: {why}" for n, why in enumerate(reasons, start=1) if why is not None), None)
