"""A run's parameters are fixed before its first result, and its q-values are over all it attempted."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats.multitest import multipletests

from exegete.agent.spec import digest_of
from exegete.datastore.records import STATUSES
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError
from exegete.llm import Request
from tests.agent import competent, planted
from tests.agent.harness import Runner, about, competently, first, purpose, results, rows, statuses
from tests.provider import Said


def test_parameters_are_there_before_any_result(run: Runner, workspace: Workspace) -> None:
    """At the first call the run's row is written, with its digest; nothing else is."""
    seen: list[dict[str, Any]] = []

    def answer(request: Request) -> str:
        if not seen:
            seen.extend(rows(workspace, "SELECT * FROM store.runs"))
            for table in ("outcomes", "labels", "scores", "q_values", "calls"):
                assert rows(workspace, f"SELECT * FROM store.{table}") == []
        return competently(request)

    run(answer, features="8", name="first", threshold=0.25)
    (row,) = seen
    parameters = json.loads(row["parameters"])
    assert (row["run"], row["kind"], row["digest"]) == ("first", "job", digest_of(parameters))
    assert (parameters["threshold"], parameters["features"], parameters["seed"]) == (0.25, "8", 3)
    assert parameters["harvest"] == row["harvest"]
    assert parameters["explainer_version"].startswith("highlight/scripted:function@")
    assert not {"name", "limit", "concurrency"} & parameters.keys()
    assert rows(workspace, "SELECT * FROM store.runs") == seen, "and nothing changes it"


def test_other_parameters_under_an_old_name_are_refused(run: Runner) -> None:
    """The error names what changed, and nothing is asked or written."""
    run(features="6,7", name="night")
    before = results(run.workspace)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"threshold": 0.6}, "threshold"),
        ({"seed": 4}, "seed"),
        ({"features": "8"}, "features"),
        ({"scorers": ("simulation",)}, "scorer_versions, scorers"),
        ({"explainer": "token-activation"}, "explainer, explainer_version"),
        ({"window": 16, "quiet": 9}, "quiet, window"),
    ]
    for changed, named in changes:
        with pytest.raises(JobError) as caught:
            run(**({"features": "6,7", "name": "night"} | changed))
        assert f"'night' was started with other parameters ({named} changed)" in str(caught.value)
    assert (results(run.workspace), run.llm.asked) == (before, [])


def test_every_call_says_what_it_was_for(run: Runner) -> None:
    """Each reply is one row of `calls`, with its run, purpose and feature, those of simulations too."""
    run(features="8,9", candidates=1, name="night")
    calls = rows(run.workspace, "SELECT * FROM calls")
    assert len({row["key"] for row in calls}) == len(calls)
    assert {row["run"] for row in calls} == {"night"}
    asked = Counter((str(about(request)), purpose(request)) for request in run.llm.asked)
    assert Counter((row["feature"], row["purpose"]) for row in calls) == asked
    assert asked.keys() == {(f, kind) for f in ("8", "9") for kind in ("propose", "simulate")}
    run(features="8,9", candidates=1, name="again", threshold=0.6)
    assert rows(run.workspace, "SELECT * FROM calls") == calls, "what the journal answers is no new call"


def test_the_same_parameters_go_on_and_do_nothing_twice(run: Runner) -> None:
    """A finished run, run again, asks nothing, changes nothing and says so."""
    first_time = run(features="7-9", name="night")
    before, asked = results(run.workspace), len(run.llm.asked)
    again = run(features="7-9", name="night", concurrency=3, limit=2)
    assert (again.run, again.progress.done, again.progress.before, again.left) == (first_time.run, 0, 3, 0)
    assert (results(run.workspace), len(run.llm.asked)) == (before, asked)


def test_a_limit_stops_and_the_next_sitting_goes_on(run: Runner) -> None:
    """Sittings of two make the tables of one sitting, whose q-values are over all features."""
    left = [run(features="6-10", limit=2).left for _ in range(3)]
    assert left == [3, 1, 0]
    in_parts = results(run.workspace)
    (name,) = (row["run"] for row in rows(run.workspace, "SELECT run FROM store.runs"))
    run(features="6-10", name="at-once")
    apart = [row.replace("'at-once'", f"'{name}'") for row in results_of(run, "at-once")]
    assert apart == results_of(run, name)
    assert len(in_parts["outcomes"]) == 5


def results_of(run: Runner, name: str) -> list[str]:
    """Outcomes, scores and q-values of one run."""
    found = results(run.workspace)
    return [r for t in ("outcomes", "scores", "q_values") for r in found[t] if f"'run': '{name}'" in r]


def test_failed_features_are_tried_again_after_all_others(run: Runner) -> None:
    """A feature that fails every time does not keep a limited run from the others."""

    def refusing(request: Request) -> str | Said:
        failing = purpose(request) == "propose" and competent.explain(first(request)) == planted.TRUTH[8]
        return Said("no", "refusal") if failing else competently(request)

    for _ in range(3):
        run(refusing, features="8-10", limit=1)
    assert statuses(run.workspace) == {"failed": 1, "accepted": 2}
    run(competently, features="8-10")
    assert statuses(run.workspace) == {"failed": 1, "accepted": 2}, "the refusal is in the journal"


def test_a_retried_feature_replaces_its_failure(run: Runner) -> None:
    """A failure that passes leaves one outcome behind, and no row of the failed try."""
    broken = [True]

    def answer(request: Request) -> str:
        if broken and purpose(request) == "simulate":
            raise RuntimeError("a bug in a provider")
        return competently(request)

    run(answer, features="8")
    found = run.outcome(8)
    assert (found["status"], found["why"]) == ("failed", "RuntimeError: a bug in a provider")
    broken.clear()
    run(answer, features="8")
    assert statuses(run.workspace) == {"accepted": 1}
    assert len(rows(run.workspace, "SELECT * FROM store.labels")) == 2
    assert run.outcome(8)["q_value"] is not None


def test_q_values_are_benjamini_hochberg_over_all_attempted(run: Runner) -> None:
    """They equal statsmodels' over all that are not dead, unscorable and failed ones counted at p = 1."""

    def mixed(request: Request) -> str | Said:
        if purpose(request) == "simulate":
            return competently(request)
        label = competent.explain(first(request))
        if label == planted.TRUTH[9]:
            return Said("no", "refusal")
        noise = f"{competent.NOISE} {label}"  # right by accident at most: any p-value at all
        return json.dumps(competent.proposals(noise if label != planted.TRUTH[10] else label))

    run(mixed, candidates=1, rounds=0)
    outcomes = rows(run.workspace, "SELECT * FROM outcomes ORDER BY feature_index")
    attempted = [row for row in outcomes if row["status"] != "dead"]
    assert {"failed", "unscorable"} <= {row["status"] for row in attempted}
    assert len(outcomes) - len(attempted) == 1
    assert len({row["p_value"] for row in attempted if row["p_value"]}) >= 6, "else BH is hardly tested"
    for scorer in ("simulation", "detection"):
        found = {
            row["feature_index"]: row
            for row in rows(
                run.workspace, f"SELECT * FROM scores WHERE split = 'report' AND scorer LIKE '{scorer}%'"
            )
        }
        p_values = [found[r["feature_index"]]["p_value"] if r["score"] else None for r in attempted]
        expected = multipletests([1.0 if p is None else p for p in p_values], method="fdr_bh")[1]
        for row, p, q in zip(attempted, p_values, expected, strict=True):
            if p is None:
                assert row["q_value"] is None
            else:
                assert found[row["feature_index"]]["q_value"] == pytest.approx(q, abs=1e-12)
                if scorer == "simulation":
                    assert row["q_value"] == pytest.approx(q, abs=1e-12)


def test_rows_are_sane(run: Runner) -> None:
    """Over all planted features: intervals hold their values, chance is near 0, p is above 0, statuses known.

    And the truth comes out: every planted rule is accepted under its own label, and nothing random is.
    """
    run(competently)
    found = {row["feature_index"]: row for row in rows(run.workspace, "SELECT * FROM labels")}
    assert sorted(found) == list(planted.FEATURES)
    assert {row["status"] for row in found.values()} <= set(STATUSES)
    for feature, label in planted.TRUTH.items():
        row = found[feature]
        assert (row["status"], row["label"]) == ("accepted", label)
        assert -1 <= row["low"] <= row["score"] <= row["high"] <= 1
        assert abs(row["chance"]) < 0.15
        assert row["lift"] == pytest.approx(row["score"] - row["chance"])
        assert 0 < row["p_value"] <= row["q_value"] <= 1
        assert row["confidence"] > 0.99
        assert 0 < row["density"] < 0.1
        assert row["why"].startswith("r = ")
    assert all(found[feature]["status"] != "accepted" for feature in planted.RANDOM)
    for row in rows(run.workspace, "SELECT * FROM scores"):
        assert 0 <= row["n_read"] <= row["n_asked"]
        assert (row["value"] is None) == (row["why_none"] is not None)
        assert row["p_value"] is None or 0 < row["p_value"] <= 1
        for name, value in json.loads(row["details"]).items():
            assert value is None or name.startswith("n_") or -1 <= value <= 1, name
    shown = rows(run.workspace, "SELECT * FROM examples WHERE feature_index = 8 ORDER BY rank")
    assert [row["peak"] for row in shown] == sorted((row["peak"] for row in shown), reverse=True)
    word = planted.SINGLE[0]
    assert all(f"«{word}»" in row["text"] for row in shown)
    assert len(shown) == 10


def test_the_same_job_at_any_concurrency_gives_the_same_tables(
    run: Runner, workspace: Workspace, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One feature at a time, or sixteen: row for row."""
    other = Runner(Workspace.open(shutil.copytree(template, tmp_path / "other")), monkeypatch)
    other(concurrency=1)
    one_at_a_time = results(other.workspace)
    run(competently, concurrency=16)
    assert results(workspace) == one_at_a_time
