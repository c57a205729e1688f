"""Nulls: what labels score that are not the feature's, once a run's features all have outcomes."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from exegete import llm
from exegete.agent.null_plan import drawn, sample_size
from exegete.agent.rebuild import Rebuild
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.workspace import Workspace
from exegete.errors import BudgetSpent, LLMUnavailable
from exegete.llm import Request
from tests.agent import planted
from tests.agent.harness import FunctionLLM, Runner, competently, results, rows, run_job
from tests.agent.test_rebuild import nobody

ALL = {"nulls": 100, "candidates": 1, "rounds": 0, "features": "8-17", "name": "night"}
"""A small job with all the nulls it may have: one feature of ten, three kinds."""
KINDS = ("another feature", "empty", "lexical")


def nulls(workspace: Workspace) -> list[dict[str, Any]]:
    """Rows of the view, in an order of their own."""
    return rows(workspace, "SELECT * FROM nulls ORDER BY feature_index, kind, scorer")


def null_calls(run: Runner) -> list[Request]:
    """What was asked for nulls."""
    return [request for request in run.llm.asked if request.tags["stage"] == "null"]


def test_drawn_by_hash() -> None:
    """The same features in whichever order they are given; of more, a sample is a part; seeds differ."""
    from exegete.datastore.records import FeatureId

    features = [FeatureId("s", "x", "neurons", i) for i in range(300)]
    shuffled = random.Random(1).sample(features, len(features))
    assert drawn(features, 7, 40) == drawn(shuffled, 7, 40)
    assert drawn(features, 7, 40)[:20] == drawn(features, 7, 20)
    assert set(drawn(features, 7, 40)) != set(drawn(features, 8, 40))
    mean = np.mean([f.index for f in drawn(features, 7, 100)])
    assert 120 < mean < 180, "from all over"


@pytest.mark.parametrize(
    ("nulls", "attempted", "scored", "costs", "expected"),
    [
        (100, 8, 8, True, 0),
        (100, 128, 120, True, 12),
        (100, 128, 5, True, 5),
        (100, 5000, 4000, True, 100),
        (100, 128, 120, False, 100),
        (100, 8, 7, False, 7),
        (0, 128, 128, False, 0),
    ],
)
def test_how_many(nulls: int, attempted: int, scored: int, costs: bool, expected: int) -> None:
    """At most what was asked for and what has a score; where calls cost, one in ten of those attempted."""
    assert sample_size(nulls, attempted, scored, costs=costs) == expected


def test_scored_as_the_label_was(run: Runner) -> None:
    """Same scorers and excerpts as the label's own; each call for a null is tagged as one."""
    report = run(**ALL)
    assert (report.left, report.nulls_left, report.progress.nulls, report.progress.nulls_done) == (0, 0, 3, 3)
    found = nulls(run.workspace)
    assert Counter(row["kind"] for row in found) == dict.fromkeys(KINDS, 2)
    asked = null_calls(run)
    assert {request.tags["feature"] for request in asked} == {str(row["feature_index"]) for row in found}
    for row in found:
        own = run.scores(row["feature_index"])[row["scorer"].partition("@")[0]]
        assert (own["scorer"], own["n_asked"]) == (row["scorer"], row["n_asked"])
        assert (row["label"], row["score"]) == (own["label"], own["value"])
        assert (row["status"] is not None) == row["scorer"].startswith("simulation")
        if row["kind"] == "another feature":
            assert row["text"] != row["label"]
            (other,) = rows(
                run.workspace,
                f"SELECT label, polarity FROM outcomes WHERE feature_index = {row['of_feature']}",
            )
            assert (other["label"], other["polarity"]) == (row["text"], row["of_polarity"])
        else:
            assert row["of_feature"] is None
        if row["kind"] == "empty":
            assert row["text"] == ""
    contexts = {
        kind: {tuple(planted.MARK.findall(request.messages[-1].text)) for request in asked} for kind in KINDS
    }
    assert len(set(map(frozenset, contexts.values()))) == 1
    (said,) = rows(run.workspace, "SELECT * FROM runs")
    assert (said["nulls_wanted"], said["nulls_done"], said["null_n"]) == (3, 3, 1)


def test_few_features_pay_nothing_and_none_when_told_so(run: Runner) -> None:
    """A job of nine features that pays for calls has no null, nor has one that was told so."""
    run(**ALL | {"features": "8-16"})
    assert nulls(run.workspace) == null_calls(run) == []
    run(**ALL | {"nulls": 0, "name": "none", "seed": 4})
    assert nulls(run.workspace) == null_calls(run) == []


def test_without_calls_all_are_scored_and_lexical_is_no_null_of_itself(run: Runner) -> None:
    """The lexical pair: every scored feature with another's label and the empty one; the latter has no r."""
    run(explainer="lexical", llm=None, nulls=100, name="night")
    scored = rows(run.workspace, "SELECT feature_index FROM outcomes WHERE score IS NOT NULL")
    found = [row for row in nulls(run.workspace) if row["status"] is not None]
    assert Counter(row["kind"] for row in found) == {kind: len(scored) for kind in KINDS[:2]}
    for row in found:
        if row["kind"] == "empty":
            assert (row["value"], row["lift"], row["status"]) == (None, None, "rejected")
            assert row["why_none"]
    (said,) = rows(run.workspace, "SELECT * FROM runs")
    values = [row["value"] for row in found if row["kind"] != "empty" and row["value"] is not None]
    assert said["null_n"] == len(values)
    assert said["null_mean"] == pytest.approx(np.mean(values))
    assert said["null_p95"] == pytest.approx(np.quantile(values, 0.95))
    assert (said["empty_n"], said["lexical_n"]) == (0, 0)
    own = [row["score"] for row in found if row["kind"] != "empty"]
    assert np.mean(own) > said["null_mean"] + 0.3, "planted rules are found"


def test_only_once_all_features_have_outcomes(run: Runner) -> None:
    """A limit leaves them for the sitting that ends the run; a finished run asks for nothing more."""
    report = run(**ALL, limit=4)
    assert (report.left, report.nulls_left) == (6, 0)
    (said,) = rows(run.workspace, "SELECT nulls_wanted, nulls_done FROM runs")
    assert (said["nulls_wanted"], null_calls(run)) == (None, [])
    run(**ALL)
    first = results(run.workspace)
    asked = len(run.llm.asked)
    assert len(first["nulls"]) == 6
    again = run(**ALL)
    assert (again.progress.nulls, len(run.llm.asked), results(run.workspace)) == (0, asked, first)


def test_the_same_journal_at_any_concurrency(run: Runner) -> None:
    """Row for row, and without a call."""
    run(**ALL, concurrency=16)
    before = results(run.workspace)
    for concurrency in (1, 5):
        run.workspace.labels.unlink()
        run(nobody, **ALL, concurrency=concurrency)
        assert results(run.workspace) == before
        assert run.llm.asked == []


def test_rebuilt(run: Runner) -> None:
    """Deleted and rebuilt, the nulls are there again, row for row and with their times; nobody is asked."""
    run(**ALL)
    run(explainer="lexical", llm=None, nulls=3, features="8-12", name="free")
    before, timed = results(run.workspace), rows(run.workspace, "SELECT * FROM runs WHERE run = 'night'")
    calls_for_nulls = rows(run.workspace, "SELECT called_at FROM calls WHERE stage = 'null'")
    run.workspace.labels.unlink()
    run._patch.setitem(llm.PROVIDERS, "scripted", lambda name: FunctionLLM(nobody))
    rebuilt = asyncio.run(Rebuild(run.workspace).run())
    assert results(run.workspace) == before
    assert rebuilt.missing == []
    assert rebuilt.rows["nulls"] == len(before["nulls"]) == 6 + 12

    began, calls = timed[0]["started_at"], {row["called_at"] for row in calls_for_nulls}
    for row in rows(run.workspace, "SELECT * FROM nulls WHERE run = 'night' AND kind = 'another feature'"):
        assert row["scored_at"] in calls
        assert row["scored_at"] > began


def test_rebuilt_without_some_replies(run: Runner) -> None:
    """Nulls whose replies the journal has lost are named, and the next sitting pays for them alone."""
    run(**ALL)
    whole, n_calls = results(run.workspace), len(null_calls(run))
    for path in run.workspace.journal.glob("*.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if b'"stage":"null"' not in line))
    run.workspace.labels.unlink()
    rebuilt = asyncio.run(Rebuild(run.workspace).run())
    (missing,) = rebuilt.missing
    assert missing.endswith("of run night: a call of each is not in the journal; the run can be gone on with")
    found = results(run.workspace)
    assert all(found[table] == whole[table] for table in whole if table != "nulls")
    assert len(found["nulls"]) < len(whole["nulls"])
    run(competently, **ALL)
    assert len(run.llm.asked) == len(null_calls(run)) == n_calls
    assert results(run.workspace) == whole


def test_interrupted_it_drains_says_so_and_goes_on(run: Runner) -> None:
    """SIGINT in the null phase: what is under way is finished, features are whole, no call is made twice."""
    run(**ALL)
    whole, n_calls = results(run.workspace), len(null_calls(run))
    shutil.rmtree(run.workspace.journal)
    run.workspace.labels.unlink()

    signals = [signal.SIGINT]

    def answer(request: Request) -> str:
        if request.tags["stage"] == "null" and signals:
            os.kill(os.getpid(), signals.pop())
        return competently(request)

    asked: list[str] = []
    report = run(answer, **ALL, concurrency=1)
    assert (report.interrupted, report.left, report.nulls_left) == (True, 0, 2)
    assert "stopping: finishing what is under way (again to leave at once)" in run.messages
    (said,) = rows(run.workspace, "SELECT attempted, nulls_wanted, nulls_done FROM runs")
    assert said == {"attempted": 10, "nulls_wanted": 3, "nulls_done": 1}
    found = results(run.workspace)
    assert all(found[table] == whole[table] for table in whole if table != "nulls")
    asked += [request.key for request in null_calls(run)]
    run(competently, **ALL)
    asked += [request.key for request in null_calls(run)]
    assert len(asked) == len(set(asked)) == n_calls
    assert results(run.workspace) == whole


def test_a_budget_that_ends_in_the_null_phase(run: Runner, tmp_path: Path) -> None:
    """Features are recorded with their q-values, the cap is kept, and a higher one buys the rest alone."""
    prices = tmp_path / "prices.toml"
    # Room for a reply costs next to nothing, so that what a call can cost is close to what it does.
    prices.write_text('version = "v"\n[[price]]\nmatch = ["scripted:*"]\ninput = 1000.0\noutput = 0.001\n')
    given: dict[str, Any] = ALL | {"features": None, "prices": prices}
    run(**given)
    whole = results(run.workspace)
    usd = {
        row["null"]: row["usd"]
        for row in rows(run.workspace, "SELECT stage = 'null' AS null, sum(usd) AS usd FROM calls GROUP BY 1")
    }
    shutil.rmtree(run.workspace.journal)
    run.workspace.labels.unlink()
    with pytest.raises(BudgetSpent, match="what is finished is kept"):
        run(competently, **given, concurrency=1, budget=usd[False] + 0.98 * usd[True])
    assert rows(run.workspace, "SELECT sum(usd) AS usd FROM calls")[0]["usd"] <= usd[False] + 0.98 * usd[True]
    found = results(run.workspace)
    assert all(found[table] == whole[table] for table in whole if table != "nulls")
    assert 0 < len(found["nulls"]) < len(whole["nulls"])
    before = {request.key for request in run.llm.asked}
    assert run(competently, **given, budget=2 * sum(usd.values())).nulls_left == 0
    assert not before & {request.key for request in run.llm.asked}
    assert results(run.workspace) == whole


def test_an_outage_leaves_nulls_for_later(run: Runner) -> None:
    """A null that got no reply is not written down as anything, and is asked for again."""

    def down(request: Request) -> str:
        if request.tags["stage"] == "null":
            raise LLMUnavailable("the server is gone")
        return competently(request)

    report = run(down, **ALL)
    assert (report.interrupted, report.left) == (False, 0)
    left = report.nulls_left
    assert left >= 2
    (said,) = rows(run.workspace, "SELECT nulls_wanted - nulls_done AS n FROM runs")
    assert (said["n"] or 3, len(nulls(run.workspace))) == (left, 2 * (3 - left))
    assert run(competently, **ALL).nulls_left == 0
    assert len(nulls(run.workspace)) == 6


def test_a_feature_that_gets_its_label_late(run: Runner) -> None:
    """When a failed feature is scored in a later sitting, the nulls are those of the run as it is then."""
    run(**ALL)
    whole = results(run.workspace)
    drawn_first = {row["feature_index"] for row in nulls(run.workspace)}
    shutil.rmtree(run.workspace.journal)
    run.workspace.labels.unlink()
    late = min(drawn_first)

    def answer(request: Request) -> str:
        if request.tags["feature"] == str(late) and request.tags["stage"] == "propose":
            raise RuntimeError("a bug in a provider")
        return competently(request)

    run(answer, **ALL)
    (meanwhile,) = {row["feature_index"] for row in nulls(run.workspace)}
    assert meanwhile != late
    run(competently, **ALL)
    assert results(run.workspace) == whole


def dealt(folder: Path) -> Path:
    """The planted folder with the activations of each feature dealt to other contexts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = planted.write_folder(folder) / "activations.parquet"
    table = pq.read_table(path).to_pydict()
    rng = np.random.default_rng(8)
    dealing = {feature: rng.permutation(planted.DOCUMENTS) for feature in planted.FEATURES}
    table["context_id"] = [
        int(dealing[feature][context])
        for feature, context in zip(table["feature"], table["context_id"], strict=True)
    ]
    schema = pq.read_schema(path)
    pq.write_table(pa.table(table, schema=schema), path)
    return folder


def test_no_label_of_a_shuffled_harvest_beats_the_nulls(tmp_path: Path) -> None:
    """Activations dealt to other contexts: labels score as another feature's do, and none is accepted."""
    workspace = Workspace.open_or_create(tmp_path / "workspace")
    import_parquet(dealt(tmp_path / "dealt"), ImportSpec(quiet=300), workspace.evidence)
    run_job(workspace, explainer="lexical", llm=None, nulls=100)
    found = [row for row in nulls(workspace) if row["kind"] == "another feature" and row["status"]]
    own = [row["score"] for row in found]
    others = [row["value"] for row in found if row["value"] is not None]
    assert len(own) >= 15
    assert len(others) >= 15
    assert mannwhitneyu(own, others, alternative="greater").pvalue > 0.05
    assert abs(np.mean(own) - np.mean(others)) < 0.1
    (said,) = rows(workspace, "SELECT accepted, null_accepted FROM runs")
    assert (said["accepted"], said["null_accepted"]) == (0, 0.0)
