"""The work that a job consists of: a feature through the graph, or a null scored.

`Cases` does it in this process; `Crew` (crew.py) has it done by processes beside this one. A job does not
know which of them it has.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from exegete.agent.graph import build_graph, run_case
from exegete.agent.mixed import Sides
from exegete.agent.nulls import Null, NullCase, NullScorer
from exegete.agent.state import CaseState
from exegete.agent.tags import at_work_on
from exegete.datastore.records import FeatureId

AHEAD = 128
"""Features whose evidence is read at once."""


class Work(Protocol):
    """Whoever does a job's work."""

    @property
    def ahead(self) -> int:
        """Features that are best announced together."""

    def prefetch(self, features: Sequence[FeatureId]) -> None:
        """Announce features that will be worked on next, in this order."""

    async def case(self, feature: FeatureId) -> CaseState:
        """Run a feature through the graph.

        Raises:
            ExegeteError: as its steps do.
            WorkerLost: processes that were to do it keep ending.
        """

    async def null(self, null: Null) -> NullCase:
        """Score a null.

        Raises:
            LLMError: no model could be reached.
            WorkerLost: processes that were to do it keep ending.
        """


class Cases:
    """Does a job's work in this process."""

    ahead = AHEAD

    def __init__(self, sides: Sides) -> None:
        """Prepare the graphs of a job's parts."""
        # Cases make many objects and few cycles: looking for them as often as usual is a sixth of the work.
        gc.set_threshold(50_000, 20, 100)
        self._sides = sides
        self._graphs = {parts.evidence.name: build_graph(parts.nodes()) for parts in sides.all}

    def prefetch(self, features: Sequence[FeatureId]) -> None:
        """Read the evidence of features that will be worked on next."""
        self._sides.prefetch(features)

    async def case(self, feature: FeatureId) -> CaseState:
        """Run a feature through the graph; see `Work.case`."""
        at_work_on(feature)
        return await run_case(self._graphs[self._sides.of(feature).evidence.name], feature)

    async def null(self, null: Null) -> NullCase:
        """Score a null; see `Work.null`."""
        at_work_on(null.feature)
        return await self._nulls.score(null)

    @cached_property
    def _nulls(self) -> NullScorer:
        return NullScorer(self._sides.real)
