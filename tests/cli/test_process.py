"""The command as people start it: with a pipe, a terminal, a full disk, a job beside it."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from exegete.datastore.workspace import Workspace
from exegete.llm.record import records
from tests.agent.harness import results, rows, run_job, statuses
from tests.agent.processes import LIMIT_S, ROOT, competent_server, running, wait_until, words
from tests.cli.conftest import Cli
from tests.provider import ProviderServer


def ended(arguments: list[str], before: str = "") -> tuple[int, str, str]:
    """Run `exegete` to its end: exit code, stdout, stderr."""
    with running(arguments, before) as process:
        out, err = process.communicate()
        return process.wait(), out, err


def test_mistakes(tmp_path: Path) -> None:
    """The installed command says one line and ends with the right code."""
    exegete = Path(sys.executable).with_name("exegete")
    for arguments, code in (
        (["status", "-w", "none"], 1),
        (["sql", "-w", "none", "x", "--csv", "--json"], 2),
    ):
        done = subprocess.run(
            [exegete, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (code, "")
        assert re.fullmatch(r"exegete: [^\n]+\n", done.stderr)
    environment = os.environ | {"EXEGETE_WORKSPACE": "there"}
    done = subprocess.run(
        [exegete, "status"], cwd=tmp_path, capture_output=True, env=environment, check=False
    )
    assert (done.returncode, b"exegete: there does not exist" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves(workspace: Workspace) -> None:
    """`exegete sql … | head -1` ends quietly, whatever it was printing."""
    for form in ("--csv", "--json"):
        question = [
            "sql",
            "SELECT * FROM range(100000)",
            "--limit",
            "100000",
            form,
            "-w",
            str(workspace.root),
        ]
        command = [sys.executable, "-c", "from exegete.cli import main\nmain()", *question]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(LIMIT_S) in (0, 1)


@pytest.mark.slow
def test_a_terminal(workspace: Workspace) -> None:
    """With a terminal there is a progress bar that goes away, colours, and the cursor is there at the end."""
    ours, theirs = pty.openpty()
    program = "from exegete.cli import main\nmain()"
    arguments = ["label", "--features", "0-9", "--concurrency", "2", "-w", str(workspace.root)]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            seen += part
    os.close(ours)
    text = seen.decode()
    assert process.returncode == 0
    assert "0/10" in text
    assert "10/10" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0
    assert "\x1b[32m" in text, "accepted is green"
    assert "10 features: " in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text)


@pytest.mark.slow
def test_beside_a_running_job(cli: Cli, workspace: Workspace) -> None:
    """While a job runs, sql, status, doctor and review work, and a second job is told who runs.

    The job loses nothing by it.
    """
    with competent_server(delay_s=0.06) as server:
        arguments = words(workspace, server.url, name="night", concurrency=2, features="0-11")
        with running(arguments, "from exegete.agent import recorder\nrecorder.FLUSH_EVERY_S = 0.2") as job:
            wait_until(lambda: len(server.ledger) >= 10, job)
            counts = []
            while job.poll() is None:
                seen = cli("sql", "--json", "SELECT count(*) AS n FROM outcomes WHERE status != 'failed'")
                assert (seen.code, seen.err) == (0, "")
                counts.append(json.loads(seen.out)[0]["n"])
                status = json.loads(cli("status", "--json").out)
                if status["running_process"] is None:
                    break
                assert status["running_process"] == job.pid
                if len(counts) == 1:
                    assert f"(process {job.pid})" in cli(*arguments).complaint
                    assert cli("review", "list").code == 0
                    assert cli("doctor").code == 0
            assert job.wait(LIMIT_S) == 0, job.communicate()
    assert counts == sorted(counts)
    assert any(0 < n < 12 for n in counts), "results are seen while it runs"
    assert statuses(workspace).total() == 12
    assert rows(workspace, "SELECT 1 FROM store.outcomes GROUP BY feature_index HAVING count(*) > 1") == []


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
"""
"""Run in a process first: its files can't grow beyond so many bytes, as on a disk that is full."""


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    """A competent model with a ledger of its own."""
    with competent_server() as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(
    server: ProviderServer, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Results of the same job with room enough."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("room") / "workspace")
    run_job(Workspace.open(root), llm=f"openai:m@{server.url}/v1", name="night")
    return results(Workspace.open(root))


@pytest.mark.slow
@pytest.mark.parametrize("size", [150_000, 300_000])
def test_a_full_disk(
    server: ProviderServer, undisturbed: dict[str, list[str]], workspace: Workspace, size: int
) -> None:
    """Wherever room runs out (results, a checkpoint), the job ends with one sentence and exit 1.

    With room the same command finishes it: nothing acknowledged was lost, nothing journalled is paid twice.
    """
    begin = len(server.ledger)
    code, out, err = ended(words(workspace, server.url, name="night"), FULL.format(size=size))
    if code == 0:  # all that did not fit was a checkpoint: the rows are safe in the write-ahead log
        assert size == 300_000
        assert results(workspace) == undisturbed
    else:
        assert (code, out) == (1, "")
        # Who judges whom is said before anything is done; a busy machine may lose a connection besides.
        _, _, err = err.rpartition("of another family\n")
        err = re.sub(r"exegete: [^\n]+, and billed, all the same\n", "", err)
        assert re.fullmatch(
            r"exegete: [^\n]+File too large[^\n]+run the (same )?command again[^\n]+\n", err
        ), err
        assert statuses(workspace).total() < 20
    known = {record["messages"][-1][1] for record in records(workspace.journal)}
    middle = len(server.ledger)
    run_job(workspace, llm=f"openai:m@{server.url}/v1", name="night")
    later = {sha256(entry["asked"].encode()).hexdigest() for entry in server.ledger[middle:]}
    assert not known & later
    assert middle > begin
    assert results(workspace) == undisturbed
