"""What became of the features that were planted among those of a job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exegete.agent.mixed import opened_sides
from exegete.agent.spec import JobSpec
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.report.controls_run import opened_parts
from exegete.report.judged import Judged, judge


async def judge_mixed(space: Workspace, spec: JobSpec, run: str) -> list[Judged]:
    """Hold what a run has concluded so far about its planted features against the truth.

    Raises:
        WorkspaceBusy: another job is running here.
        LLMError: a simulation is not in the journal, and no model could be reached.
    """
    async with opened_parts(space, spec, run) as parts:
        with opened_sides(parts) as sides:
            return [] if sides.planted is None else await judge(Store(space.labels), run, sides.planted)


def counts_of(judged: Sequence[Judged]) -> dict[str, Any]:
    """How many were planted, and what became of them."""
    planted = [j for j in judged if j.control.positive]
    empty = [j for j in judged if not j.control.positive]
    return {
        "planted": len(planted),
        "accepted": sum(j.accepted for j in planted),
        "recovered": sum(j.recovered for j in planted),
        "nothing_to_find": len(empty),
        "falsely_accepted": sum(j.accepted for j in empty),
    }


def counts_in_words(judged: Sequence[Judged]) -> str:
    """The same as a sentence."""
    n = counts_of(judged)
    missed = sorted({j.control.kind for j in judged if j.control.positive and not j.recovered})
    but = f" (not all of: {', '.join(missed)})" if missed else ""
    return (
        f"controls: {n['recovered']} of {n['planted']} planted features recovered{but}; "
        f"{n['falsely_accepted']} of {n['nothing_to_find']} with nothing to find accepted"
    )
