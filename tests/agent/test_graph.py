"""Every edge of the loop, walked by a model that says what the test wants it to say."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from exegete import explainers
from exegete.agent import strategy
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import Evidence, Label, Plan
from exegete.datastore.splits import split_of
from exegete.explainers.explainer import Attempt
from exegete.llm import Request
from tests.agent import competent, planted
from tests.agent.competent import WRONG, proposals
from tests.agent.harness import Answer, Runner, about, competently, first, purpose, rows
from tests.agent.planted import CLASS, DEAD, SCARCE, TRUTH
from tests.provider import Said

CLASSY = 1
"""The feature that fires on three words."""
_, FOUND, _ = CLASS
OTHERS = [word for word in CLASS if word != FOUND]
PART = f'the word "{FOUND}"'
"""A label for it that finds one of them, and scores in the middle."""
WORSE = f'the word after "{FOUND}"'


def saying(proposed: str, *revisions: list[str] | str) -> Answer:
    """A model that proposes one label, then revises as told (the last for ever), and simulates faithfully."""
    turns: list[list[str] | str] = []

    def answer(request: Request) -> str:
        if purpose(request) == "simulate":
            return competently(request)
        if purpose(request) == "propose":
            return json.dumps(proposals(proposed))
        turns.append(revisions[min(len(turns), len(revisions) - 1)])
        said = turns[-1]
        return said if isinstance(said, str) else json.dumps(proposals(*said))

    return answer


def test_a_dead_feature_leaves_at_once(run: Runner) -> None:
    """A feature that never fires is dead, says so, and costs no call."""
    run(features=str(DEAD))
    found = run.outcome(DEAD)
    assert found["status"] == "dead"
    assert "never rose above" in found["why"]
    assert (found["label"], found["score"], found["candidates"], run.llm.asked) == (None, None, 0, [])


def test_too_little_evidence_is_unscorable_and_says_how_much_there_is(run: Runner) -> None:
    """The numbers in the sentence are the contexts the feature fires in, split by split."""
    run(features=str(SCARCE))
    found = run.outcome(SCARCE)
    counted = Counter(split_of(name, 0) for name, words in planted.documents() if planted.RARE in words)
    assert sum(counted.values()) == 6
    for split, needed in strategy.NEEDED.items():
        assert (f"{counted[split]} of {needed} in {split}" in found["why"]) == (counted[split] < needed)
    assert (found["status"], found["score"], run.llm.asked) == ("unscorable", None, [])


@pytest.mark.parametrize("explainer", ["highlight", "lexical"])
def test_people_see_the_strongest_excerpts(run: Runner, explainer: str) -> None:
    """However the explainer reads the evidence, the windows kept are the strongest of the job's own plan."""
    run(features=f"8,{SCARCE}", explainer=explainer)
    file = EvidenceFile(next(run.workspace.evidence.glob("*.duckdb")))
    for index in (8, SCARCE):
        plan = Plan(top=10, per_decile=0, quiet=0)
        expected = AgentEvidence(file).explain(file.feature(index), plan).activating
        sql = f"SELECT * FROM examples WHERE feature_index = {index} ORDER BY rank"
        kept = [(r["context_id"], r["start"], r["activations"]) for r in rows(run.workspace, sql)]
        assert kept == [(e.context.id, e.context.start, e.activations.tolist()) for e in expected]
        assert kept
    file.close()


def test_a_label_that_is_fine_already_is_reported(run: Runner) -> None:
    """propose, trial, report: no revision is paid for, and the better candidate is the one reported."""
    run(features="8", rounds=5)
    found = run.outcome(8)
    assert (run.llm.count("propose"), run.llm.count("revise")) == (1, 0)
    assert (found["label"], found["status"]) == (TRUTH[8], "accepted")
    assert (found["candidates"], found["rounds"], found["report_looks"]) == (2, 1, 1)
    assert found["refine_score"] == run.trials(8)[TRUTH[8]] >= strategy.FINE
    assert run.trials(8)[WRONG] is None


def test_a_revision_that_helps_is_reported(run: Runner) -> None:
    """trial, revise, trial: the refine score rises, and the revised label goes to the report split."""
    run(saying(PART, [TRUTH[CLASSY]]), features=str(CLASSY))
    found, refine = run.outcome(CLASSY), run.trials(CLASSY)
    assert refine[PART] < refine[TRUTH[CLASSY]] == found["refine_score"]
    assert (found["label"], found["rounds"], found["candidates"]) == (TRUTH[CLASSY], 2, 2)
    assert set(run.trials(CLASSY, "report")) == {TRUTH[CLASSY]}
    assert found["status"] == "accepted"


def test_a_revision_that_does_not_help_keeps_the_old_label(run: Runner) -> None:
    """The refine score picks among old and new."""
    run(saying(PART, [WORSE]), features=str(CLASSY))
    found, refine = run.outcome(CLASSY), run.trials(CLASSY)
    assert refine[WORSE] < refine[PART] == found["refine_score"]
    assert (found["label"], found["rounds"], found["candidates"]) == (PART, 2, 2)
    assert set(run.trials(CLASSY, "report")) == {PART}


@pytest.mark.parametrize("said", [[PART], [], "I have no better idea."], ids=["same", "none", "unreadable"])
def test_a_revision_with_nothing_new_ends_the_search(run: Runner, said: list[str] | str) -> None:
    """The same label again, no label, or words that are none: the label so far is reported, and scored."""
    run(saying(PART, said), features=str(CLASSY), rounds=5)
    found = run.outcome(CLASSY)
    assert (found["label"], found["rounds"], found["candidates"]) == (PART, 1, 1)
    assert found["score"] is not None
    assert run.llm.count("revise") == (2 if isinstance(said, str) else 1), "asked again only if unreadable"


class Stubborn:
    """An explainer of another package that knows one label, and calls it a revision."""

    name, plan = "stubborn@1", Plan()

    async def explain(self, evidence: Evidence, k: int) -> list[Label]:
        return [Label(evidence.feature, PART, self.name)]

    async def revise(self, evidence: Evidence, attempts: Sequence[Attempt], k: int) -> list[Label]:
        return [Label(evidence.feature, PART, self.name, 1)]


def test_a_label_is_tried_once(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an explainer says, a label that was tried is no revision; it has one trial and one report."""
    monkeypatch.setitem(explainers.EXPLAINERS, "stubborn", f"{__name__}:Stubborn")
    run(explainer="stubborn", simulator="sparse", features=str(CLASSY), rounds=5)
    found = run.outcome(CLASSY)
    assert (found["author"], found["candidates"], found["rounds"]) == ("stubborn@1", 1, 1)
    assert len(rows(run.workspace, "SELECT * FROM scores")) == 1 + 2


@pytest.mark.parametrize(
    ("rounds", "revisions", "expected"),
    [
        (0, [[WORSE]], 0),
        (1, [[WORSE], [WRONG]], 1),
        (5, [[WORSE], ['the word after "b"'], ['the word after "c"']], 2),
    ],
    ids=["none allowed", "used up", "two without gain"],
)
def test_revisions_end(run: Runner, rounds: int, revisions: list[list[str]], expected: int) -> None:
    """They end when the job allows no more, and when two have brought no gain."""
    run(saying(PART, *revisions), features=str(CLASSY), rounds=rounds)
    assert run.llm.count("revise") == expected
    assert (run.outcome(CLASSY)["rounds"], run.outcome(CLASSY)["label"]) == (expected + 1, PART)


def test_a_hopeless_case_is_not_revised_twice(run: Runner) -> None:
    """A label that predicts nothing, revised into another: reported as rejected, with p = 1."""
    run(saying(WRONG, ['the word "yyy"'], ['the word "xxx"']), features=str(CLASSY), rounds=5)
    found = run.outcome(CLASSY)
    assert run.llm.count("revise") == 1
    assert (found["status"], found["score"], found["p_value"]) == ("rejected", None, 1.0)
    assert "predicts nothing" in found["why"]


def test_a_reviser_sees_scores_and_mistakes_of_the_refine_split_only(run: Runner) -> None:
    """What it is shown of a label are misses on the words the label leaves out, from refine documents."""
    run(saying(PART, []), features=str(CLASSY))
    (prompt,) = (first(r) for r in run.llm.asked if purpose(r) == "revise")
    shown = competent.blocks(prompt)["attempts"]
    assert {split_of(name, 0) for name in planted.MARK.findall(shown)} == {"refine"}
    assert f"Score: {run.trials(CLASSY)[PART]:.2f}" in shown
    kinds = re.findall(r"^(Missed|False alarm): .*\n  words: (.*)$", shown, re.M)
    assert {kind for kind, _ in kinds} == {"Missed", "False alarm"}
    for kind, words in kinds:
        if kind == "Missed":
            assert any(f"{word} (true" in words for word in OTHERS)
            assert "predicted 0)" in words
        else:  # only that it says 10 where the feature is at two thirds
            assert re.search(rf"{FOUND} \(true [5-8], predicted 10\)", words)


def test_no_label_is_a_failure_with_its_cause(run: Runner) -> None:
    """What is no label never becomes one: the feature has failed and says why, and others go on."""
    said: dict[int, tuple[str | Said, int, str]] = {
        8: ("I would rather talk about the weather.", 2, "unreadable"),
        9: (Said("I can't help with that.", "refusal"), 1, "the model refused: I can't help with that."),
        10: (Said("", "filtered"), 1, "content filter"),
        11: (json.dumps(proposals()), 1, "proposed no label"),
        12: (json.dumps(proposals(" \u202e ")), 1, "without text"),
        13: (json.dumps({"labels": ["a word"]}), 2, "unreadable"),
        14: (Said(json.dumps(proposals("cut in the mid"))[:-5], "length"), 2, "cut at"),
    }
    run(lambda r: said[about(r)][0] if about(r) in said else competently(r), features="8-15")
    asked = Counter(about(r) for r in run.llm.asked if purpose(r) == "propose")
    for feature, (_, calls, cause) in said.items():
        found = run.outcome(feature)
        assert (found["status"], found["label"], found["score"]) == ("failed", None, None), feature
        assert cause in found["why"]
        assert (found["report_looks"], asked[feature]) == (0, calls)
    assert run.outcome(15)["status"] == "accepted"


def leaving_out(share: Callable[[int], bool]) -> Answer:
    """A model that is right, but leaves out the excerpts its label fires in where `share` says so."""

    def answer(request: Request) -> str:
        if purpose(request) != "simulate":
            return competently(request)
        reply = competent.simulate(first(request))
        firing = [item["excerpt"] for item in reply["excerpts"] if item["fires"]]
        dropped = {number for place, number in enumerate(firing) if share(place)}
        reply["excerpts"] = [item for item in reply["excerpts"] if item["excerpt"] not in dropped]
        return json.dumps(reply)

    return answer


def test_what_the_simulator_leaves_out_is_missing_and_not_zero(run: Runner) -> None:
    """With one firing excerpt of each call unanswered the score stays what it is without them: near 1.

    As zeros they would cost the label its score.
    """
    run(leaving_out(lambda place: place == 0), features="8")
    found = run.outcome(8)
    score = run.scores(8)["simulation"]
    calls = {first(r) for r in run.llm.asked if purpose(r) == "simulate"}
    assert 0 < score["n_asked"] - score["n_read"] <= 3 < len(calls)
    assert (found["status"], round(found["score"], 1)) == ("accepted", 1.0)
    assert found["score"] > 0.98


def test_too_few_readable_replies_are_unscorable_with_the_numbers(run: Runner) -> None:
    """Below four fifths nothing is scored, and the sentence and the rows say how much was read."""
    said: dict[int, Answer] = {
        8: leaving_out(lambda place: True),
        9: lambda r: "not today",
        10: lambda r: Said("No.", "refusal"),
        11: lambda r: competently(r).replace(", 10]", ', "10"]'),
        12: lambda r: competently(r).replace(", 10]", ", 11]"),
        13: lambda r: competently(r).replace(", 10]", "]"),
        14: lambda r: competently(r).replace('"excerpt": ', '"excerpt": 1'),
    }
    chosen = {feature: TRUTH[feature] for feature in said}

    def answer(request: Request) -> str | Said:
        if purpose(request) == "simulate" and about(request) in said:
            return said[about(request)](request)
        return competently(request)

    run(answer, features="8-15", candidates=1)
    for feature, label in chosen.items():
        found, scores = run.outcome(feature), run.scores(feature)
        assert set(scores) == {"simulation", "detection"}
        for row in scores.values():
            assert row["n_read"] < 0.8 * row["n_asked"]
            assert (row["value"], row["low"], row["chance"], row["p_value"]) == (None, None, None, None)
            assert f"{row['n_read']} of {row['n_asked']} excerpts could be read" in row["why_none"]
        assert (found["status"], found["label"], found["score"]) == ("unscorable", label, None)
        assert found["why"] == scores["simulation"]["why_none"]
    assert run.outcome(15)["status"] == "accepted"
