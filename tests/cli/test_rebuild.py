"""`exegete doctor --rebuild`: what it says."""

from __future__ import annotations

import json

from exegete.datastore.workspace import Workspace
from tests.agent.harness import Runner, results
from tests.cli.conftest import Cli


def test_rebuild(cli: Cli, run: Runner, workspace: Workspace) -> None:
    """Every table with its rows, what is missing and why, where the old file went; JSON says the same."""
    run(features="6,8")
    before = results(workspace)
    workspace.labels.write_bytes(b"no database at all" * 1000)
    ended = cli("doctor", "--rebuild")
    assert ended.code == 0
    counts = dict(line.split() for line in ended.out.splitlines() if len(line.split()) == 2)
    assert (counts["outcomes"], counts["calls"]) == ("2", str(len(run.llm.asked)))
    assert "not restored: whatever the old file alone knew (" in ended.out
    assert "labels.duckdb is made anew; the file it replaces is" in ended.out
    assert results(workspace) == before
    facts = json.loads(cli("doctor", "--rebuild", "--json").out)
    assert facts["missing"] == []
    assert facts["rows"]["outcomes"] == 2
    assert facts["before"].endswith("labels.duckdb.before-rebuild-2")
    assert cli("doctor").code == 0


def test_while_a_job_runs(cli: Cli, run: Runner, workspace: Workspace) -> None:
    """It says who runs, and touches nothing."""
    run(features="8")
    with workspace.job_lock():
        ended = cli("doctor", "--rebuild")
    assert ended.code == 1
    assert "another job is running" in ended.complaint
    assert not list(workspace.root.glob("labels.duckdb.*"))
