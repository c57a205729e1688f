"""The loop, as a LangGraph graph: one run a feature.

    recall ──> propose ──> trial ──> report ──> END
       │          │          │  ^
       │          │          v  │
       │          │         revise
       └──────────┴──> END (dead, unscorable; nothing proposed is a failure)

There is no checkpointer: nodes are pure functions of the evidence, the seed and the journal, so a killed job
is resumed by running it again, and the journal answers every call that was already paid for.
"""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph

from exegete.agent.nodes import Nodes
from exegete.agent.state import CaseState

RECURSION_LIMIT = 100
"""Steps a case may take; 20 revisions need 43."""


def build_graph(nodes: Nodes) -> Any:
    """Compile the graph over a job's nodes.

    Returns:
        A compiled LangGraph graph: `await graph.ainvoke({"feature": …}, {"recursion_limit": …})`.
    """
    graph = StateGraph(CaseState)
    graph.add_node("recall", nodes.recall)
    graph.add_node("propose", nodes.propose)
    graph.add_node("trial", nodes.trial)
    graph.add_node("revise", nodes.revise)
    graph.add_node("report", nodes.report)
    graph.add_edge(START, "recall")
    graph.add_conditional_edges("recall", nodes.after_recall, {"propose": "propose", "end": END})
    graph.add_edge("propose", "trial")
    graph.add_conditional_edges("trial", nodes.after_trial, {"revise": "revise", "report": "report"})
    graph.add_conditional_edges("revise", nodes.after_revise, {"trial": "trial", "report": "report"})
    graph.add_edge("report", END)
    return graph.compile()
