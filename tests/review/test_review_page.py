"""Serving the page: addresses, tokens, ports, and the work that is done beside it."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
import uvicorn

from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.cli.review_page import listening, names_of, serve, working
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.review.desk import Desk
from exegete.review.keys import Key

SERVED: dict[str, Any] = {"reviewer": "ann", "blind": False, "port": 0, "open_browser": False}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, list[socket.socket]]]:
    """What would be served, and on which sockets, if anything were."""
    found: list[tuple[Any, list[socket.socket]]] = []

    def run(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        found.append((self.config, sockets))

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return found


def test_it_listens_on_loopback_and_says_where(
    workspace: Workspace, served: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """On a port of its own choice when told 0; nothing is said of other machines."""
    serve(workspace, **SERVED, host="127.0.0.1", token=None)
    said = capsys.readouterr()
    assert said.out.startswith("http://127.0.0.1:")
    assert said.out.endswith("/ until Ctrl-C\n")
    assert said.err == ""
    ((config, (_,)),) = served
    assert (config.server_header, config.access_log) == (False, False)


@pytest.mark.parametrize("host", ["0.0.0.0", "lab.example"])
def test_beyond_loopback_it_wants_a_token(workspace: Workspace, served: list[Any], host: str) -> None:
    """Before anything listens, with what to do about it."""
    with pytest.raises(UsageError, match="--token"):
        serve(workspace, **SERVED, host=host, token=None)
    assert served == []


def test_with_a_token_it_says_what_that_means(
    workspace: Workspace, served: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The address that is printed has the token, and a sentence says who can use it."""
    serve(workspace, **SERVED, host="0.0.0.0", token="a b")
    said = capsys.readouterr()
    assert f"http://{socket.gethostname()}:" in said.out
    assert "?token=a%20b" in said.out
    assert "other machines can reach this page" in said.err
    assert len(served) == 1


def test_all_addresses_are_known_by_the_machines_names() -> None:
    """One address is one name."""
    assert names_of("10.0.0.5") == ["10.0.0.5"]
    assert socket.gethostname() in names_of("0.0.0.0")


def test_a_port_that_is_taken_ends_in_a_sentence() -> None:
    """It says which, and what to do."""
    with listening("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match=f"{port}.*--port"), listening("127.0.0.1", port):
            pass


def test_queued_work_is_done_beside_the_page(workspace: Workspace) -> None:
    """An edited label is scored as the run scored its own; leaving ends the worker."""
    asyncio.run(Job(workspace, JobSpec(features="0", name="first", nulls=0)).run())
    desk = Desk(workspace)
    desk.add_work("rescore", Key(workspace.harvests()[0], 0, "+"), "ann", "every word at all", "first")
    with working(workspace):
        deadline = time.monotonic() + 60
        while desk.work()[0].state not in ("done", "failed") and time.monotonic() < deadline:
            time.sleep(0.05)
    (work,) = desk.work()
    assert work.state == "done"
    assert work.result is not None
    assert work.result["label"] == "every word at all"
