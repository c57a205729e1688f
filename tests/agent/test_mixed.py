"""Planted features among a job's own: blind, kept apart, resumable, and made anew like all else."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.forecast import forecast
from exegete.agent.rebuild import Rebuild
from exegete.agent.spec import JobSpec
from exegete.controls.suite import controls_of
from exegete.datastore.workspace import CONTROLS, Workspace
from exegete.llm import load_prices
from exegete.report.mixed import judge_mixed
from tests.agent.harness import SMALL, FunctionLLM, Runner, competently, first, rows, run_job

LEXICAL: dict[str, Any] = {"explainer": "lexical", "llm": None, "nulls": 0, "rounds": 0, "name": "same"}
OURS = "feature_index, polarity, status, label, score, low, high, p_value"


def planted(space: Workspace) -> list[dict[str, Any]]:
    """What was concluded of the planted features."""
    return rows(
        space, f"SELECT {OURS}, kind, truth, positive FROM controls WHERE run IS NOT NULL ORDER BY ALL"
    )


def real(space: Workspace) -> list[dict[str, Any]]:
    """What was concluded of the harvest's own."""
    return rows(space, f"SELECT {OURS}, q_value FROM labels ORDER BY ALL")


def another(template: Path, place: Path) -> Workspace:
    """One more copy of the workspace."""
    return Workspace.open(shutil.copytree(template, place))


def test_real_features_fare_as_without_them(template: Path, tmp_path: Path) -> None:
    """A run with planted features concludes of its own what one without them does, q-values too; stopped in
    between it ends alike, and so does the labels file made anew."""
    without, mixed, stopped = (another(template, tmp_path / name) for name in ("without", "mixed", "stopped"))
    run_job(without, **LEXICAL)
    report = run_job(mixed, **LEXICAL, with_controls=16)
    assert real(mixed) == real(without)
    assert len(real(mixed)) + 16 == report.progress.done
    assert sum(report.progress.by_status.values()) == len(real(mixed))
    assert len(planted(mixed)) == 16 == report.progress.planted
    assert rows(mixed, "SELECT count(*) AS n FROM runs WHERE attempted = 20") == [{"n": 1}]

    assert run_job(stopped, **LEXICAL, with_controls=16, limit=14).left == 22
    assert 0 < len(planted(stopped)) < 16
    assert run_job(stopped, **LEXICAL, with_controls=16).left == 0
    assert real(stopped) == real(mixed)
    assert planted(stopped) == planted(mixed)

    shutil.move(mixed.labels, tmp_path / "gone")
    rebuilt = asyncio.run(Rebuild(mixed).run())
    assert not rebuilt.missing, rebuilt.missing
    assert real(mixed) == real(without)
    assert planted(mixed) == planted(stopped)


def test_nothing_asked_says_that_it_is_planted(run: Runner) -> None:
    """Planted features stand among real ones, and no prompt has a word of what they are."""
    run(competently, nulls=0, rounds=0, with_controls=16, features="0,1,4,8")
    told = {"planted", "control", "controls", "truth", "shuffled"}
    assert isinstance(run.llm, FunctionLLM)
    for request in run.llm.asked:
        said = first(request).lower()
        assert not told & set(said.split()), said
    asked = [int(request.tags["feature"]) for request in run.llm.asked if request.tags.get("feature")]
    order = list(dict.fromkeys(index > 19 for index in asked))
    assert order, "features are told apart by their index here alone"
    (name,) = [h for h in run.workspace.harvests() if h.startswith(CONTROLS)]
    file = run.workspace.open_evidence(name)
    controls = controls_of(file)
    file.close()
    kinds = [control.kind for control in controls]
    assert kinds != sorted(kinds), "an index would say the kind"
    assert {row["feature_index"] for row in planted(run.workspace)} == {c.index for c in controls}


def test_a_dry_run_counts_them(run: Runner) -> None:
    """What they would cost is part of the forecast, and nothing is planted for it."""
    spec = JobSpec(**{**SMALL, "nulls": 0, "features": "0,8,9,10"})
    alone = asyncio.run(forecast(run.workspace, spec, load_prices()))
    mixed = asyncio.run(forecast(run.workspace, spec.model_copy(update={"with_controls": 4}), load_prices()))
    assert mixed.features == alone.features + 4 == 8
    assert mixed.without_revisions.total.calls == 2 * alone.without_revisions.total.calls
    assert len(run.workspace.harvests()) == 1


@pytest.mark.parametrize("stop_early", [False, True])
def test_judging_them_asks_nothing_more(run: Runner, stop_early: bool) -> None:
    """What became of them is worked out from replies that are there, also where scoring stopped early."""
    given = {"nulls": 0, "rounds": 0, "with_controls": 8, "features": "0", "stop_early": stop_early}
    report = run(competently, **given)
    run.llm.asked.clear()
    spec = JobSpec(**{**SMALL, **given})
    judged = asyncio.run(judge_mixed(run.workspace, spec, report.run))
    assert len(judged) == 8
    assert not run.llm.asked


def test_the_harvest_stays_the_only_one(run: Runner) -> None:
    """With planted features beside it, a harvest still needs no name."""
    run(competently, nulls=0, rounds=0, with_controls=4, features="0")
    assert len(run.workspace.harvests()) == 2
    file = run.workspace.open_evidence()
    file.close()
    assert not file.name.startswith(CONTROLS)
