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

from typing import Any

from langgraph.graph import END, START, StateGraph

from exegete.agent.nodes import Nodes
from exegete.agent.state import CaseState

RECURSION_LIMIT = 100
"""Steps a case may take; 20 revisions with tests need 65."""


def build_graph(nodes: Nodes) -> Any:
    """Compile the graph over a job's nodes.

    Returns:
        A compiled LangGraph graph: `await graph.ainvoke({"feature": …}, {"recursion_limit": …})`.
    """
    graph = StateGraph(CaseState)
    graph.add_node("recall", nodes.recall)
    graph.add_node("propose", nodes.propose)
    graph.add_node("trial", nodes.trial)
    graph.add_node("falsify", nodes.falsify)
    graph.add_node("revise", nodes.revise)
    graph.add_node("report", nodes.report)
    graph.add_node("output", nodes.output)
    graph.add_edge(START, "recall")
    graph.add_conditional_edges("recall", nodes.next, {"propose": "propose", "dead": END, "unscorable": END})
    graph.add_edge("propose", "trial")
    graph.add_conditional_edges("trial", nodes.next, {a: a for a in ("falsify", "revise", "report")})
    graph.add_edge("falsify", "revise")
    graph.add_conditional_edges("revise", nodes.next, {a: a for a in ("trial", "report")})
    graph.add_conditional_edges("report", nodes.after_report, {"output": "output", "end": END})
    graph.add_edge("output", END)
    return graph.compile()
