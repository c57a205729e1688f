"""A dry run against the real one: the same calls, about the same tokens, and nothing sent or recorded."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.forecast import ASSUMED, Forecast, forecast
from exegete.agent.spec import JobSpec
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError
from exegete.llm import Request
from exegete.llm.prices import load_prices
from tests.agent import competent
from tests.agent.harness import SMALL, Runner, competently, purpose, rows, store_at


def foresee(workspace: Workspace, **parameters: Any) -> Forecast:
    """The forecast of a small job."""
    spec = JobSpec(**(SMALL | parameters))
    return asyncio.run(forecast(workspace, spec, load_prices(spec.prices)))


def made(workspace: Workspace) -> Counter[str]:
    """Calls made, by stage."""
    return Counter(row["stage"] for row in rows(workspace, "SELECT stage FROM calls"))


def always_two(request: Request) -> str:
    """Two labels a proposal and two new ones a revision, all useless; simulations as a competent model's."""
    if purpose(request) == "simulate":
        return competently(request)
    letters = {"propose": "ab", "revise": "cd"}[purpose(request)]
    return json.dumps(competent.proposals(*(f'the word "zz{letter}"' for letter in letters)))


def test_calls_and_tokens_of_a_job_without_revisions(run: Runner, workspace: Workspace) -> None:
    """Call for call the same, by stage, and the same input but for the length of the labels."""
    found = foresee(workspace, rounds=0)
    run(always_two, rounds=0)
    stages = {stage.name: stage.calls for stage in found.without_revisions.stages}
    real = made(workspace)
    assert [stages[name] for name in ("propose", "try proposals", "report")] == [
        real[stage] for stage in ("propose", "trial", "report")
    ]
    (row,) = rows(workspace, "SELECT sum(input_tokens) AS n FROM calls")
    assert found.without_revisions.total.input_tokens == pytest.approx(row["n"], rel=0.03)
    assert found.with_all_revisions.total == found.without_revisions.total
    assert found.features == 20
    assert found.asking == real["propose"] < 20, "one is dead, and one has too few examples"


def test_with_one_revision_the_larger_total_is_exact(run: Runner, workspace: Workspace) -> None:
    """A job whose every feature is revised makes the calls of the larger total, and more than the smaller."""
    found = foresee(workspace, rounds=1)
    run(always_two, rounds=1)
    failed = rows(workspace, "SELECT feature_index, why FROM outcomes WHERE status = 'failed'")
    assert failed == [], "a feature that fails makes fewer calls"
    once = {stage.name: stage.calls for stage in found.with_all_revisions.stages}
    trials = once["try proposals"] + once["try revisions"]
    assert made(workspace) == {
        **{stage: once[stage] for stage in ("propose", "revise", "report")},
        "trial": trials,
    }
    least, most = found.without_revisions.total.calls, found.with_all_revisions.total.calls
    assert least < made(workspace).total() == most
    twice = {
        stage.name: stage.calls
        for stage in foresee(workspace, name="new", rounds=2).with_all_revisions.stages
    }
    assert [twice[name] / once[name] for name in once if once[name]] == [1, 1, 2, 2, 1]


def test_nothing_is_sent_or_recorded(run: Runner, workspace: Workspace) -> None:
    """No call, no journal entry, no run; not even a labels file where there is none."""
    foresee(workspace, llm="openai:m@http://127.0.0.1:1/v1")
    assert not workspace.labels.exists()
    assert not list(workspace.journal.glob("*.jsonl*"))
    assert not run.llm.asked


def test_only_what_is_left_is_foreseen(run: Runner, workspace: Workspace) -> None:
    """Features that are done count no more, and earlier calls say how long replies are."""
    before = foresee(workspace, features="4-12", name="night")
    assert before.measured == ()
    run(features="4-12", name="night")
    after = foresee(workspace, features="4-13", name="night")
    assert (after.features, before.features) == (1, 9)
    assert "simulate" in after.measured
    (row,) = rows(
        workspace,
        "SELECT avg(output_tokens) AS n FROM calls WHERE purpose = 'simulate' AND finish = 'stop'",
    )
    report = next(stage for stage in after.without_revisions.stages if stage.name == "report")
    assert report.output_tokens == report.calls * round(row["n"])
    report = next(stage for stage in before.without_revisions.stages if stage.name == "report")
    assert report.output_tokens == report.calls * ASSUMED["simulate"]


def test_nulls_are_a_stage_of_their_own(run: Runner, workspace: Workspace) -> None:
    """Three kinds for one feature in ten, each the calls of a report; none in a sitting that ends before.

    The real ones are fewer where a lexical label is the very label that was scored. With all features done
    the nulls that are left are foreseen alone.
    """

    def stages(**parameters: Any) -> dict[str, int]:
        found = foresee(workspace, nulls=50, rounds=0, name="night", **parameters)
        return {stage.name: stage.calls for stage in found.with_all_revisions.stages}

    before = stages()
    asking = foresee(workspace, rounds=0).asking
    per_null = before["report"] / asking
    assert before["null"] == round(2 * 3 * per_null) > 0
    assert stages(limit=19)["null"] == 0
    run(rounds=0, nulls=50, name="night", limit=19)
    report = run(rounds=0, nulls=50, name="night")
    assert report.nulls_left == 0
    assert before["null"] / 3 <= made(workspace)["null"] <= before["null"]
    assert set(stages().values()) == {0}
    store_at(workspace.labels).write(lambda con: con.execute("DELETE FROM store.nulls WHERE kind = 'empty'"))
    left = stages()
    assert left.pop("null") == round(2 * per_null)
    assert set(left.values()) == {0}


def test_dollars(workspace: Workspace, tmp_path: Path) -> None:
    """By the prices given, by hand; None where there is no price."""
    file = tmp_path / "prices.toml"
    file.write_text('version = "v"\n[[price]]\nmatch = ["openai:*"]\ninput = 3.0\noutput = 7.0\n')
    total = foresee(workspace, llm="openai:m@http://127.0.0.1:1/v1", prices=file).without_revisions.total
    assert total.usd == pytest.approx((3 * total.input_tokens + 7 * total.output_tokens) / 1e6, rel=1e-3)
    assert total.most_usd == pytest.approx(
        (3 * total.input_tokens + 7 * total.most_output_tokens) / 1e6, rel=1e-3
    )
    assert foresee(workspace, llm="openai:m@http://127.0.0.1:1/v1").without_revisions.total.usd is None


def test_a_job_that_asks_nobody(workspace: Workspace) -> None:
    """The lexical pair makes no call."""
    found = foresee(workspace, explainer="lexical", llm=None)
    assert found.with_all_revisions.total.calls == 0


def test_an_explainer_of_another_form(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be rehearsed says so, and what to do instead."""
    monkeypatch.setattr("exegete.agent.rehearsal.Proposals.model_dump_json", lambda self: '{"other": 1}')
    with pytest.raises(JobError, match=r"can't be rehearsed.*--limit 5"):
        foresee(workspace)


def test_tests_and_effects_are_stages_of_their_own(run: Runner, workspace: Workspace) -> None:
    """A round of tests is a call a feature and revision; what features do is one label and eight questions.

    Nothing is run on a subject: the harvest was imported and has none.
    """
    plain = foresee(workspace, rounds=2)
    found = foresee(workspace, rounds=2, falsify=True, effects=True, scorers=("simulation", "generation"))
    stages = {stage.name: stage for stage in found.with_all_revisions.stages}
    assert stages["falsify"].calls == 2 * found.asking
    assert stages["falsify"].output_tokens == stages["falsify"].calls * ASSUMED["falsify"]
    assert stages["output: output"].calls == found.asking
    assert stages["output: steering"].calls == 8 * found.asking
    assert stages["report: generation"].calls == found.asking
    without = {stage.name for stage in found.without_revisions.stages}
    assert "falsify" not in without
    assert "output: output" in without
    assert set(plain.purposes) == {"propose", "revise", "simulate"}
    assert {
        stage.calls for stage in plain.with_all_revisions.stages if stage.name in ("falsify", "output")
    } == {0}


def test_a_case_that_has_a_budget(workspace: Workspace) -> None:
    """The larger total has as many revisions as the loop would begin: the first if a case may take its first
    round twice, the k-th if k revisions fit.
    """

    def tokens(found: Forecast, *names: str) -> int:
        stages = [stage for stage in found.with_all_revisions.stages if stage.name in names]
        return sum(stage.input_tokens + stage.output_tokens for stage in stages)

    given: dict[str, Any] = {"features": "4", "rounds": 3}
    free = foresee(workspace, **given)
    first = tokens(free, "propose", "try proposals")
    each = tokens(free, "revise", "try revisions") // 3
    bars = (2 * first, max(2 * first, first + 2 * each), max(2 * first, first + 3 * each))
    for budget in (1, *(bar + more for bar in bars for more in (-1, 0))):
        found = foresee(workspace, **given, case_budget=budget)
        assert found.revisions == sum(budget >= bar for bar in bars)
        assert tokens(found, "revise", "try revisions") == found.revisions * each
        assert found.without_revisions == free.without_revisions
    assert free.revisions == 3
    assert len(set(bars)) > 1
