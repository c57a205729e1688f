"""A person's own label through the same scorers as everybody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from exegete.agent.events import note_rows
from exegete.agent.examiner import remarks
from exegete.agent.models import Models
from exegete.agent.parts import open_parts, opened_evidence
from exegete.agent.rows import Tables, label_row, now, score_row
from exegete.agent.runs import register_run
from exegete.agent.spec import JobSpec
from exegete.agent.subject import opened_subject
from exegete.agent.tags import at_work_on
from exegete.agent.tried import experiment_rows
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.records import Label, Polarity, Score, Split, Verdict
from exegete.datastore.store import Store, insert_rows
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
    """How many labels have been scored on this feature's report split, by anybody, this one included; the
    same label under the same parameters shows nothing new and is one look."""


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
    with (
        opened_evidence(workspace, spec.harvest) as evidence,
        opened_subject(workspace, spec, evidence) as subject,
    ):
        try:
            label = Label(evidence.feature(index, polarity), cleaned, "person")
            parts = open_parts(spec, evidence, models, explain=False, subject=subject)
            await models.check()
            store = Store(workspace.labels)
            run = register_run(store, parts, "person", None)
            models.tags.run = run
            at_work_on(label.feature)
            if split == "report":  # as a job's labels are, to the last digit
                scores = await parts.examiner().scores_of(label)
            else:
                excerpts = AgentEvidence(evidence).refine(label.feature, spec.report_plan)
                scores = tuple([await scorer.score(label, excerpts) for scorer in parts.scorers(split)])
            _keep(store, run, evidence.name, label, scores)
            looks = _looks(store, evidence.name, index, polarity)
        finally:
            await models.close()
    verdict = decide(
        label.feature,
        label,
        scores[0],
        spec.threshold,
        beside=scores[1:],
        bars=parts.bars,
        noted=remarks(label),
    )
    return PersonScore(label, scores, verdict, looks)


def _keep(store: Store, run: str, harvest: str, label: Label, scores: Sequence[Score]) -> None:
    """Store what is not there yet: the same label under the same parameters has the same scores."""
    made_at = now()
    labels = [label_row(run, harvest, label, made_at)]
    rows = [score_row(run, harvest, label, score, made_at) for score in scores]
    texts = experiment_rows(run, harvest, [one for score in scores for one in score.experiments], made_at)
    known = [run, labels[0]["label_id"]]

    def work(con: duckdb.DuckDBPyConnection) -> None:
        where = "WHERE run = ? AND label_id = ?"
        known_label = con.execute(f"SELECT 1 FROM store.labels {where}", known).fetchone()
        there = con.execute(f"SELECT scorer, split FROM store.scores {where}", known).fetchall()
        run_before = con.execute(f"SELECT 1 FROM store.experiments {where} LIMIT 1", known).fetchall()
        new: Tables = {
            "labels": [] if known_label else labels,
            "scores": [row for row in rows if (row["scorer"], row["split"]) not in there],
            "experiments": [] if run_before else texts,
        }
        for table, own in new.items():
            insert_rows(con, table, own)
        if any(new.values()):
            note_rows(store, new)

    store.write(work)


def _looks(store: Store, harvest: str, index: int, polarity: Polarity) -> int:
    rows = store.read(
        "SELECT count(DISTINCT (s.run, s.label_id)) AS n FROM store.scores s "
        "JOIN store.labels l ON l.label_id = s.label_id AND l.run = s.run "
        "WHERE s.split = 'report' AND l.side = 'input' AND l.harvest = ? AND l.feature_index = ? "
        "AND l.polarity = ?",
        [harvest, index, polarity],
    )
    return int(rows[0]["n"])
