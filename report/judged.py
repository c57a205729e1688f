"""What became of each control: what a job concluded of it, and whether its label says what is true.

A label is *right* when code finds that it says the truth; nobody is asked. On the report excerpts:

1. the job's simulator predicts levels from the label, as far as it was asked, and is not paid for it again;
2. they are correlated with what was planted, without its noise: r must reach `AGREES`;
3. where the truth has an exception or a condition, r must be `BETTER` than that of the truth without it,
   which is high where the excerpts hold few exceptions;
4. a label of the lexical grammar, which is taken at its word, must name half of the words it can't be right
   without.

A control is *recovered* when its label is right and the job accepted it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exegete.agent.confidence import keep_checked
from exegete.agent.parts import Parts
from exegete.agent.tags import at_stage, at_work_on
from exegete.controls.passages import Passages
from exegete.controls.suite import Control, controls_of
from exegete.controls.truths import Rule, Truth, levels, without_condition
from exegete.datastore.evidence import ReportEvidence
from exegete.datastore.records import Evidence, FeatureId, Floats, Label
from exegete.datastore.store import Store
from exegete.scorers.reading import read
from exegete.scorers.statistics import pair, pearson
from exegete.simulators.grammar_reading import parse
from exegete.simulators.word_classes import classes_of
from exegete.simulators.word_forms import fold, stem

AGREES = 0.9
"""Correlation with the planted levels from which on a label says the truth."""
BETTER = 0.01
"""By how much a label must agree better than the truth without its condition, where it has one."""
NAMED = 0.5
"""Share of its key words that a label of the lexical grammar must name."""
SCORED = ("accepted", "review", "rejected")
"""Statuses of labels that were put to the test."""
_ROWS = """
SELECT feature_index, polarity, status, label, author, score, low, high, confidence, why
FROM store.outcomes WHERE run = ? AND harvest = ?
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """One control after a run."""

    control: Control
    status: str
    label: str | None
    score: float | None
    low: float | None
    high: float | None
    confidence: float | None
    """As the job stated it, 0 to 1."""
    agreement: float | None
    """r of the label's simulation and the planted levels, without noise; None where there is no truth, no
    label, or no r."""
    named: float | None
    """Share of the truth's key words in the label; None where there are none."""
    right: bool
    """Whether the label says the truth; never, where there is none."""
    why: str

    @property
    def accepted(self) -> bool:
        """Whether the job accepted the label."""
        return self.status == "accepted"

    @property
    def recovered(self) -> bool:
        """Whether the job accepted it, and it is right."""
        return self.accepted and self.right

    @property
    def scored(self) -> bool:
        """Whether a label was put to the test at all."""
        return self.status in SCORED


async def judge(store: Store, run: str, parts: Parts) -> list[Judged]:
    """Hold a run's conclusions about controls against the truth, and have its confidence learn from that.

    Args:
        store: the labels file.
        run: the run.
        parts: its parts, over the evidence of the controls.

    Returns:
        Every control of which the run has concluded something, in the order of indices.

    Raises:
        LLMError: a simulation was not in the journal after all, and no model could be reached.
        WorkspaceBusy: another process holds the labels file for too long.
    """
    harvest = parts.evidence.name
    rows = {(r["feature_index"], r["polarity"]): r for r in store.read(_ROWS, [run, harvest])}
    found = []
    for control in controls_of(parts.evidence):
        feature = parts.evidence.feature(control.index)
        row = rows.get((feature.index, feature.polarity))
        if row is not None:
            found.append(await _judged(control, feature, row, parts))
    right = {(j.control.index, "+"): j.right for j in found if j.scored}
    store.write(lambda con: keep_checked(con, run, harvest, right))
    return found


async def _judged(control: Control, feature: FeatureId, row: Mapping[str, Any], parts: Parts) -> Judged:
    agreement = named = simpler = None
    right = False
    if control.truth is not None and row["label"] is not None and row["status"] in SCORED:
        evidence = ReportEvidence(parts.evidence).report(feature, parts.spec.report_plan)
        at_work_on(feature)
        at_stage("report")
        label = Label(feature, row["label"], row["author"])
        agreement, simpler = await agreement_of(label, control.truth, evidence, parts)
        named = share_named(control.truth.keys, row["label"])
        by_word = parts.spec.simulator_name == "lexical" and named is not None
        bar = AGREES if simpler is None else max(AGREES, simpler + BETTER)
        right = agreement is not None and agreement >= bar and (not by_word or (named or 0.0) >= NAMED)
    names = ("status", "label", "score", "low", "high", "confidence", "why")
    own = {name: row[name] for name in names}
    return Judged(control, agreement=agreement, named=named, right=right, **own)


async def agreement_of(
    label: Label, truth: Truth, evidence: Evidence, parts: Parts
) -> tuple[float | None, float | None]:
    """r of what a label predicts and what was planted, without noise, over all words of some excerpts.

    Returns:
        r, -1 to 1, None where the simulation can't be read or either side is constant; and the r that the
        truth without its condition has on the same excerpts, None for truths without one.
    """
    looks = parts.examiner().looks
    if looks is not None:
        reading = await looks.reading(label, evidence)
    else:
        reading = await read(parts.simulator, label, evidence, parts.spec.seed)
    if reading.why_none is not None:
        return None, None
    contexts = parts.evidence.prepared([excerpt.context.id for excerpt in reading.excerpts], "word")
    passages = Passages(tuple({context.id: context for context in contexts}.values()))

    def shown(rule: Rule) -> list[Floats]:
        planted = levels(rule, passages)
        return [passages.shown(planted, excerpt.context, evidence.unit) for excerpt in reading.excerpts]

    true, plain = shown(truth.rule), without_condition(truth.rule)
    simpler = None if plain is None else pearson(pair(shown(plain), true))
    return pearson(pair(reading.levels, true)), simpler


def share_named(keys: Sequence[str], label: str) -> float | None:
    """Share of key words, endings or beginnings that a label has in it, in any form or by a class of theirs.

    Returns:
        0 to 1; None where there are none.
    """
    if not keys:
        return None
    text = fold(label)
    stems = {stem(word) for word in re.findall(r"\w+", text)}
    classes = {clause.pattern.text for clause in parse(label).clauses if clause.pattern.kind == "class"}
    return sum(key in text or stem(key) in stems or bool(classes & classes_of(key)) for key in keys) / len(
        keys
    )
