"""The labels file made anew from evidence, journal and decisions: all is there again, and nobody is asked."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exegete import llm
from exegete.agent import rebuild as rebuilding
from exegete.agent.events import append, events_folder, read_events
from exegete.agent.person import score_person
from exegete.agent.rebuild import Rebuild, Rebuilt
from exegete.agent.spec import JobSpec
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import WorkspaceBusy
from exegete.llm import Request
from tests.agent.harness import SMALL, FunctionLLM, Runner, competently, results, rows, store_at
from tests.agent.planted import DEAD, SCARCE
from tests.review.deciding import decide_as_person

PARAMETERS = {k: v for k, v in SMALL.items() if k not in ("explainer", "candidates", "rounds")}
FEATURES = f"{DEAD},{SCARCE},8,10"
BESIDE = ("calls", "reviews", "runs", "harvests", "features")
"""Tables whose rows are equal with their times."""


def nobody(request: Request) -> str:
    """What answers when no call may be made."""
    raise AssertionError(f"a call was made: {request.messages[0].text[:80]}")


def rebuild(workspace: Workspace) -> Rebuilt:
    """Make the labels file anew."""
    return asyncio.run(Rebuild(workspace).run())


def everything(workspace: Workspace) -> dict[str, list[str]]:
    """All rows of all tables; times only where they have to be the same."""

    def read(con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
        found = {}
        for table in BESIDE:
            cursor = con.execute(f"SELECT * FROM store.{table}")
            names = [column[0] for column in cursor.description]
            found[table] = sorted(repr(dict(zip(names, row, strict=True))) for row in cursor.fetchall())
        return found

    return results(workspace) | store_at(workspace.labels).reading(read)


def score_own(workspace: Workspace, feature: int, text: str) -> None:
    """Score a person's label by the lexical simulator, which asks nobody."""
    spec = JobSpec(**(PARAMETERS | {"simulator": "lexical", "llm": None}))
    asyncio.run(score_person(workspace, spec, feature, "+", text, "report"))


def decide(workspace: Workspace, feature: int, decision: Any, text: str | None) -> None:
    """Decide about a label."""
    decide_as_person(workspace, feature, "+", decision, text, "ada", None)


@pytest.fixture(scope="module")
def lived_in_once(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two jobs, a part of a third, one with nulls, decisions, and a person's label."""
    workspace = Workspace.open(shutil.copytree(template, tmp_path_factory.mktemp("lived") / "workspace"))
    with pytest.MonkeyPatch.context() as patch:
        run = Runner(workspace, patch)
        run(features=FEATURES)
        decide(workspace, 8, "reject", "too broad")
        decide(workspace, 10, "edit", "mine")
        score_own(workspace, 10, "mine")
        run(features=FEATURES, threshold=0.9)
        run(explainer="lexical", llm=None, limit=2)
        run(explainer="lexical", llm=None, features="8,10", nulls=5)
    return workspace.root


@pytest.fixture
def lived_in(lived_in_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A copy of it; no call may be made in it."""
    run = Runner(Workspace.open(shutil.copytree(lived_in_once, tmp_path / "workspace")), monkeypatch)
    monkeypatch.setitem(llm.PROVIDERS, "scripted", lambda name: FunctionLLM(nobody))
    return run


def test_deleted(lived_in: Runner) -> None:
    """Deleted and rebuilt, every table has the rows it had, and no call was made."""
    before = everything(lived_in.workspace)
    assert all(found for table, found in before.items() if table not in ("experiments", "outputs"))
    outcomes = rows(lived_in.workspace, "SELECT count(*) AS n FROM outcomes")
    lived_in.workspace.labels.unlink()
    rebuilt = rebuild(lived_in.workspace)
    assert everything(lived_in.workspace) == before
    assert (rebuilt.missing, rebuilt.before) == ([], None)
    assert rebuilt.rows["outcomes"] == outcomes[0]["n"] == 12
    assert rebuilt.rows == {table: len(some) for table, some in before.items()}


@pytest.mark.parametrize("damage", ["header", "middle"])
def test_damaged(lived_in: Runner, damage: str) -> None:
    """Whatever is damaged, the old file is kept beside, and the new one has all that was there."""
    workspace = lived_in.workspace
    before = everything(workspace)
    whole = workspace.labels.read_bytes()
    at = 0 if damage == "header" else len(whole) // 3
    workspace.labels.write_bytes(whole[:at] + b"\x00" * 6_000 + whole[at + 6_000 :])
    kept = workspace.labels.read_bytes()
    rebuilt = rebuild(workspace)
    assert everything(workspace) == before
    assert rebuilt.before == workspace.root / "labels.duckdb.before-rebuild-1"
    if damage == "header":
        assert rebuilt.before.read_bytes() == kept
    assert bool(rebuilt.missing) == (damage == "header")


def test_what_people_see_is_as_before(lived_in: Runner) -> None:
    """Current labels, their status and who decided are those of before; times keep their order."""
    seen = "SELECT * EXCLUDE (labelled_at) FROM labels ORDER BY feature_index"
    before = rows(lived_in.workspace, seen)
    when = {row["run"]: row for row in rows(lived_in.workspace, "SELECT * FROM runs")}
    last = {
        (row["run"], row["feature"]): row["at"]
        for row in rows(
            lived_in.workspace, "SELECT run, feature, max(called_at) AS at FROM calls GROUP BY run, feature"
        )
    }
    lived_in.workspace.labels.unlink()
    rebuild(lived_in.workspace)
    assert rows(lived_in.workspace, seen) == before
    for row in rows(lived_in.workspace, "SELECT * FROM outcomes"):
        feature = str(row["feature_index"])
        if (row["run"], feature) in last:
            assert row["made_at"] == last[row["run"], feature]
        else:
            assert when[row["run"]]["started_at"] <= row["made_at"]
            assert row["made_at"] <= when[row["run"]]["finished_at"] + timedelta(seconds=20)


def test_a_file_from_before_there_were_events(lived_in: Runner) -> None:
    """What only a readable old file knows is noted first, once; then it can be lost too."""
    workspace = lived_in.workspace
    before = everything(workspace)
    folder = events_folder(workspace.labels)
    for path in folder.iterdir():
        path.unlink()
    assert rebuild(workspace).before == workspace.root / "labels.duckdb.before-rebuild-1"
    assert everything(workspace) == before
    noted = len(list(read_events(folder)))
    assert rebuild(workspace).before == workspace.root / "labels.duckdb.before-rebuild-2"
    assert len(list(read_events(folder))) == noted
    assert everything(workspace) == before


def test_events_that_are_there_twice(lived_in: Runner) -> None:
    """Noted twice (a commit failed and was repeated), a row is there once."""
    workspace = lived_in.workspace
    before = everything(workspace)
    for event in list(read_events(events_folder(workspace.labels))):
        if event.rows:
            append(events_folder(workspace.labels), {"rows": event.rows, "again": True})
    workspace.labels.unlink()
    rebuild(workspace)
    assert everything(workspace) == before


def test_a_call_that_is_not_in_the_journal(lived_in: Runner) -> None:
    """Its feature is left undone and counted, all others are restored, and the run can be gone on with."""
    workspace = lived_in.workspace
    before = everything(workspace)
    path = workspace.journal / "000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    hit = next(n for n, line in enumerate(lines) if b'"feature":"10"' in line)
    lines[hit] = lines[hit].replace(b'"finish":"stop"', b'"finish":"slop"')
    path.write_bytes(b"".join(lines))
    workspace.labels.unlink()
    rebuilt = rebuild(workspace)
    said = "1 features of run {}: a call of each is not in the journal; the run can be gone on with"
    runs = [row["run"] for row in rows(workspace, "SELECT run FROM runs WHERE run LIKE 'highlight%'")]
    assert rebuilt.missing[0] == "1 damaged lines of the journal are lost"
    assert set(rebuilt.missing[1:]) == {said.format(run) for run in runs}
    done = rows(workspace, "SELECT feature_index FROM outcomes WHERE run LIKE 'highlight%'")
    assert {row["feature_index"] for row in done} == {DEAD, SCARCE, 8}
    assert set(everything(workspace)["labels"]) < set(before["labels"])
    lived_in(competently, features=FEATURES)
    assert len(lived_in.llm.asked) == 1
    lived_in(features=FEATURES, threshold=0.9)
    after = everything(workspace)
    assert all(after[table] == before[table] for table in ("outcomes", "labels", "scores", "q_values"))


def test_another_version(lived_in: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose prompts or scorers are other ones now are named and left out; their calls stay."""
    workspace = lived_in.workspace
    before = everything(workspace)
    monkeypatch.setattr("exegete.simulators.sparse.VERSION", 99)
    workspace.labels.unlink()
    rebuilt = rebuild(workspace)
    assert len(rebuilt.missing) == 2
    assert all("4 features of run highlight-" in said for said in rebuilt.missing)
    assert all("(scorer_versions, simulator differ)" in said for said in rebuilt.missing)
    assert everything(workspace)["calls"] == before["calls"]
    assert everything(workspace)["runs"] == before["runs"]
    assert {row["run"][:7] for row in rows(workspace, "SELECT run FROM outcomes")} == {"lexical"}


def test_without_its_evidence(lived_in: Runner) -> None:
    """A harvest that is gone is named; calls, runs and decisions are restored all the same."""
    workspace = lived_in.workspace
    before = everything(workspace)
    for path in workspace.evidence.iterdir():
        path.unlink()
    workspace.labels.unlink()
    rebuilt = rebuild(workspace)
    assert len(rebuilt.missing) == 5
    assert all("has no harvest" in said for said in rebuilt.missing)
    after = everything(workspace)
    assert all(after[table] == before[table] for table in ("calls", "runs", "reviews"))


def test_replies_that_can_not_be_read_fail_again(run: Runner) -> None:
    """A feature that failed for what a model said fails again, in the same words."""
    run(lambda request: "I can't say", features="9")
    before = everything(run.workspace)
    run.workspace.labels.unlink()
    run.llm.answer = nobody
    assert rebuild(run.workspace).missing == []
    assert everything(run.workspace) == before
    assert rows(run.workspace, "SELECT status FROM outcomes") == [{"status": "failed"}]


def test_busy(lived_in: Runner) -> None:
    """While a job runs nothing is touched, and the sentence says who runs."""
    before = lived_in.workspace.labels.read_bytes()
    with lived_in.workspace.job_lock(), pytest.raises(WorkspaceBusy, match="another job is running"):
        rebuild(lived_in.workspace)
    assert lived_in.workspace.labels.read_bytes() == before


def test_a_decision_in_the_meantime(lived_in: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who decides and scores while it is under way finds it in the new file."""
    workspace = lived_in.workspace
    real = rebuilding.recall_run
    once: list[Callable[[], None]] = [
        lambda: decide(workspace, 8, "accept", None),
        lambda: score_own(workspace, 8, "a word"),
    ]

    async def recall_run(*arguments: Any) -> Any:
        while once:
            await asyncio.to_thread(once.pop())
        return await real(*arguments)

    monkeypatch.setattr(rebuilding, "recall_run", recall_run)
    rebuild(workspace)
    (row,) = rows(workspace, "SELECT * FROM labels WHERE feature_index = 8")
    assert (row["status"], row["reviewer"]) == ("accepted", "ada")
    assert len(rows(workspace, "SELECT * FROM scores WHERE label = 'a word' AND split = 'report'")) == 2


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize("edge", ["link", "replace", "fsync_folder"])
def test_killed(lived_in: Runner, monkeypatch: pytest.MonkeyPatch, edge: str) -> None:
    """Stopped at any step, labels.duckdb is the old file or the new one, whole; run again, it is done."""
    workspace = lived_in.workspace
    before = everything(workspace)
    old = workspace.labels.read_bytes()

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(os if edge in ("link", "replace") else rebuilding, edge, die)
        with pytest.raises(Killed):
            rebuild(workspace)
    if edge != "fsync_folder":
        assert workspace.labels.read_bytes() == old
    assert everything(workspace) == before
    rebuild(workspace)
    assert everything(workspace) == before
    assert not list(workspace.root.glob("labels.duckdb.new*"))


def test_changes_on_their_way_into_the_old_file(tmp_path: Path) -> None:
    """What DuckDB keeps beside the old file goes with it: the new one has nothing to do with it."""
    old, new = tmp_path / "labels.duckdb", tmp_path / "labels.duckdb.new"
    old.write_bytes(b"old")
    (tmp_path / "labels.duckdb.wal").write_bytes(b"changes")
    Store(new)
    content = new.read_bytes()
    kept = rebuilding.replace_keeping(old, new)
    assert kept is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "labels.duckdb",
        kept.name,
        f"{kept.name}.wal",
    ]
    assert (old.read_bytes(), kept.read_bytes()) == (content, b"old")
    assert (tmp_path / f"{kept.name}.wal").read_bytes() == b"changes"
