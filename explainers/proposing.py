"""What every explainer that asks a language model does: one call, k candidates, only what can be kept.

    Evidence, Attempts ─> the method's prompt ─> llm.structured.ask ─> Proposals
                       ─> cleaned; what is no label is refused; near duplicates are dropped ─> Labels

A reply that holds no candidates is an answer ("nothing to propose", an empty list). A reply that can't be
read, or of which no candidate can be kept, is not: it raises `NoReadableReply`, and the agent turns that into
the verdict `failed` with its cause. Text that is not a label never becomes one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from exegete.datastore.records import Evidence, FeatureId, Label
from exegete.errors import LeakageError, NoReadableReply
from exegete.explainers.explainer import Attempt
from exegete.explainers.hygiene import clean, distinct, reads_like_instruction, why_refused
from exegete.explainers.shown import as_attempts
from exegete.llm.llm import LLM, Message, Request
from exegete.llm.structured import ask
from exegete.prompts import digest, render

_log = logging.getLogger(__name__)


class Candidate(BaseModel):
    """One proposed label."""

    model_config = ConfigDict(extra="forbid")

    text: str
    """The label: what makes the feature fire, in one sentence."""


class Proposals(BaseModel):
    """The reply of a model that was asked for labels, best first."""

    model_config = ConfigDict(extra="forbid")

    labels: list[Candidate]
    """Candidates; none when the model has nothing (better) to say."""


_SCHEMA = Proposals.model_json_schema()


def refuse_other_splits(name: str, evidence: Evidence) -> None:
    """Raise LeakageError unless the evidence is of the explain split."""
    if evidence.split != "explain":
        raise LeakageError(
            f"explainer {name} takes evidence of the explain split and was handed the {evidence.split} split "
            f"of feature {evidence.feature}: this is a bug in what called it"
        )


def next_round(attempts: Sequence[Attempt]) -> int:
    """The round of a revision: one more than the latest attempt's; 0 when nothing was tried."""
    return max((attempt.label.round for attempt in attempts), default=-1) + 1


@dataclass(frozen=True, slots=True)
class Proposer:
    """One way of asking a model for labels: whom, with which prompt, and how excerpts are shown."""

    llm: LLM
    model: str
    """Its name as on the command line."""
    method: str
    """The explainer's name, which is that of its prompt."""
    show: Callable[[Evidence], str]
    """Prints the activating excerpts in the form that the prompt explains."""

    @property
    def author(self) -> str:
        """The author of its labels: method/model@prompt digest."""
        return f"{self.method}/{self.model}@{digest(self.method)}"

    async def propose(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        """Ask once and keep what can be kept; about a feature that never fires nothing is asked.

        Args:
            evidence: of the explain split.
            attempts: labels tried before, best first, which must not come again; any make this a revision.
            k: at most this many labels are returned.

        Returns:
            Labels that differ from each other and from all tried ones, in the model's order.

        Raises:
            LeakageError: the evidence is of another split.
            NoReadableReply: no reply could be read, or no candidate in it could be kept.
            LLMUnavailable, LLMStop: the model could not be reached.
        """
        author, feature = self.author, evidence.feature
        refuse_other_splits(author, evidence)
        if not evidence.activating:
            return []
        answer = await ask(self.llm, self.request(evidence, attempts, k), Proposals)
        if answer.value is None:
            raise NoReadableReply(
                f"{author} gave no readable label for feature {feature}: {answer.why_missing}"
            )
        tried = [attempt.label.text for attempt in attempts]
        texts = distinct(_kept(answer.value, author, feature), tried)[:k]
        for text in texts:
            if reads_like_instruction(text):
                _log.warning("a label of feature %s reads like an instruction, not a description", feature)
        return [Label(feature, text, author, next_round(attempts)) for text in texts]

    def request(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> Request:
        """The call: excerpts first, which a revision shares with its proposal, then what was tried."""
        prompt = render(
            self.method,
            excerpts=self.show(evidence),
            attempts=as_attempts(attempts, evidence.maximum) if attempts else None,
            k=k,
        )
        return Request(
            model=self.model,
            system=prompt.system,
            messages=(Message("user", prompt.user),),
            schema=_SCHEMA,
            prompt_version=prompt.version,
            tags={"purpose": "revise" if attempts else "propose", "feature": str(evidence.feature)},
        )


def _kept(proposals: Proposals, author: str, feature: FeatureId) -> list[str]:
    """Clean the candidates and drop those that are no labels.

    Raises:
        NoReadableReply: there were candidates, and none was a label.
    """
    kept: list[str] = []
    refused: list[str] = []
    for candidate in proposals.labels:
        text = clean(candidate.text)
        why = why_refused(text)
        if why is None:
            kept.append(text)
        else:
            refused.append(why)
    if refused:
        _log.info("refused of feature %s by %s: %s", feature, author, "; ".join(refused))
    if refused and not kept:
        reasons = "; ".join(refused)
        raise NoReadableReply(f"{author} proposed no usable label for feature {feature}: {reasons}")
    return kept
