"""Explain from marked text: running excerpts with <<activating>> words [Paulo et al. 2024, "Automatically
interpreting millions of features in large language models"; prompts our own].

1. In every excerpt the words above 30% of its own maximum are marked <<so>>, and their levels
   (round(10 · relu(a) / feature maximum)) follow the excerpt.
2. One call asks for k labels that differ in what they predict. No chain of thought: it gains nothing there.
3. A revision shows the same excerpts (so that the provider's cache serves them), then the labels that were
   tried with their refine scores and worst errors, and asks for better ones.

It reads better than a list of numbers, and its excerpts take about 0.6 of the characters.
"""

from __future__ import annotations

from collections.abc import Sequence

from exegete.datastore.records import Evidence, Label, Plan
from exegete.explainers.explainer import Attempt
from exegete.explainers.proposing import Proposer
from exegete.explainers.shown import as_marked
from exegete.llm.llm import LLM

METHOD = "highlight"
PLAN = Plan(top=10, per_decile=3, quiet=0, hard=0, window=32, unit="word")


class Highlight:
    """Asks a language model for labels, given excerpts in which the activating words are marked.

    >>> labels = await Highlight(llm, "openai:NAME").explain(evidence, k=3)
    """

    def __init__(self, llm: LLM, model_name: str) -> None:
        """Remember whom to ask.

        Args:
            llm: the model.
            model_name: its name as on the command line; part of every label's author.
        """
        self._proposer = Proposer(llm, model_name, METHOD, _shown)

    @property
    def name(self) -> str:
        """highlight/model@prompt digest."""
        return self._proposer.author

    @property
    def plan(self) -> Plan:
        """40 excerpts of 32 tokens where the feature fires; contrast with quiet ones is another method."""
        return PLAN

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        """Propose up to k labels from excerpts of the explain split.

        Raises:
            LeakageError: the evidence is of another split.
            NoReadableReply: the model answered and no label could be read.
            LLMUnavailable, LLMStop: the model could not be reached.
        """
        return await self._proposer.propose(evidence, (), k)

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        """Propose up to k better labels, given how earlier ones failed on the refine split.

        Raises:
            As `explain`.
        """
        return await self._proposer.propose(evidence, attempts, k)


def _shown(evidence: Evidence) -> str:
    """Running text with marked words, strongest excerpts first."""
    return as_marked(evidence.activating, evidence.maximum)
