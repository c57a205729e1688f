"""The report split is out of the agent's reach, and is looked at once for each finished feature."""

from __future__ import annotations

import inspect
import json
from collections import Counter, defaultdict

from exegete.agent.nodes import Nodes
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


def test_the_agents_reader_has_no_way_to_the_report_split() -> None:
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


def test_each_split_is_shown_for_its_own_purpose_only(run: Runner) -> None:
    """Explain documents to the explainer, refine documents to candidates, report documents to the chosen.

    Every excerpt is asked about once a label; on the report split there is one label a feature, and one look.
    """
    run(with_a_weak_start)
    on_report: dict[str, set[str]] = defaultdict(set)
    questions: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    for prompt in map(first, run.llm.asked):
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
    on_report_excerpts: Counter[str] = Counter()
    for (split, label, _), n in questions.items():
        on_report_excerpts[label] += n * (split == "report")
    question = "SELECT * FROM scores WHERE split = 'report' AND scorer LIKE 'simulation%'"
    scores = rows(run.workspace, question)
    for label in chosen:
        assert on_report_excerpts[label] == sum(row["n_asked"] for row in scores if row["label"] == label)
    scored = Counter(row["feature_index"] for row in scores)
    for row in rows(run.workspace, "SELECT * FROM labels"):
        looks = int(row["feature_index"] in planted.ALIVE)
        assert (row["report_looks"], scored[row["feature_index"]]) == (looks, looks)


def test_the_report_score_is_of_more_excerpts_than_a_trial(run: Runner) -> None:
    """Candidates are tried on about half of what the verdict is read from."""
    run(features="8")
    report = run.scores(8)["simulation"]
    refine = rows(run.workspace, "SELECT * FROM scores WHERE split = 'refine'")
    fires_in = Counter(split_of(name, 0) for name, words in planted.documents() if planted.SINGLE[0] in words)
    assert report["n_asked"] == min(6 + 10, fires_in["report"]) + 8 + 4
    assert {row["n_asked"] for row in refine} == {min(3 + 10, fires_in["refine"]) + 4 + 2}
    (right,) = (row for row in refine if row["value"] is not None)
    assert (right["low"], right["p_value"], right["chance"]) == (None, None, None), "they only rank"
