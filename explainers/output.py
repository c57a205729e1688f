"""Explain what a feature does: an output label, from the tokens that it writes [Gur-Arieh et al. 2025,
"Enhancing automated interpretability with output-centric feature descriptions", section 3; prompt our own].

1. The tokens are those of the logit lens and of the token change, ten at either end of each. The texts at
   which the feature fires are not shown: what it responds to has a label of its own, and the two are never
   merged.
2. A language model is asked once for one label; without one, the tokens themselves are listed. Tokens that
   both ways name come first, then those of the token change, which counts what later layers make of the
   feature.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from exegete.datastore.records import FeatureId, Label
from exegete.errors import NoReadableReply
from exegete.explainers.hygiene import MAX_LENGTH, clean, why_refused
from exegete.llm.llm import LLM, Message, Request
from exegete.llm.structured import ask
from exegete.prompts import digest, render
from exegete.simulators.output_words import shown, write_label
from exegete.subjects.output_tokens import OutputTokens

METHOD = "output"
LISTED = 6
"""Tokens that a label without a model lists as raised; half as many as lowered."""


class Proposal(BaseModel):
    """The reply of a model that was asked for an output label."""

    model_config = ConfigDict(extra="forbid")

    label: str
    """What the feature promotes and suppresses, in one sentence."""


class OutputExplainer(Protocol):
    """Writes output labels."""

    @property
    def name(self) -> str:
        """Method, with its model and prompt digest if it has them: the author of its labels."""

    async def explain(self, feature: FeatureId, tokens: Sequence[OutputTokens]) -> Label:
        """Write one label.

        Args:
            feature: whose.
            tokens: what it writes, by the logit lens and by the token change.

        Raises:
            NoReadableReply: the model answered and no label could be read.
            LLMUnavailable, LLMStop: the model could not be reached.
        """


class ListedOutput:
    """Lists the tokens that a feature raises and lowers most. Asks nobody."""

    name = "output-lexical@1"

    async def explain(self, feature: FeatureId, tokens: Sequence[OutputTokens]) -> Label:
        """A label such as `raises "the", "a"; lowers "0"`, no longer than a label may be."""
        raised = _first([each.top_tokens for each in _ranked(tokens)])[:LISTED]
        lowered = _first([each.bottom_tokens for each in _ranked(tokens)])[: LISTED // 2]
        while len(text := write_label(raised, lowered)) > MAX_LENGTH and (lowered or raised):
            (lowered or raised).pop()
        return Label(feature, text, self.name, side="output")


@dataclass(frozen=True, slots=True)
class AskedOutput:
    """Asks a language model what the tokens have in common."""

    llm: LLM
    model_name: str
    """Its name as on the command line."""

    @property
    def name(self) -> str:
        """output/model@prompt digest."""
        return f"{METHOD}/{self.model_name}@{digest(METHOD)}"

    async def explain(self, feature: FeatureId, tokens: Sequence[OutputTokens]) -> Label:
        """Ask once; see `OutputExplainer.explain`."""
        answer = await ask(self.llm, self.request(feature, tokens), Proposal)
        if answer.value is None:
            raise NoReadableReply(
                f"{self.name} gave no readable label for feature {feature}: {answer.why_missing}"
            )
        text = clean(answer.value.label)
        if (why := why_refused(text)) is not None:
            raise NoReadableReply(f"{self.name} proposed no usable label for feature {feature}: {why}")
        return Label(feature, text, self.name, side="output")

    def request(self, feature: FeatureId, tokens: Sequence[OutputTokens]) -> Request:
        """The call."""
        by_kind = {each.kind: each for each in tokens}
        lens, change = by_kind["logit lens"], by_kind["token change"]
        prompt = render(
            METHOD,
            lens_raised=_lines(lens.top_tokens),
            lens_lowered=_lines(lens.bottom_tokens),
            change_raised=_lines(change.top_tokens),
            change_lowered=_lines(change.bottom_tokens),
        )
        return Request(
            model=self.model_name,
            system=prompt.system,
            messages=(Message("user", prompt.user),),
            schema=_SCHEMA,
            prompt_version=prompt.version,
            tags={"purpose": METHOD, "feature": str(feature)},
        )


_SCHEMA = Proposal.model_json_schema()


def output_explainer(llm: LLM | None, model_name: str | None) -> OutputExplainer:
    """The one that asks a model where there is one, else the one that lists."""
    return ListedOutput() if llm is None or model_name is None else AskedOutput(llm, model_name)


def _lines(tokens: Sequence[str]) -> str:
    """One token a line, in quotes."""
    return "\n".join(json.dumps(token, ensure_ascii=False) for token in tokens)


def _ranked(tokens: Sequence[OutputTokens]) -> list[OutputTokens]:
    """The token change first."""
    return sorted(tokens, key=lambda each: each.kind != "token change")


def _first(lists: Sequence[Sequence[str]]) -> list[str]:
    """Tokens that all lists have, then the others of the first list; differences of spacing don't count."""
    shown_lists = [list(dict.fromkeys(shown(token) for token in tokens)) for tokens in lists]
    if not shown_lists:
        return []
    first, *rest = shown_lists
    return sorted(first, key=lambda token: not all(token in other for other in rest))
