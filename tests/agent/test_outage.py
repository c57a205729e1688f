"""When no model can be asked any more, a job ends with one sentence and can be gone on with."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from exegete.agent.sitting import OUTAGE
from exegete.datastore.workspace import Workspace
from exegete.errors import LLMStop, LLMUnavailable, WorkspaceError
from exegete.llm import Request
from tests.agent import competent, planted
from tests.agent.harness import Runner, competently, results, rows, run_job, statuses
from tests.agent.processes import competent_server
from tests.provider import Act

KEY = "sk-canary-1234567890"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait for milliseconds."""
    monkeypatch.setattr("exegete.llm.retry._LONGEST_BACKOFF_S", 0.001)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_a_server_that_is_down_from_the_start(workspace: Workspace) -> None:
    """One sentence with the address, at once; nothing is written down, not even a run."""
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(LLMUnavailable, match=f"no server answers at {url} .*: start it, or correct the URL"):
        run_job(workspace, llm=f"openai:m@{url}", features="8")
    assert not workspace.labels.exists() or not rows(workspace, "SELECT * FROM store.runs")


def check_the_outage(workspace: Workspace, caught: LLMUnavailable, cause: str) -> None:
    """One sentence; a few features have failed for now, and no other that asks a model is written down."""
    assert f"{OUTAGE} features in a row got no reply" in str(caught)
    assert "run the same command to go on" in str(caught)
    assert "\n" not in str(caught)
    found = statuses(workspace)
    assert found["failed"] == OUTAGE - 1
    assert found.total() <= OUTAGE - 1 + 2, "two ask no model"
    (why,) = {row["why"] for row in rows(workspace, "SELECT why FROM outcomes WHERE status = 'failed'")}
    assert cause in why


def test_a_server_that_goes_down(workspace: Workspace) -> None:
    """With retries, and sixteen calls at once; when it is back the same command finishes the run."""
    with competent_server() as server:
        given = {"llm": f"openai:m@{server.url}/v1", "features": "4-12"}
        server.acts += [Act(status=503)] * 10_000
        with pytest.raises(LLMUnavailable) as caught:
            run_job(workspace, **given)
        check_the_outage(workspace, caught.value, "503")
        server.acts.clear()
        report = run_job(workspace, **given)
    assert (report.left, statuses(workspace)["failed"]) == (0, 0)
    assert statuses(workspace)["accepted"] == 5


def test_features_that_ask_no_model_prove_nothing(run: Runner, workspace: Workspace) -> None:
    """One call at a time: dead and unscorable features between those without reply don't hide an outage."""

    def down(request: Request) -> str:
        raise LLMUnavailable("the server is gone")

    with pytest.raises(LLMUnavailable) as caught:
        run(down, features="4-19", concurrency=1)
    check_the_outage(workspace, caught.value, "the server is gone")
    assert len(run.llm.asked) == OUTAGE


def test_an_outage_in_the_middle_costs_no_reply(run: Runner, workspace: Workspace) -> None:
    """What was answered before it is in the journal: the next sitting asks only for the rest."""
    left = [30]

    def dying(request: Request) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise LLMUnavailable("the server is gone")
        return competently(request)

    with pytest.raises(LLMUnavailable):
        run(dying, concurrency=4, features="0-12")
    first_half = [request.key for request in run.llm.asked][:30]
    run(competently, concurrency=4, features="0-12")
    second_half = [request.key for request in run.llm.asked]
    assert not set(first_half) & set(second_half)
    assert statuses(workspace)["failed"] == 0


def test_single_failures_are_no_outage(run: Runner) -> None:
    """Features of which one call fails each time are failed with the cause; the job goes on to its end."""

    too_long = [planted.TRUTH[feature] for feature in (8, 9, 10, 12, 13, 15, 16, 17, 18)]

    def flaky(request: Request) -> str:
        prompt = request.messages[0].text
        if competent.purpose_of(prompt) == "propose" and competent.explain(prompt) in too_long:
            raise LLMUnavailable("too long for this server")
        return competently(request)

    run(flaky, features="8-19", concurrency=1)
    assert statuses(run.workspace) == {"accepted": 3, "failed": len(too_long)}
    assert run.outcome(8)["why"] == "too long for this server"


def test_a_refused_key_stops_at_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """401: one sentence without the key, no retries, nothing recorded as failed, the key in no file."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    echo = {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "invalid_request_error"}}
    with competent_server() as server:
        server.acts += [Act(status=401, body=echo)] * 100
        with pytest.raises(LLMStop) as caught:
            run_job(workspace, llm=f"openai:m@{server.url}/v1", concurrency=4)
        assert len(server.asked) <= 4
        assert all(asked.headers["authorization"] == f"Bearer {KEY}" for asked in server.asked)
    assert "key was refused" in str(caught.value)
    assert KEY not in str(caught.value)
    assert statuses(workspace)["failed"] == 0
    for path in workspace.root.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_spent_account_stops_in_the_middle(run: Runner) -> None:
    """What was finished before the account was empty is recorded, q-values and all; nothing has failed."""
    left = [40]

    def spending(request: Request) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise LLMStop("the account has no credit left")
        return competently(request)

    with pytest.raises(LLMStop, match="no credit left"):
        run(spending, concurrency=3, features="0-12")
    found = statuses(run.workspace)
    assert found["failed"] == 0
    assert found["accepted"] > 0
    assert rows(run.workspace, "SELECT * FROM store.q_values")
    run(competently, concurrency=3, features="0-12")
    assert statuses(run.workspace).total() == 13


def test_a_disk_that_is_full_ends_the_sitting(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of results that can't be written ends the job with that error; with room it goes on."""
    from exegete.agent.recorder import Recorder

    def no_room(self: Recorder, *_: object) -> None:
        raise WorkspaceError("labels.duckdb can't be written (No space left on device)")

    monkeypatch.setattr("exegete.agent.recorder.FLUSH_EVERY_S", 0.02)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_write", no_room)
        with pytest.raises(WorkspaceError, match="No space left"):
            run(competently, concurrency=2, features="0-12")
    assert len(run.llm.asked) < 70, "it stopped, and did not label on without writing"
    assert statuses(run.workspace).total() == 0
    run(competently, concurrency=2, features="0-12")
    assert statuses(run.workspace).total() == 13
    assert results(run.workspace)["q_values"]


def test_nothing_is_left_open(run: Runner, workspace: Workspace) -> None:
    """After a job, however it ended, journal, evidence and labels can be opened and moved."""
    with pytest.raises(LLMStop):
        run(lambda request: (_ for _ in ()).throw(LLMStop("no")), features="8")
    moved = workspace.root.rename(workspace.root.with_name("moved"))
    open_files = [os_path for os_path in Path("/proc/self/fd").iterdir() if os_path.is_symlink()]
    names = [str(path.readlink()) for path in open_files if path.exists()]
    assert not [name for name in names if str(moved) in name]
