"""`exegete review …`: what the subcommands say, as tables and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exegete.datastore.workspace import Workspace
from exegete.review.record import Act, record
from tests.cli.conftest import Cli
from tests.review.labelled import SCORER, key, outcome, workspace_of
from tests.review.test_calibrating import score_row


@pytest.fixture
def reviewed(tmp_path: Path) -> Workspace:
    """Sixty labels of rising score; the random cards among them were accepted from .5 on, by ann."""
    values = [i / 60 for i in range(60)]
    workspace = workspace_of(
        tmp_path / "reviewed",
        [
            outcome(i, score=v, low=v - 0.05, high=v + 0.05, confidence=v, label=f"label <{i}>")
            for i, v in enumerate(values)
        ],
        scores=[score_row(i, SCORER, v, 0.05) for i, v in enumerate(values)],
        reviews=[
            {
                **{"harvest": "h", "feature_index": i, "polarity": "+", "reviewer": "ann", "run": "r"},
                **{"decision": "accept" if i >= 30 else "reject", "label_before": f"label <{i}>"},
                **{"event": str(i), "audit": i % 2 == 0, "made_at": outcome(0)["made_at"].replace(minute=i)},
            }
            for i in range(60)
        ],
    )
    for i in (40, 41, 42, 10):
        record(workspace, Act(key(i), "reject" if i == 42 else "accept", "bob", f"label <{i}>"))
    return workspace


def test_undo_and_redo(cli: Cli, reviewed: Workspace) -> None:
    """The latest of one's own, said with how the feature stands now; and when there is nothing."""
    place = ("-w", reviewed.root)
    cli("review", "reject", 0, "--reason", "too broad", "--reviewer", "eve", *place)
    assert cli("review", "undo", "--reviewer", "eve", *place).out == "feature 0: rejected, label <0>\n"
    assert cli("review", "undo", "--reviewer", "eve", *place).out == "there is nothing to undo\n"
    assert cli("review", "redo", "--reviewer", "eve", *place).out == "feature 0: rejected, label <0>\n"
    assert cli("review", "redo", "--reviewer", "eve", *place).out == "there is nothing to redo\n"
    (row,) = json.loads(
        cli("sql", "--json", "SELECT reason, text FROM reviews WHERE reviewer = 'eve' AND stands", *place).out
    )
    assert row == {"reason": "too broad", "text": None}


def test_agreement(cli: Cli, reviewed: Workspace) -> None:
    """Of two people over the labels both decided, with what waits for a third."""
    place = ("-w", reviewed.root)
    told = cli("review", "agreement", *place)
    assert "kappa, ann and bob" in told.out
    assert "2 features wait for a third decision" in told.out
    facts = json.loads(cli("review", "agreement", "--json", *place).out)
    assert (facts["alpha"]["n"], facts["same"], facts["disagreements"]) == (4, 0.5, 2)
    assert facts["kappa"][0]["reviewers"] == ["ann", "bob"]
    listed = json.loads(cli("review", "list", "--which", "disagreements", "--json", *place).out)
    assert {row["feature_index"] for row in listed} == {10, 42}


def test_calibration(cli: Cli, reviewed: Workspace) -> None:
    """Rates by band, the threshold and what it would change; nothing changes until it is applied."""
    place = ("-w", reviewed.root)
    told = cli("review", "calibration", "--rate", 0.9, *place)
    assert told.code == 0, told.err
    assert "confidence is mapped: 15 of 30 random cards were right" in told.out
    assert "90% are accepted from a threshold of .4" in told.out
    facts = json.loads(cli("review", "calibration", "--json", "--threshold", 0.2, *place).out)
    assert sum(band["n"] for band in facts["bands"]) == 30
    assert facts["mapped_by"] == {"source": "audit", "n": 30, "n_right": 15}
    assert facts["change"]["decided"] == 60
    assert facts["change"]["moved"] == []
    assert json.loads(cli("sql", "--json", "SELECT * FROM runs", *place).out)
    applied = cli("review", "calibration", "--threshold", 0.2, "--apply", "--reviewer", "ann", *place)
    assert "and are changed" in applied.out
    assert "give it" in cli("review", "calibration", "--apply", *place).complaint
    assert "is no share" in cli("review", "calibration", "--rate", 95, *place).complaint


def test_export(cli: Cli, reviewed: Workspace, tmp_path: Path) -> None:
    """A file in the form that was asked for, and how many are in it."""
    place = ("-w", reviewed.root)
    made = cli(
        "review", "export", "--format", "jsonl", "--out", tmp_path / "gold.jsonl", "--anonymous", *place
    )
    assert "64 decisions" in made.out.replace("\n", " ")
    lines = (tmp_path / "gold.jsonl").read_text().splitlines()
    assert {json.loads(line)["reviewer"] for line in lines} == {"reviewer 1", "reviewer 2"}
    again = cli("review", "export", "--out", tmp_path / "gold.jsonl", *place)
    assert "there already" in again.complaint


def test_lists(cli: Cli, reviewed: Workspace) -> None:
    """Filters and queues of the command line are the queue's; what was dealt at random is not told."""
    place = ("-w", reviewed.root)
    assert cli("review", "list", *place).out == "nothing waits for review\n"
    assert cli("review", "list", "--which", "flagged", *place).out == "the queue is empty\n"
    record(reviewed, Act(key(7), "edit", "eve", "label <7>", text="a long label " * 20))
    told = cli("review", "list", "--which", "all", "--search", 7, "--limit", 1, *place).out
    assert told.count("\n") < 12  # labels are cut, as in the report
    assert "…" in told
    cli("review", "undo", "--reviewer", "eve", *place)
    found = json.loads(cli("review", "list", "--which", "all", "--limit", 5, "--json", *place).out)
    assert len(found) == 5
    assert "audit" not in found[0]
    sql = "SELECT 7 AS feature_index"
    (row,) = json.loads(cli("review", "list", "--sql", sql, "--json", *place).out)
    assert (row["feature_index"], row["label"]) == (7, "label <7>")
