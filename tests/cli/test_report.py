"""`exegete report`: the page, some lines at 80 columns, and JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.report import RUN, fill
from exegete.cli import app
from exegete.datastore.workspace import Workspace
from tests.report.hostile import EVIL, poison


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a finished run in which everything happened."""
    root = tmp_path_factory.mktemp("night") / "space"
    fill(Workspace.open_or_create(root), 40)
    return root


def told(*arguments: str) -> str:
    """What a command prints."""
    found = CliRunner().invoke(app, ["report", *arguments])
    assert found.exception is None, found.output
    return found.output


def test_it_says_the_main_things(night: Path, tmp_path: Path) -> None:
    """Counts, coverage, chance, cost and what is not shown, at 80 columns, and where the page is."""
    place = tmp_path / "page.html"
    text = told("-w", str(night), "--out", str(place))
    for words in (
        "of 40 attempted features",
        "firing mass",
        "dealt at random",
        "calls",
        "what it does not show",
    ):
        assert words in text.replace("\n", " "), words
    assert str(place) in text
    assert all(len(line) <= 80 for line in text.splitlines() if str(place) not in line)
    assert place.stat().st_size > 1_000_000


def test_json_is_whole(night: Path, tmp_path: Path) -> None:
    """Every table is in it, by name, and the page is written all the same."""
    place = tmp_path / "page.html"
    found = json.loads(told("-w", str(night), "--run", RUN, "--json", "--out", str(place)))
    assert found["run"]["attempted"] == 40
    assert sum(row["features"] for row in found["tables"]["statuses"]) == 40
    assert 0 < found["coverage"]["shares"]["accepted"]["mass"]["value"] < 1
    assert found["page"] == str(place)
    assert place.exists()


def test_a_terminal_obeys_nothing(night: Path, tmp_path: Path) -> None:
    """Hostile labels and names are shown without what a terminal would obey."""
    space = Workspace.open(shutil.copytree(night, tmp_path / "space"))
    poison(space, EVIL)
    text = told("-w", str(space.root), "--out", str(tmp_path / "page.html"))
    assert "\x1b" not in text
    assert "\u202e" not in text
