"""Workspaces that commands make, and what is left of them when nothing came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exegete.cli.new_workspace import opened_or_made
from exegete.datastore.workspace import Workspace
from tests.cli.conftest import Cli


@pytest.mark.parametrize(
    "words",
    [
        ("harvest", "--subject", "nowhere", "--site", "h.0"),
        ("harvest", "--corpus", "nowhere.txt", "--site", "h.0"),
        ("harvest", "--dictionary", "nowhere", "--shard", "0/2"),
        ("import", "parquet", "nowhere"),
        ("import", "neuronpedia", "nowhere"),
        ("merge", "nowhere"),
    ],
)
def test_a_mistake_leaves_nothing(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Not even an empty folder, and with -v no log; a workspace that was there keeps all it had."""
    new = tmp_path / "new"
    assert cli(*words, "-w", new).complaint
    assert not new.exists()
    assert cli(*words, "-w", new, "-v").code != 0
    assert not new.exists()
    before = sorted(Workspace.open_or_create(new).root.rglob("*"))
    assert cli(*words, "-w", new).complaint
    assert {path.name for path in before} <= {path.name for path in new.rglob("*")}


def fail_in(root: Path, name: str | None = None) -> None:
    """Write a file in a workspace, if one is named, and fail there."""
    with opened_or_made(root) as space:
        if name is not None:
            (space.root / name).write_text("something")
        raise KeyboardInterrupt


def test_what_is_begun_stays(tmp_path: Path) -> None:
    """With any evidence, a checkpoint too, or with anything else in it, the workspace is kept."""
    for root, name in ((tmp_path / "one", "evidence/.work-1"), (tmp_path / "other", "mine.txt")):
        with pytest.raises(KeyboardInterrupt):
            fail_in(root, name)
        assert Workspace.open(root).root == root
        assert (root / name).read_text() == "something"


def test_others_who_use_it_keep_it(tmp_path: Path) -> None:
    """Of two commands that begin in a new workspace, the one that fails takes nothing from the other."""
    root = tmp_path / "w"
    with pytest.raises(KeyboardInterrupt):
        fail_in(root)
    assert not root.exists()
    with opened_or_made(root) as kept:
        with pytest.raises(KeyboardInterrupt):
            fail_in(root)
        assert Workspace.open(root) == kept
    assert Workspace.open(root) == kept
