"""The gold set: one row a decision that stands, the same in every form, with its evidence."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError
from exegete.review.gold import COLUMNS, export_gold, gold_rows
from exegete.review.record import Act, record, undo
from tests.review.labelled import key, outcome, workspace_of

ARGILLA = ("id", "fields", "metadata", "suggestions", "responses", "vectors", "status", "_server_id")
"""Keys of `Record.to_dict()` in argilla 2.8.0 (records/_resource.py), in order."""


def example(index: int, rank: int) -> dict[str, Any]:
    """A row of `examples`."""
    return {
        **{"harvest": "h", "feature_index": index, "polarity": "+", "rank": rank, "stratum": "top"},
        **{"peak": 2.0 - rank, "weight": 1.0, "document": f"d{rank}", "context_id": rank, "start": 0},
        **{
            "text": f"=1+1 «word» {rank}",
            "words": ["=1+1", "word", str(rank)],
            "activations": [0.0, 2.0, 0.0],
        },
    }


@pytest.fixture
def decided(tmp_path: Path) -> Workspace:
    """Accepted by two, edited, rejected for a reason and in words, undone, and flagged."""
    features = [
        {
            **{"harvest": "h", "feature_index": i, "polarity": "+", "density": 0.001, "fired": 1},
            **{"maximum": 2.0, "threshold": 0.1, "metadata": None},
        }
        for i in range(6)
    ]
    workspace = workspace_of(
        tmp_path / "w",
        [outcome(i) for i in range(6)],
        features=features,
        examples=[example(0, 1), example(0, 0)],
    )

    def does(who: str, index: int, kind: str, **more: Any) -> None:
        record(workspace, Act(key(index), kind, who, f"label {index}", **more))  # type: ignore[arg-type]

    does("zoe", 0, "accept", audit=True, blind_text="my guess", seconds=12.5)
    does("ann", 0, "reject", reason="wrong")
    does("ann", 1, "edit", text="<b>better</b>", comment="=cmd()")
    does("ann", 2, "reject", text="for reasons")
    does("ann", 3, "flag")
    does("ann", 4, "accept")
    undo(workspace, "ann")
    return workspace


def test_rows_are_the_decisions_that_stand(decided: Workspace) -> None:
    """In order, with the label before and after, the evidence strongest first, and which decision holds."""
    rows = gold_rows(Store(decided.labels))
    assert [tuple(row) for row in rows] == [tuple(COLUMNS)] * 4
    told = [
        (
            r["feature_index"],
            r["reviewer"],
            r["decision"],
            r["label_after"],
            r["reason"],
            r["text"],
            r["latest"],
        )
        for r in rows
    ]
    assert told == [
        (0, "zoe", "accept", "label 0", None, None, False),
        (0, "ann", "reject", None, "wrong", None, True),
        (1, "ann", "edit", "<b>better</b>", None, None, True),
        (2, "ann", "reject", None, None, "for reasons", True),
    ]
    assert [e["document"] for e in rows[0]["excerpts"]] == ["d0", "d1"]
    assert rows[2]["excerpts"] == []
    assert (rows[0]["audit"], rows[0]["blind_text"], rows[0]["seconds"]) == (True, "my guess", 12.5)
    assert (rows[0]["layer"], rows[0]["density"], rows[0]["score_before"]) == (3, 0.001, 0.5)


def test_both_tables_hold_the_same(decided: Workspace, tmp_path: Path) -> None:
    """Parquet and JSON lines have the rows as they are, of the types that are stated, byte for byte again."""
    store = Store(decided.labels)
    rows = gold_rows(store)
    assert export_gold(store, "parquet", tmp_path / "gold.parquet") == 4
    table = pq.read_table(tmp_path / "gold.parquet")
    assert {field.name: field.type for field in table.schema} == dict(COLUMNS)
    assert table.to_pylist() == rows
    assert export_gold(store, "jsonl", tmp_path / "gold.jsonl") == 4
    lines = [json.loads(line) for line in (tmp_path / "gold.jsonl").read_text().splitlines()]
    assert lines == [row | {"reviewed_at": str(row["reviewed_at"])} for row in rows]
    export_gold(store, "jsonl", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "gold.jsonl").read_bytes()


def test_argillas_record_form(decided: Workspace, tmp_path: Path) -> None:
    """One record a label, with the keys that its SDK reads, and ids that it takes."""
    assert export_gold(Store(decided.labels), "argilla", tmp_path / "gold.json") == 3
    records = json.loads((tmp_path / "gold.json").read_text())
    assert [tuple(one) for one in records] == [ARGILLA] * 3
    first = records[0]
    assert first["fields"]["label"] == "label 0"
    assert first["fields"]["excerpts"] == "=1+1 «word» 0\n\n=1+1 «word» 1"
    assert first["suggestions"] == {"label": {"value": "label 0", "score": 0.5, "agent": "r"}}
    assert [said["value"] for said in first["responses"]["decision"]] == ["accept", "reject"]
    assert [said["value"] for said in first["responses"]["label"]] == ["label 0"]
    assert [said["value"] for said in first["responses"]["reason"]] == ["wrong"]
    assert (first["metadata"]["audit"], first["metadata"]["reviewers"]) == ("true", "zoe, ann")
    for one in records:
        assert all(isinstance(value, str) for value in one["fields"].values())
        assert all(
            value is None or isinstance(value, str | int | float) for value in one["metadata"].values()
        )
        for said in one["responses"].values():
            assert all(set(response) == {"value", "user_id"} for response in said)
            assert all(uuid.UUID(response["user_id"]) for response in said)
    assert len({one["id"] for one in records}) == 3


def test_pseudonyms(decided: Workspace, tmp_path: Path) -> None:
    """Numbers in the order of first decisions; a name is nowhere in the file."""
    store = Store(decided.labels)
    assert [row["reviewer"] for row in gold_rows(store, anonymous=True)] == [
        "reviewer 1",
        *["reviewer 2"] * 3,
    ]
    for form, name in (("jsonl", "a.jsonl"), ("argilla", "a.json"), ("parquet", "a.parquet")):
        export_gold(store, form, tmp_path / name, anonymous=True)  # type: ignore[arg-type]
        assert b"zoe" not in (tmp_path / name).read_bytes()


def test_what_can_not_be_exported(decided: Workspace, tmp_path: Path) -> None:
    """Nothing decided, a file that is there, a form that is none: a sentence, and nothing is written."""
    empty = workspace_of(tmp_path / "empty", [outcome(0)])
    with pytest.raises(UsageError, match="nothing was decided yet"):
        export_gold(Store(empty.labels), "jsonl", tmp_path / "x.jsonl")
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        export_gold(Store(decided.labels), "jsonl", tmp_path / "there")
    with pytest.raises(UsageError, match="no form 'csv'"):
        export_gold(Store(decided.labels), "csv", tmp_path / "x.csv")  # type: ignore[arg-type]
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "x.jsonl").exists()
    export_gold(Store(decided.labels), "jsonl", tmp_path / "there", overwrite=True)
    assert len((tmp_path / "there").read_text().splitlines()) == 4
