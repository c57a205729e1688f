"""Scoring that stops early, in whole jobs: fewer calls for the same verdicts, and what was saved is known."""

from __future__ import annotations

import asyncio
import json

import pytest

from exegete.agent.job import JobReport
from exegete.agent.parts import open_parts, opened_evidence
from exegete.agent.person import score_person
from exegete.agent.saved import saved_by
from exegete.agent.spec import JobSpec
from exegete.datastore.workspace import Workspace
from exegete.errors import JobError
from exegete.llm import LLM
from tests.agent.harness import SMALL, FunctionLLM, Runner, competently, rows, statuses, store_at
from tests.agent.planted import TRUTH

FEATURES = "0-4"
LARGE = {"top": 10, "per_decile": 3, "quiet": 20, "hard": 10, "features": FEATURES, "rounds": 0, "nulls": 0}
"""Report sets of three or four calls."""


class OneModel:
    """Opens the same model under any name."""

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        return FunctionLLM(competently), "scripted:function"


def examined(run: Runner, name: str, **parameters: object) -> tuple[JobReport, int]:
    """A job's report, and how many excerpts its labels were asked about on the report split."""
    report = run(competently, name=name, **(LARGE | parameters))
    (asked,) = rows(
        run.workspace,
        f"SELECT sum(n_asked) AS n FROM scores WHERE run = '{name}' AND split = 'report' "
        "AND scorer LIKE 'simulation%'",
    )
    return report, int(asked["n"])


def test_fewer_calls_for_the_same_verdicts(run: Runner) -> None:
    """Where all of it is clear, a job that stops early asks less, and concludes the same of every feature."""
    _, in_full = examined(run, "full", stop_early=False)
    expected = rows(run.workspace, "SELECT feature_index, status FROM outcomes WHERE run = 'full' ORDER BY 1")
    calls = run.llm.count("simulate")
    _, asked = examined(run, "early", stop_early=None)
    found = rows(run.workspace, "SELECT feature_index, status FROM outcomes WHERE run = 'early' ORDER BY 1")
    assert found == expected
    assert {row["status"] for row in found} == {"accepted", "rejected"}
    assert asked < 0.8 * in_full
    assert run.llm.count("simulate") < calls
    scores = rows(
        run.workspace, "SELECT n_asked, details FROM scores WHERE run = 'early' AND split = 'report'"
    )
    planned = [json.loads(row["details"])["n_planned"] for row in scores]
    assert all(row["n_asked"] <= n for row, n in zip(scores, planned, strict=True))
    assert saved_by(store_at(run.workspace.labels), "full") is None
    saved = saved_by(store_at(run.workspace.labels), "early")
    assert saved is not None
    assert (saved.planned, saved.asked) == (in_full, asked)
    spent = rows(
        run.workspace,
        "SELECT sum(input_tokens + output_tokens) AS n FROM calls WHERE run = 'early' AND stage = 'report'",
    )[0]["n"]
    assert saved.tokens == pytest.approx(spent * (in_full - asked) / asked, abs=1)


def test_a_persons_label_stops_where_a_jobs_does(run: Runner) -> None:
    """The same words are asked about the same excerpts, and score the same, whoever says them."""
    examined(run, "early", stop_early=None)
    job = {
        s.pop("scorer"): s
        for s in rows(
            run.workspace,
            "SELECT * FROM scores WHERE run = 'early' AND split = 'report' AND feature_index = 1",
        )
    }
    spec = JobSpec(**({k: v for k, v in (SMALL | LARGE).items() if k != "rounds"} | {"stop_early": None}))
    mine = asyncio.run(score_person(run.workspace, spec, 1, "+", TRUTH[1], "report"))
    for score in mine.scores:
        assert (score.value, score.low, score.n_asked) == tuple(
            job[score.scorer][name] for name in ("value", "low", "n_asked")
        )
    assert mine.scores[0].n_asked < mine.scores[0].details["n_planned"]


def test_a_run_goes_on_as_it_began(run: Runner) -> None:
    """A run that stops early can't be gone on with by one that does not."""
    run(name="night", limit=2, stop_early=None)
    before = statuses(run.workspace)
    with pytest.raises(JobError, match="stop_early changed"):
        run(name="night", stop_early=False)
    assert statuses(run.workspace) == before
    run(name="night", stop_early=True, limit=1)
    assert statuses(run.workspace).total() == before.total() + 1


@pytest.mark.parametrize(
    ("given", "stops"),
    [
        ({}, True),
        ({"batch": True}, False),
        ({"batch": True, "stop_early": True}, True),
        ({"stop_early": False}, False),
        ({"simulator": "lexical"}, False),
        ({"simulator": "lexical", "stop_early": True}, True),
    ],
)
def test_where_calls_cost(workspace: Workspace, given: dict[str, object], stops: bool) -> None:
    """Unless told, a job stops early where its simulator asks a model at once; what it does is frozen."""
    with opened_evidence(workspace, None) as evidence:
        parts = open_parts(JobSpec.model_validate(SMALL | {"stop_early": None} | given), evidence, OneModel())
        assert parts.frozen()["stop_early"] is stops
        assert (parts.examiner().looks is not None) is stops
