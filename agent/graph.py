"""The loop, as a LangGraph graph: one run a feature.

    recall ──> propose ──> trial ──────────> report ──> END
       │          │        │ │  ^               │ ^
       │          │        │ v  │               │ └── revise (nothing new)
       │          │  falsify │  │               v
       │          │        v v  │            output ──> END
       │          │       revise┘
       └──────────┴──> END (dead, unscorable; nothing proposed is a failure)

Which way a case goes is decided in strategy.py, by numbers, and kept with the case. `falsify` and `output`
need the subject, and are left out where a job does not ask for them.

There is no checkpointer: nodes are pure functions of the evidence, the seed, the journal and what the subject
measures, so a killed job is resumed by running it again, and the journal answers every call that was already
paid for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from exegete.agent.nodes import Nodes
from exegete.agent.state import CaseState
from exegete.datastore.records import FeatureId

RECURSION_LIMIT = 100
"""Steps a case may take; 20 revisions with tests need 65."""
OUT = ("dead", "unscorable")
"""What `recall` decides of a feature that can't be labelled: its case ends there."""


def build_graph(nodes: Nodes) -> Any:
    """Compile the graph over a job's nodes.

    Args:
        nodes: the steps; what they have no tests and no effects for is left out.

    Returns:
        A compiled LangGraph graph, for `run_case`.
    """
    # It takes most of a second to import, and a job that others work for runs no graph itself.
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(CaseState)
    tests, after = nodes.testing is not None, "output" if nodes.effects is not None else END
    tried = ("falsify", "revise", "report") if tests else ("revise", "report")
    graph.add_edge(START, "recall")
    graph.add_node("recall", _decided(nodes.recall), destinations=("propose", END))
    graph.add_node("propose", nodes.propose)
    graph.add_edge("propose", "trial")
    graph.add_node("trial", _decided(nodes.trial), destinations=tried)
    graph.add_node("revise", _decided(nodes.revise), destinations=("trial", "report"))
    graph.add_node("report", nodes.report)
    graph.add_edge("report", after)
    if tests:
        graph.add_node("falsify", nodes.falsify)
        graph.add_edge("falsify", "revise")
    if nodes.effects is not None:
        graph.add_node("output", nodes.output)
        graph.add_edge("output", END)
    return graph.compile()


async def run_case(graph: Any, feature: FeatureId) -> CaseState:
    """Run a feature through a compiled graph to its end.

    Returns:
        Everything its case came to know.

    Raises:
        ExegeteError: as the nodes do.
    """
    state: CaseState = {}
    limit = {"recursion_limit": RECURSION_LIMIT}
    # Its `ainvoke` has every step's changes put together as well, to look for interrupts.
    async for known in graph.astream({"feature": feature}, limit, stream_mode="values"):
        state = known
    return state


def _decided(step: Callable[[CaseState], Awaitable[CaseState]]) -> Any:
    """A step that says where the case goes next: a function beside it would have to read the state again."""
    from langgraph.graph import END
    from langgraph.types import Command

    async def taken(state: CaseState) -> Any:
        learnt = await step(state)
        action = learnt["decisions"][-1].decision.action
        return Command(update=learnt, goto=END if action in OUT else action)

    return taken
