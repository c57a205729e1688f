"""Explain from words and numbers: every word with its level [Bills et al. 2023, "Language models can explain
neurons in language models", step 1; prompts our own].

1. Every word of an excerpt is listed with its level, round(10 · relu(a) / feature maximum).
2. Where less than a fifth of an excerpt's words have a level, those that do are listed again.
3. One call asks for k labels that differ in what they predict.
4. A revision shows the same excerpts (so that the provider's cache serves them), then the labels that were
   tried with their refine scores and worst errors, and asks for better ones.

The evidence is 10 strongest excerpts and 3 of each decile: about 40 with weak firings are better than 10 or
20 strong ones, and 60 are no better [Paulo et al. 2024].
"""

from __future__ import annotations

from collections.abc import Sequence

from exegete.datastore.records import Evidence, Label, Plan
from exegete.explainers.explainer import Attempt
from exegete.explainers.proposing import Proposer
from exegete.explainers.shown import as_pairs
from exegete.llm.llm import LLM

METHOD = "token-activation"
PLAN = Plan(top=10, per_decile=3, quiet=0, hard=0, window=32, unit="word")


class TokenActivation:
    """Asks a language model for labels, given every word of the excerpts with its level.

    >>> labels = await TokenActivation(llm, "openai:NAME").explain(evidence, k=3)
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
        """token-activation/model@prompt digest."""
        return self._proposer.author

    @property
    def plan(self) -> Plan:
        """40 excerpts of 32 tokens where the feature fires; no quiet ones: the silent words are contrast."""
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
    """Every word with its level, strongest excerpts first."""
    return as_pairs(evidence.activating, evidence.maximum, evidence.unit)
