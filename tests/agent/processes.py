"""Jobs in processes of their own, so that they can be killed, stopped and crowded."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from exegete.datastore.workspace import Workspace
from tests.agent import competent
from tests.agent.harness import SMALL, known_to_be_able
from tests.forked import LIMIT_S, ROOT, Forked, run_exegete
from tests.provider import ProviderServer

__all__ = ["LIMIT_S", "ROOT"]


@contextmanager
def competent_server(delay_s: float = 0.0) -> Iterator[ProviderServer]:
    """A provider that answers as a competent model does, after a moment."""
    server = ProviderServer(lambda asked: competent.answer(asked.turns[0][1]), delay_s=delay_s)
    # On a busy machine a client may reuse a connection in the very moment an impatient server closes it:
    # its retry would be billed twice.
    server._server.config.timeout_keep_alive = 600
    with server:
        yield server


def words(workspace: Workspace, url: str, **parameters: object) -> list[str]:
    """`exegete label` with the parameters of SMALL, against a server."""
    given = SMALL | {"llm": f"openai:m@{url}/v1"} | parameters
    known_to_be_able(workspace, f"openai:m@{url}/v1")
    apart = {"top", "per_decile", "quiet", "hard"}  # in a job file
    apart |= {name for name, value in given.items() if isinstance(value, bool)}
    file = workspace.root.parent / "job.toml"
    file.write_text("".join(f"{name} = {str(given[name]).lower()}\n" for name in apart))
    options = {name: value for name, value in given.items() if name not in apart}
    kept = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["label", "--job", str(file), "--workspace", str(workspace.root), *kept]


def running(arguments: list[str], before: str = "") -> Forked:
    """`exegete` in a process of its own.

    Args:
        arguments: of the command line.
        before: Python to run first, in that process.
    """
    return Forked(run_exegete, arguments, before)


def wait_until(
    reached: Callable[[], object],
    process: Forked | None = None,
    limit_s: float = LIMIT_S,
) -> None:
    """Wait for something to be so; it is an error if a process ends first."""
    deadline = time.monotonic() + limit_s
    while not reached():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"it ended first, with {process.returncode}: {process.communicate()[1]}")
        if time.monotonic() > deadline:
            raise AssertionError("it took too long")
        time.sleep(0.001)


HOLDER = """
import duckdb, sys, time
con = None
while con is None:
    try:
        con = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "reading")
    except duckdb.IOException:  # a job is writing just now
        time.sleep(0.001)
con.execute("BEGIN"); con.execute("SELECT count(*) FROM store.outcomes")
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def held_open(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has a DuckDB file open, "reading" or "writing", as a shell left open has."""
    command = [sys.executable, "-c", HOLDER, str(path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()
