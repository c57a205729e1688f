"""A person's own labels and decisions: the same scorers, looks that are counted, rows that are only added."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from exegete.agent.person import PersonScore, score_person
from exegete.agent.spec import JobSpec
from exegete.datastore.records import Split
from exegete.datastore.workspace import Workspace
from exegete.errors import SubjectError, UsageError
from tests.agent.competent import WRONG
from tests.agent.harness import SMALL, Runner, rows
from tests.agent.planted import DEAD, SCARCE, TRUTH
from tests.review.deciding import decide_as_person

PARAMETERS = {k: v for k, v in SMALL.items() if k not in ("explainer", "candidates", "rounds")}


def score(run: Runner, feature: int, text: str, split: Split = "report", **parameters: Any) -> PersonScore:
    """Score a person's label by the function that plays the model."""
    if not run.llm.asked:
        run(features=str(DEAD))  # puts the model in its place
    spec = JobSpec(**(PARAMETERS | {"simulator": "sparse"} | parameters))
    return asyncio.run(score_person(run.workspace, spec, feature, "+", text, split))


def test_a_persons_label_gets_the_score_a_jobs_would(run: Runner) -> None:
    """The same words score the same, to the last digit, whoever says them."""
    run(features="8")
    found, mine = run.outcome(8), score(run, 8, TRUTH[8])
    assert (mine.scores[0].value, mine.scores[0].low, mine.scores[0].p_value) == (
        found["score"],
        found["low"],
        found["p_value"],
    )
    assert (mine.verdict.status, mine.verdict.why) == (found["status"], found["why"])
    assert mine.label.author == "person"


def test_looks_are_counted(run: Runner) -> None:
    """A job's look and each other label's are one more; the refine split and repetitions are none."""
    run(features="8")
    assert run.outcome(8)["report_looks"] == 1
    assert score(run, 8, TRUTH[8]).looks == 2
    assert score(run, 8, WRONG).looks == 3
    assert score(run, 8, WRONG).looks == 3, "the same numbers again show nothing new"
    assert score(run, 8, "the word after", "refine").looks == 3
    assert score(run, 9, TRUTH[9]).looks == 1
    assert run.outcome(8)["report_looks"] == 3


def test_the_same_label_again_adds_no_rows(run: Runner) -> None:
    """Scored twice on one split and once on the other, it has one row a scorer and split."""
    for split in ("report", "refine", "report"):
        score(run, 8, TRUTH[8], split)
    found = rows(run.workspace, "SELECT scorer, split, author FROM scores WHERE feature_index = 8")
    assert len(found) == 4
    assert len({(row["scorer"], row["split"]) for row in found}) == 4
    assert {row["author"] for row in found} == {"person"}
    (person,) = rows(run.workspace, "SELECT * FROM runs WHERE kind = 'person'")
    assert person["attempted"] is None
    assert json.loads(person["parameters"])["explainer_version"] is None


def test_what_can_not_be_scored(run: Runner) -> None:
    """No label, too long a label, no such feature: nothing is written. A thin feature is unscorable."""
    for text in ("", " \t\u202e", "word " * 100):
        with pytest.raises(UsageError, match="can't be scored"):
            score(run, 8, text)
    with pytest.raises(SubjectError, match=r"feature 99 is not in harvest .*20 features between 0 and 19"):
        score(run, 99, WRONG)
    assert rows(run.workspace, "SELECT * FROM store.labels") == []
    thin = score(run, SCARCE, WRONG)
    assert (thin.verdict.status, thin.scores[0].value, thin.scores[0].n_asked) == ("unscorable", None, 0)
    assert "3 activating and 12 quiet excerpts were found" in thin.verdict.why
    assert score(run, DEAD, WRONG).verdict.status == "unscorable"


def decide(workspace: Workspace, decision: Any, text: str | None = None, who: str = "ada") -> dict[str, Any]:
    """Decide about feature 8."""
    return decide_as_person(workspace, 8, "+", decision, text, who, None)


def test_decisions_outrank_the_run(run: Runner) -> None:
    """Rejected, accepted, edited, accepted: the view shows the last word, and every decision is kept."""
    run(features="8")
    assert decide(run.workspace, "reject", "too broad")["status"] == "rejected"
    assert decide(run.workspace, "accept")["status"] == "accepted"
    edited = decide(run.workspace, "edit", "  a better\u202e label ", who="bob")
    assert (edited["label"], edited["status"], edited["author"]) == ("a better label", "accepted", "person")
    assert (edited["score"], edited["q_value"], edited["reviewer"]) == (None, None, "bob")
    kept = decide(run.workspace, "accept", who="eve")
    assert (kept["label"], kept["status"], kept["reviewer"]) == ("a better label", "accepted", "eve")
    found = rows(run.workspace, "SELECT * FROM reviews ORDER BY reviewed_at")
    assert [row["decision"] for row in found] == ["reject", "accept", "edit", "accept"]
    assert [row["label_before"] for row in found] == [TRUTH[8]] * 3 + ["a better label"]
    assert found[0]["text"] == "too broad"


def test_an_edited_label_has_no_score_but_its_own(run: Runner) -> None:
    """Once it is scored, that score stands beside it; the run's own row is as it was."""
    run(features="8")
    before = rows(run.workspace, "SELECT * FROM outcomes")
    decide(run.workspace, "edit", WRONG.replace("zzz", TRUTH[9].split('"')[1]))
    assert run.outcome(8)["score"] is None
    mine = score(run, 8, run.outcome(8)["label"])
    assert run.outcome(8)["score"] == mine.scores[0].value < 0.5
    assert rows(run.workspace, "SELECT * FROM outcomes WHERE feature_index = 8") == before


def test_decisions_that_can_not_be_made(run: Runner) -> None:
    """A feature without a result, one without a label, and an edit that is no label are refused."""
    run(features=f"8,{DEAD}")
    with pytest.raises(UsageError, match="feature 9 has no result yet: label it first"):
        decide_as_person(run.workspace, 9, "+", "accept", None, "ada", None)
    with pytest.raises(UsageError, match=f"feature {DEAD} is dead and has no label to accept"):
        decide_as_person(run.workspace, DEAD, "+", "accept", None, "ada", None)
    with pytest.raises(UsageError, match="can't be used"):
        decide(run.workspace, "edit", "\x1b[31m")
    with pytest.raises(UsageError, match="has no result yet"):
        decide_as_person(run.workspace, 8, "-", "accept", None, "ada", None)
    assert rows(run.workspace, "SELECT * FROM reviews") == []
