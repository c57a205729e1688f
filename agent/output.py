"""The output side of features: what they write, a label of that, and whether acting on them does what it
says.

A feature, in turn:

1. Tokens it writes, by the logit lens and by the token change on neutral texts of the explain split, where it
   is clamped to its largest activation there.
2. An output label, written from these alone: neither the texts at which it fires nor the report split are
   seen.
3. Ablation on its own contexts of the report split, against random directions that are taken for features,
   and other features' directions.
4. Steering: neutral texts of the report split are continued at matched movement, and a judge picks the
   feature's continuations by the label. The controls are the same for all features of a harvest, and made
   once.

What runs the subject does so in the laboratory's one thread, in turn with all else that does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from exegete.agent.output_ablation import AblationTable
from exegete.agent.output_steering import SteeringTable, steering_texts
from exegete.agent.output_texts import neutral_texts, own_contexts, pool_contexts
from exegete.agent.rows import Tables, label_row, score_row
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId, Label, Score
from exegete.errors import NoReadableReply
from exegete.explainers.output import OutputExplainer, output_explainer
from exegete.llm.llm import LLM
from exegete.scorers.ablation import ablation_score
from exegete.scorers.steering import (
    Judge,
    deal,
    judge_of,
    steering_score,
    unsteered,
)
from exegete.subjects.causal import CausalSubject, Ids
from exegete.subjects.control_directions import in_stream
from exegete.subjects.edits import Feature
from exegete.subjects.effects import token_change
from exegete.subjects.output_tokens import OutputTokens, ends, lens_tokens

T = TypeVar("T")

CHANGE_TEXTS, CHANGE_TOKENS = 8, 32
"""Neutral texts that the token change is measured on, and tokens of each."""
Asked = tuple[LLM | None, str | None]
"""A model and its name as on the command line, or (None, None)."""


class Workbench(Protocol):
    """What is needed of a laboratory (`exegete.subjects.laboratory.Laboratory`)."""

    @property
    def name(self) -> str:
        """The subject's, with a digest of its weights."""

    def feature(self, feature: FeatureId) -> Feature:
        """A feature as it can be edited."""

    def causal(self) -> CausalSubject:
        """The subject with its head; SubjectError for encoders."""

    async def in_turn(self, work: Callable[[], T]) -> T:
        """Do something with the subject when nobody else does."""


@dataclass(frozen=True, slots=True)
class OutputFindings:
    """What was found of one feature's output side. Nothing here needs torch."""

    tokens: tuple[OutputTokens, ...]
    """By the logit lens, the token change, and ablation where it was measured."""
    ablation: Score
    label: Label | None
    """Its output label; None when the model gave none that could be read."""
    steering: Score | None
    """None without a label."""

    @property
    def interventions(self) -> tuple[Score, ...]:
        """Its scores: what a verdict on the feature's input label can be held against."""
        return tuple(score for score in (self.ablation, self.steering) if score is not None)


@dataclass(slots=True)
class OutputStudy:
    """Studies the output side of one harvest's features. Use `open`."""

    _bench: Workbench
    _subject: CausalSubject
    _file: EvidenceFile
    _explainer: OutputExplainer
    _judge: Judge
    _seed: int
    _change_texts: Sequence[Ids]
    _steering_of: SteeringTable
    _ablation_of: AblationTable

    @classmethod
    def open(
        cls, bench: Workbench, file: EvidenceFile, *, explainer: Asked, judge: Asked, seed: int
    ) -> OutputStudy:
        """Load the head, draw the neutral texts, and see that the features have an output side.

        Args:
            bench: the laboratory of the harvest.
            file: the harvest.
            explainer: the model that writes output labels; without one, they list tokens.
            judge: the model that picks continuations; without one, listed tokens are counted.
            seed: draws texts, controls and places.

        Raises:
            SubjectError: the subject is an encoder; the dictionary has no decoder; what it writes is not
                added to the residual stream; the harvest has no quiet contexts.
        """
        subject = bench.causal()
        probe = bench.feature(file.features[0])
        in_stream(subject, probe, probe.direction()[None])
        return cls(
            bench,
            subject,
            file,
            output_explainer(*explainer),
            judge_of(*judge, seed),
            seed,
            neutral_texts(file, "explain", n=CHANGE_TEXTS, length=CHANGE_TOKENS, seed=seed),
            SteeringTable(subject, steering_texts(file, seed), seed),
            AblationTable(subject, pool_contexts(file), seed),
        )

    @property
    def names(self) -> dict[str, str]:
        """Who writes output labels and who judges them, with versions: part of what decides results."""
        return {"output_explainer": self._explainer.name, "steering_judge": self._judge.name}

    async def study(self, feature: FeatureId) -> OutputFindings:
        """Find out what one feature does.

        Raises:
            LLMUnavailable, LLMStop: a model could not be reached.
        """
        edited = self._bench.feature(feature)
        tokens = await self._bench.in_turn(lambda: self._tokens(feature, edited))
        try:
            label = await self._explainer.explain(feature, tokens)
        except NoReadableReply:
            label = None
        # Read here, and not in the subject's thread, as others read it too.
        own, density = own_contexts(self._file, feature), self._file.summary(feature).density
        measured, score = await self._bench.in_turn(lambda: self._ablation(edited, own, density))
        steering = None if label is None else await self._steering(label, edited)
        return OutputFindings((*tokens, *measured), score, label, steering)

    def _tokens(self, feature: FeatureId, edited: Feature) -> tuple[OutputTokens, ...]:
        maximum = self._file.summary(feature).maximum_explain
        change_V = token_change(self._subject, edited, self._change_texts, maximum)
        details = {"clamped_to": maximum, "texts": len(self._change_texts), "tokens_a_text": CHANGE_TOKENS}
        return (
            lens_tokens(self._subject, [edited])[0],
            ends(self._subject, "token change", change_V, details=details),
        )

    def _ablation(
        self, edited: Feature, own: Sequence[Ids], density: float
    ) -> tuple[tuple[OutputTokens, ...], Score]:
        ablated = self._ablation_of.compare(edited, own, density)
        found = ablated.found
        score = ablation_score(found, ablated.others, ablated.null, len(own), self._seed)
        if found.logits is None:
            return (), score
        details = {"tokens": found.n_fired, "contexts": len(found.fired_in)}
        return (ends(self._subject, "ablation", -found.logits, details=details),), score

    async def _steering(self, label: Label, edited: Feature) -> Score:
        steered = await self._bench.in_turn(lambda: self._steering_of.compare(edited))
        if isinstance(steered, str):
            return unsteered(steered, self._judge)
        rounds = deal(label, steered.own, steered.controls, self._seed)
        return await steering_score(label, rounds, self._judge, **steered.details)


def output_rows(
    run: str, harvest: str, feature: FeatureId, found: OutputFindings, made_at: datetime
) -> Tables:
    """Rows of `outputs`, `labels` and `scores`.

    Ablation is of the feature and not of a label, and stands with the output label, where there is one.
    """
    outputs = [
        {
            "harvest": harvest,
            "feature_index": feature.index,
            "polarity": feature.polarity,
            "kind": each.kind,
            "top_tokens": list(each.top_tokens),
            "top_values": list(each.top_values),
            "bottom_tokens": list(each.bottom_tokens),
            "bottom_values": list(each.bottom_values),
            "subject": feature.subject,
            "details": dict(each.details),
            "made_at": made_at,
        }
        for each in found.tokens
    ]
    if found.label is None:
        return {"outputs": outputs}
    return {
        "outputs": outputs,
        "labels": [label_row(run, harvest, found.label, made_at)],
        "scores": [score_row(run, harvest, found.label, score, made_at) for score in found.interventions],
    }
