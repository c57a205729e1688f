"""Labels that are tested on the subject: when, what comes of it, what is kept, and what can go wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.rebuild import Rebuild
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError, LLMUnavailable
from exegete.llm import Request
from tests.agent import competent
from tests.agent.harness import Answer, Runner, competently, first, purpose, results, rows
from tests.agent.planted import CLASS, RANDOM, TRUTH
from tests.agent.test_graph import CLASSY, PART, WORSE, saying
from tests.agent.test_leak import echoing
from tests.agent.trying import TruthBench, give_subject

FALSIFY: dict[str, Any] = {"falsify": True, "rounds": 3}


@pytest.fixture
def benches(run: Runner, monkeypatch: pytest.MonkeyPatch) -> list[TruthBench]:
    """Gives the planted harvest a subject; one bench a job."""
    return give_subject(monkeypatch)


def with_tests(answer: Answer) -> Answer:
    """A model that also writes tests, competently."""
    return lambda request: (competently if purpose(request) == "falsify" else answer)(request)


def decisions(run: Runner, feature: int) -> list[tuple[str, str]]:
    """(step, action) of a feature, in order."""
    found = rows(run.workspace, f"SELECT * FROM decisions WHERE feature_index = {feature} ORDER BY number")
    assert [row["number"] for row in found] == list(range(len(found)))
    assert all(row["why"] for row in found)
    return [(row["step"], row["action"]) for row in found]


def test_a_middling_label_is_tested_before_it_is_revised(run: Runner, benches: list[TruthBench]) -> None:
    """trial, falsify, revise: every test is a row with what was predicted and what the subject did."""
    run(with_tests(saying(PART, [TRUTH[CLASSY]])), features=str(CLASSY), **FALSIFY)
    assert decisions(run, CLASSY) == [
        ("recall", "propose"),
        ("trial", "falsify"),
        ("falsify", "revise"),
        ("revise", "trial"),
        ("trial", "report"),
    ]
    tests = rows(run.workspace, "SELECT * FROM experiments ORDER BY number")
    assert [row["number"] for row in tests] == list(range(len(tests)))
    assert {row["label"] for row in tests} == {PART}
    for row in tests:
        level = max((n for _, n in competent.fires(TRUTH[CLASSY], row["text"].split())), default=0)
        assert row["measured"] == pytest.approx(level / 10)
        fires = row["measured"] > row["threshold"]
        assert row["verdict"] == ("held" if fires == (row["predicted"] == "fires") else "failed")
        assert row["words"] == row["text"].split()
    assert [text for _, text in benches[0].ran] == [row["text"] for row in tests]
    assert run.outcome(CLASSY)["label"] == TRUTH[CLASSY]
    assert run.outcome(CLASSY)["tests"] is None, "the chosen label was not tested"


def test_failures_are_shown_to_the_reviser(run: Runner, benches: list[TruthBench]) -> None:
    """A text that fired against the prediction stands in the next revision's prompt, with its level."""
    other = next(word for word in CLASS if word not in PART)
    says = {"tests": [{"kind": "silent", "text": f"quite another {other} here", "fires": False}]}

    def answer(request: Request) -> str:
        return json.dumps(says) if purpose(request) == "falsify" else saying(PART, [WORSE])(request)

    run(answer, features=str(CLASSY), falsify=True, rounds=1)
    (row,) = rows(run.workspace, "SELECT * FROM experiments")
    assert row["verdict"] == "failed"
    (shown,) = [first(r) for r in run.llm.asked if purpose(r) == "revise"]
    assert f"quite another {other} here" in competent.blocks(shown)["attempts"]
    found = run.outcome(CLASSY)
    assert (found["label"], found["tests"], found["tests_held"]) == (PART, 1, 0)


@pytest.mark.parametrize("feature", [8, RANDOM[0]], ids=["fine", "hopeless"])
def test_no_round_where_none_can_pay(run: Runner, benches: list[TruthBench], feature: int) -> None:
    """A label that is fine, or says nothing right, is not tested: no call for it, no text on the subject."""
    run(features=str(feature), **FALSIFY)
    assert run.llm.count("falsify") == 0
    assert benches[0].ran == []
    found = run.outcome(feature)
    assert (found["tests"], found["tests_held"]) == (None, None)
    assert run.llm.count("revise") == (0 if feature == 8 else 1), "a hopeless one is revised once"


@pytest.mark.parametrize("said", ["I would rather not.", '{"tests": []}'], ids=["unreadable", "none"])
def test_tests_that_can_not_be_read_cost_a_round(run: Runner, benches: list[TruthBench], said: str) -> None:
    """The case goes on to the revision, and a decision says what was wrong."""

    def answer(request: Request) -> str:
        return said if purpose(request) == "falsify" else saying(PART, [TRUTH[CLASSY]])(request)

    run(answer, features=str(CLASSY), **FALSIFY)
    assert run.outcome(CLASSY)["label"] == TRUTH[CLASSY]
    assert rows(run.workspace, "SELECT * FROM experiments") == []
    (why,) = rows(run.workspace, "SELECT why FROM decisions WHERE step = 'falsify'")
    assert "it is revised from its errors alone" in why["why"]


def test_without_a_model_nothing_is_tested(run: Runner, benches: list[TruthBench]) -> None:
    """Asked to test labels without a language model, a job says who has to write the tests."""
    with pytest.raises(JobError, match="--falsify has a language model write tests"):
        run(explainer="lexical", llm=None, features="8", falsify=True)


def test_a_case_stops_at_its_budget(run: Runner, benches: list[TruthBench]) -> None:
    """With room for one round there is no other, with room for more there is; what it took is kept."""
    whole = run(with_tests(saying(PART, [WORSE])), features=str(CLASSY), name="whole", **FALSIFY)
    asked = [r for r in run.llm.asked if r.tags["stage"] in ("propose", "trial", "falsify", "revise")]
    replies = {
        r["key"]: r["n"]
        for r in rows(
            run.workspace, "SELECT key, input_tokens + output_tokens AS n FROM calls WHERE run = 'whole'"
        )
    }
    spent = sum(replies[request.key] for request in asked)
    assert run.outcome(CLASSY)["tokens_spent"] == spent
    first_round = sum(replies[r.key] for r in asked[: 1 + sum(r.tags["stage"] == "propose" for r in asked)])
    assert whole.left == 0
    for budget, revised in ((2 * first_round - 1, 0), (10 * spent, 1)):
        run(
            with_tests(saying(PART, [WORSE])),
            features=str(CLASSY),
            case_budget=budget,
            name=f"b{revised}",
            **FALSIFY,
        )
        found = run.outcome(CLASSY)
        assert found["label"] == PART
        assert (found["rounds"] > 1) == bool(revised)
        assert found["tokens_spent"] == (spent if revised else first_round)
        assert found["tokens_spent"] <= budget
    (why,) = rows(run.workspace, "SELECT * FROM decisions WHERE run = 'b0' AND step = 'trial'")
    assert (why["quantity"], why["bar"]) == ("tokens with another round", 2 * first_round - 1)
    assert run.llm.asked == [], "all from the journal, and counted as if it were not"


def test_nothing_depends_on_how_many_run_at_once(
    run: Runner, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen at once, or one after another in two sittings, from another journal: the same tables."""
    given = {"features": "0-5,8,9", "case_budget": 30_000, **FALSIFY}
    give_subject(monkeypatch)
    run(echoing, concurrency=16, **given)
    other = Runner(Workspace.open(shutil.copytree(template, tmp_path / "other")), monkeypatch)
    other(echoing, concurrency=1, limit=4, **given)
    other(echoing, concurrency=1, **given)
    assert results(other.workspace) == results(run.workspace)
    assert rows(run.workspace, "SELECT * FROM experiments")


def test_made_anew_without_the_subject(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with tests is worked out again from the journal and the measurements, row for row."""
    give_subject(monkeypatch)
    run(echoing, features="0-5,8,9", **FALSIFY)
    before = results(run.workspace)
    assert before["experiments"]
    run.workspace.labels.unlink()
    rebuilt = asyncio.run(Rebuild(run.workspace).run())
    assert rebuilt.missing == []
    assert results(run.workspace) == before


def test_a_measurement_that_is_lost(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its measurements a tested feature is left undone and counted; the others are restored."""
    give_subject(monkeypatch)
    run(with_tests(saying(PART, [TRUTH[CLASSY]])), features=f"{CLASSY},6", **FALSIFY)
    for path in run.workspace.measurements.iterdir():
        path.unlink()
    run.workspace.labels.unlink()
    rebuilt = asyncio.run(Rebuild(run.workspace).run())
    (said,) = rebuilt.missing
    assert said.startswith("1 features of run")
    assert [row["feature_index"] for row in rows(run.workspace, "SELECT * FROM outcomes")] == [6]
    benches = give_subject(monkeypatch)
    run.llm.asked.clear()
    run(features=f"{CLASSY},6", **FALSIFY)
    assert run.llm.asked == []
    assert benches[0].ran
    assert len(rows(run.workspace, "SELECT * FROM outcomes")) == 2


def test_planted_features_are_tested_on_what_was_planted(run: Runner, benches: list[TruthBench]) -> None:
    """They go through the same steps as the harvest's own, and their tests are in no view of those."""
    run(echoing, features="8", with_controls=8, falsify=True, rounds=1)
    tests = rows(run.workspace, "SELECT * FROM store.experiments WHERE harvest LIKE 'controls%'")
    assert tests
    assert {row["verdict"] for row in tests} == {"held", "failed"}
    first_planted = min(row["feature_index"] for row in tests)
    assert {index for index, _ in benches[0].ran} <= {8}, "the harvest's subject knows nothing of them"
    assert all(
        row["feature_index"] < first_planted for row in rows(run.workspace, "SELECT * FROM experiments")
    )
    assert rows(run.workspace, "SELECT * FROM decisions WHERE feature_index > 19") == []


def test_a_feature_that_failed_leaves_nothing_behind(run: Runner, benches: list[TruthBench]) -> None:
    """Tried again in another sitting, its tests and decisions are those of that sitting alone."""
    broken = [True]

    def answer(request: Request) -> str:
        if broken and purpose(request) == "revise":
            raise LLMUnavailable("the server is away")
        return with_tests(saying(PART, [TRUTH[CLASSY]]))(request)

    run(answer, features=str(CLASSY), name="night", **FALSIFY)
    assert run.outcome(CLASSY)["status"] == "failed"
    broken.clear()
    run(answer, features=str(CLASSY), name="night", **FALSIFY)
    assert run.outcome(CLASSY)["label"] == TRUTH[CLASSY]
    assert decisions(run, CLASSY)[-1] == ("trial", "report")
    numbers = [row["number"] for row in rows(run.workspace, "SELECT number FROM experiments ORDER BY number")]
    assert numbers == list(range(len(numbers)))
    assert numbers


def test_what_features_do_can_not_be_measured(run: Runner, benches: list[TruthBench]) -> None:
    """A subject without an output side: said once, a decision of every case, and labels are as without."""
    run(features="0,8", effects=True)
    (said,) = [message for message in run.messages if "what features do" in message]
    found = rows(run.workspace, "SELECT * FROM decisions WHERE step = 'output' ORDER BY feature_index")
    assert [(row["feature_index"], row["action"]) for row in found] == [
        (0, "go on without"),
        (8, "go on without"),
    ]
    assert {row["why"] for row in found} == {said}
    assert run.outcome(8)["status"] == "accepted"
    assert run.outcome(8)["ablation"] is None
