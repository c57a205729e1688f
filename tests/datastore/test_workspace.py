"""A workspace folder: made, opened, refused; harvests by name; one job at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.workspace import MARKER, Workspace, parse_features
from exegete.errors import JobError, UsageError, WorkspaceBusy, WorkspaceError
from tests.datastore.streams import Seen, Sizes, build, context


def test_made_and_opened(tmp_path: Path) -> None:
    """A new or empty folder becomes a workspace, which is found again, and made only once."""
    for root in (tmp_path / "a" / "b", tmp_path / "empty"):
        if root.name == "empty":
            root.mkdir()
        made = Workspace.open_or_create(root)
        assert made.evidence.is_dir()
        assert made.journal.is_dir()
        before = (root / MARKER).stat().st_mtime_ns
        assert Workspace.open_or_create(root) == Workspace.open(root) == made
        assert (root / MARKER).stat().st_mtime_ns == before
        assert sorted(p.name for p in root.iterdir()) == ["evidence", "journal", MARKER]
        assert made.harvests() == []


def test_not_a_workspace(tmp_path: Path) -> None:
    """What is no workspace is not opened, and what holds other things is not made one; nothing is changed."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("x")
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for name, what in (
        ("file", "is a file"),
        ("other", "holds no workspace"),
        ("nowhere", "does not exist"),
        ("empty", "holds no workspace"),
    ):
        with pytest.raises(WorkspaceError, match=rf"{what}: pass --workspace"):
            Workspace.open(tmp_path / name)
    with pytest.raises(WorkspaceError, match="is a file and no workspace"):
        Workspace.open_or_create(tmp_path / "file")
    with pytest.raises(WorkspaceError, match="other things in it"):
        Workspace.open_or_create(tmp_path / "other")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_newer_layout(tmp_path: Path) -> None:
    """A workspace of a later layout is refused, by both ways in."""
    (tmp_path / MARKER).write_text(json.dumps({"exegete": "workspace", "format": 2}))
    for way in (Workspace.open, Workspace.open_or_create):
        with pytest.raises(WorkspaceError, match=r"newer exegete \(workspace format 2"):
            way(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "x"}', '{"format": null}'])
def test_a_damaged_marker(tmp_path: Path, text: str) -> None:
    """A marker that can't be read is named, and not overwritten."""
    (tmp_path / MARKER).write_text(text)
    for way in (Workspace.open, Workspace.open_or_create):
        with pytest.raises(WorkspaceError, match=rf"{MARKER} can't be read"):
            way(tmp_path)
    assert (tmp_path / MARKER).read_text() == text


def test_a_full_disk_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room for the marker, that is one sentence, and the next try makes the workspace."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(WorkspaceError, match="No space left on device"):
            Workspace.open_or_create(tmp_path / "w")
    assert Workspace.open_or_create(tmp_path / "w").harvests() == []


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace of three harvests, made in this order, and two unfinished ones."""
    space = Workspace.open_or_create(tmp_path_factory.mktemp("space") / "w")
    stream: list[Seen] = [(context(i, i % 3, f"d{i}"), {0: {0: 1.0}}) for i in range(1, 9)]
    for time, name in enumerate(("mini-l3-aa", "mini-l3", "gpt2-l5-bb")):
        build(space.evidence, stream, Sizes(1, 2, (2,) * 3, (2,) * 3), name=name).close()
        os.utime(space.evidence / f"{name}.duckdb", (10**9 + time, 10**9 + time))
    (space.evidence / "gpt2-unfinished.duckdb").write_bytes(b"x")
    (space.evidence / ".gpt2-l7.123.building").write_bytes(b"x")
    return space


@pytest.mark.parametrize(
    ("asked", "name"),
    [("gpt2", "gpt2-l5-bb"), ("bb", "gpt2-l5-bb"), ("mini-l3", "mini-l3"), ("-aa", "mini-l3-aa")],
)
def test_harvest_by_part_of_its_name(space: Workspace, asked: str, name: str) -> None:
    """A part that one name has is enough; a whole name is taken although others contain it."""
    file = space.open_evidence(asked)
    assert file.name == name
    file.close()


def test_which_harvest(space: Workspace, tmp_path: Path) -> None:
    """Several, none of that name, or none at all: each is said, with the names there are, oldest first."""
    assert space.harvests() == ["mini-l3-aa", "mini-l3", "gpt2-l5-bb"]
    for asked in (None, "l"):
        with pytest.raises(UsageError, match=r"choose one of .*: mini-l3-aa, mini-l3, gpt2-l5-bb$"):
            space.open_evidence(asked)
    with pytest.raises(UsageError, match=r"no harvest 'bert'.*it has mini-l3-aa, mini-l3, gpt2-l5-bb"):
        space.open_evidence("bert")
    with pytest.raises(UsageError, match="run `exegete harvest` first"):
        Workspace.open_or_create(tmp_path / "new").open_evidence()


def test_the_only_harvest(tmp_path: Path) -> None:
    """Where there is one harvest, it need not be named."""
    space = Workspace.open_or_create(tmp_path / "w")
    stream: list[Seen] = [(context(i, i % 3, f"d{i}"), {}) for i in range(1, 9)]
    build(space.evidence, stream, Sizes(1, 2, (2,) * 3, (2,) * 3), name="only").close()
    file = space.open_evidence()
    assert file.name == "only"
    file.close()


HOLDER = """
import sys
from pathlib import Path
from exegete.datastore.workspace import Workspace
with Workspace.open(Path(sys.argv[1])).job_lock():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that runs a job in the workspace."""
    Workspace.open_or_create(tmp_path / "w")
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "w")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_one_job_at_a_time(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    """A second job is refused and told which process runs; once that is killed, it may."""
    space = Workspace.open(tmp_path / "w")
    assert space.running_job() == holder.pid
    with pytest.raises(WorkspaceBusy, match=rf"process {holder.pid}\)"), space.job_lock():
        pass
    assert space.running_job() == holder.pid
    holder.kill()
    holder.wait()
    assert space.running_job() is None
    with space.job_lock():
        assert space.running_job() == os.getpid()
    assert space.running_job() is None


def test_a_failing_job_lets_go(tmp_path: Path) -> None:
    """The lock does not outlive what holds it, however that ends."""
    space = Workspace.open_or_create(tmp_path / "w")
    assert space.running_job() is None
    with pytest.raises(KeyboardInterrupt), space.job_lock():
        raise KeyboardInterrupt
    with space.job_lock():
        pass


@given(st.sets(st.integers(0, 3000), min_size=1, max_size=30))
def test_features_round_trip(indices: set[int]) -> None:
    """Indices written as a list of ranges and single numbers, in any order and overlapping, are read back."""
    parts, run = [], list[int]()
    for i in [*sorted(indices), 10**6]:
        if run and i != run[-1] + 1:
            parts.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]))
            run = []
        run.append(i)
    assert parse_features(",".join(parts)) == tuple(sorted(indices))
    assert parse_features(" , ".join([*reversed(parts), parts[0]])) == tuple(sorted(indices))


@pytest.mark.parametrize(
    "text", ["", "a", "-", "-3", "3-", "5-3", "1,,2", "1,", "1.5", "1-2-3", "0x1", "²", "1²", "1 2", "+1"]
)
def test_features_that_can_not_be_read(text: str) -> None:
    """Anything else is refused with the way to write it."""
    with pytest.raises(JobError, match="write 0-511, or 3,7,9, or both"):
        parse_features(text)
