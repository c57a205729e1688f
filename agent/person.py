"""A person's own label through the same scorers as everybody's."""

from __future__ import annotations

from dataclasses import dataclass

from exegete.agent.parts import Models, open_parts, opened_evidence
from exegete.agent.rows import label_row, now, score_row
from exegete.agent.runs import register_run
from exegete.agent.spec import JobSpec
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.records import Label, Polarity, Score, Split, Verdict
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.explainers.hygiene import clean, why_refused
from exegete.scorers.verdict import decide


@dataclass(frozen=True, slots=True)
class PersonScore:
    """How a person's label did."""

    label: Label
    scores: tuple[Score, ...]
    verdict: Verdict
    """What a job would have concluded."""
    looks: int
    """How often anybody has scored a label on this feature's report split, this time included."""


async def score_person(
    workspace: Workspace, spec: JobSpec, index: int, polarity: Polarity, text: str, split: Split
) -> PersonScore:
    """Score a label that a person wrote, and store it as by `person`.

    Args:
        workspace: where the harvest is.
        spec: the scorers, the simulator and their parameters.
        index: the feature.
        polarity: its side.
        text: the label.
        split: "report", which is counted as a look, or "refine".

    Raises:
        UsageError: the label is empty or too long, or there is no such feature.
        LLMError: no model could be reached.
    """
    cleaned = clean(text)
    if refused := why_refused(cleaned):
        raise UsageError(
            f"the label can't be scored ({refused}): say in a sentence what makes the feature fire"
        )
    models = Models(workspace, spec.concurrency)
    with opened_evidence(workspace, spec.harvest) as evidence:
        try:
            label = Label(evidence.feature(index, polarity), cleaned, "person")
            parts = open_parts(spec, evidence, models, explain=False)
            read = ReportEvidence(evidence).report if split == "report" else AgentEvidence(evidence).refine
            excerpts = read(label.feature, spec.report_plan)
            store = Store(workspace.labels)
            run = register_run(store, parts, "person", None)
            models.tags |= {"run": run, "feature": str(label.feature)}
            scorers = parts.scorers(split)
            scores = tuple([await scorer.score(label, excerpts) for scorer in scorers])
            made_at = now()
            tables = {
                "labels": [label_row(run, evidence.name, label, made_at)],
                "scores": [score_row(run, evidence.name, label, score, made_at) for score in scores],
            }
            store.insert(tables)
            looks = _looks(store, evidence.name, index, polarity)
        finally:
            await models.close()
    verdict = decide(label.feature, label, scores[0], spec.threshold)
    return PersonScore(label, scores, verdict, looks)


def _looks(store: Store, harvest: str, index: int, polarity: Polarity) -> int:
    rows = store.read(
        "SELECT count(DISTINCT (s.run, s.label_id)) AS n FROM store.scores s "
        "JOIN store.labels l ON l.label_id = s.label_id AND l.run = s.run "
        "WHERE s.split = 'report' AND l.harvest = ? AND l.feature_index = ? AND l.polarity = ?",
        [harvest, index, polarity],
    )
    return int(rows[0]["n"])
