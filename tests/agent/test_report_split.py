"""The report split is out of the agent's reach, and is looked at once for each finished feature."""

from __future__ import annotations

import inspect
import json
from collections import Counter, defaultdict

import pytest

from exegete.agent.nodes import Nodes
from exegete.agent.spec import JobSpec
from exegete.agent.state import CaseState
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.splits import split_of
from exegete.llm import Request
from tests.agent import competent, planted
from tests.agent.harness import Runner, first, purpose, rows

WEAK = [1]
"""Features whose first label is replaced by a weak one, so that there is something to revise."""


def with_a_weak_start(request: Request) -> str:
    """Competent, but for the class of words: its first label names one of them."""
    prompt = first(request)
    if purpose(request) == "propose" and competent.explain(prompt) == planted.TRUTH[WEAK[0]]:
        return json.dumps(competent.proposals(f'the word "{list(planted.CLASS)[1]}"'))
    return competent.answer(prompt)


def documents_in(prompt: str) -> set[str]:
    """Which documents a prompt shows."""
    return {name for body in competent.blocks(prompt).values() for name in planted.MARK.findall(body)}


def splits_in(prompt: str) -> set[str]:
    """Which splits they are of."""
    return {split_of(name, 0) for name in documents_in(prompt)}


def test_the_agents_reader_has_no_way_to_the_report_split(workspace: object) -> None:
    """What the nodes hold cannot be asked for it: no method, no parameter that names a split."""
    assert not hasattr(AgentEvidence, "report")
    assert not hasattr(ReportEvidence, "explain")
    assert not hasattr(ReportEvidence, "refine")
    public = {name for name in dir(AgentEvidence) if not name.startswith("_")}
    assert public == {"summary", "explain", "refine"}
    for name in public:
        assert "split" not in inspect.signature(getattr(AgentEvidence, name)).parameters
    assert set(Nodes.__annotations__) & {"evidence", "examiner"} == {"evidence", "examiner"}
    assert Nodes.__annotations__["evidence"] == "AgentEvidence"
    assert "evidence" not in CaseState.__annotations__


@pytest.fixture
def asked(run: Runner) -> list[str]:
    """First turns of all calls of a job over all features, in order."""
    run(with_a_weak_start)
    return [first(request) for request in run.llm.asked]


def test_each_split_is_shown_for_its_own_purpose_only(run: Runner, asked: list[str]) -> None:
    """Explain documents to the explainer, refine documents to candidates, report documents to the chosen.

    Every excerpt is asked about once a label; on the report split there is one label a feature.
    """
    on_report: dict[str, set[str]] = defaultdict(set)
    questions: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    for prompt in asked:
        kind, splits = competent.purpose_of(prompt), splits_in(prompt)
        if kind == "simulate":
            (split,) = splits
            assert split in ("refine", "report")
            if split == "report":
                on_report[competent.label_of(prompt)] |= documents_in(prompt)
            for words in competent.excerpts_of(prompt).values():
                questions[(split, competent.label_of(prompt), tuple(words))] += 1
        else:
            shown = {split_of(n, 0) for n in planted.MARK.findall(competent.blocks(prompt)["excerpts"])}
            assert shown == {"explain"}
            assert splits <= {"explain", "refine"}
            assert (kind == "revise") == ("refine" in splits)
    chosen = {row["label"] for row in rows(run.workspace, "SELECT label FROM labels WHERE label IS NOT NULL")}
    assert set(on_report) == chosen
    # WRONG is tried for every feature, so its excerpts may be shared; the others belong to one feature each.
    own = {key: n for key, n in questions.items() if key[1] != competent.WRONG}
    assert set(own.values()) == {1}
    assert len(own) > 500


def test_one_look_a_finished_feature(run: Runner, asked: list[str]) -> None:
    """report_looks is 1 where something was scored there and 0 where nothing was; so say the scores."""
    per_feature = Counter(
        row["feature_index"]
        for row in rows(run.workspace, "SELECT * FROM scores WHERE split = 'report' AND scorer LIKE 'sim%'")
    )
    for row in rows(run.workspace, "SELECT * FROM labels"):
        scored = row["feature_index"] in planted.ALIVE
        assert (row["report_looks"], per_feature[row["feature_index"]]) == (int(scored), int(scored))
    assert len(asked) == len(run.llm.asked)


def test_the_report_score_is_of_more_excerpts_than_a_trial(run: Runner) -> None:
    """Candidates are tried on about half of what the verdict is read from."""
    run(features="8")
    report, refine = (
        run.scores(8)["simulation"],
        rows(run.workspace, "SELECT n_asked, low, p_value FROM scores WHERE split = 'refine'"),
    )
    spec = JobSpec(**{"top": 6, "per_decile": 1, "quiet": 8, "hard": 4})
    assert report["n_asked"] == 28 == spec.report_plan.top + 10 * spec.report_plan.per_decile + 8 + 4
    assert {row["n_asked"] for row in refine} == {3 + 10 + 4 + 2}
    assert all(row["low"] is None and row["p_value"] is None for row in refine), "no look at chance yet"
