"""docs/sql.md is the contract of the public views: it names every column, and all its queries run."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from exegete.datastore.query import query
from exegete.datastore.store import Store

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
VIEWS = (
    *(
        "labels",
        "outcomes",
        "scores",
        "nulls",
        "controls",
        "examples",
        "features",
        "calls",
        "reviews",
        "runs",
        "calibrations",
    ),
)
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.S)
NOON = datetime(2026, 1, 1, 12)


def documented(view: str) -> list[tuple[str, str]]:
    """(column, type) as the page has them."""
    section = PAGE.split(f"\n## {view}\n")[1].split("\n## ")[0]
    return [(m[1], m[2]) for m in re.finditer(r"^\| (\w+) \| ([A-Z]+(?:\[\])?) \|", section, flags=re.M)]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labels file with three features, labelled by a job and scored by two scorers."""
    path = tmp_path_factory.mktemp("sql") / "labels.duckdb"
    feature = {"harvest": "h", "polarity": "+"}
    said = {"run": "night", "author": "lexical@1", "made_at": NOON}
    scores = [(32, 0.2, 0.1, 0.3), (33, 0.9, 0.8, 0.95), (34, 0.4, 0.3, 0.5)]
    Store(path).insert(
        {
            "harvests": [
                {
                    **{"harvest": "h", "subject": "m", "site": "s", "layer": 3, "dictionary": "neurons"},
                    **{"corpus": "c", "tokens": 1000, "sha256": "0", "parameters": {}},
                }
            ],
            "features": [
                {
                    **feature,
                    "feature_index": i,
                    "density": 0.01,
                    "fired": 5,
                    "maximum": 2.0,
                    "threshold": 0.1,
                    "metadata": None,
                }
                for i, *_ in scores
            ],
            "runs": [
                {
                    "run": "night",
                    "kind": "job",
                    "harvest": "h",
                    "digest": "d",
                    "parameters": {},
                    "version": "1",
                    "made_at": NOON,
                }
            ],
            "labels": [
                {
                    **feature,
                    **said,
                    "feature_index": i,
                    "label_id": str(i),
                    "round": 0,
                    "text": f"the import {i}",
                }
                for i, *_ in scores
            ],
            "scores": [
                {
                    "run": "night",
                    "label_id": str(i),
                    "scorer": scorer,
                    "split": "report",
                    "value": 0.9 if scorer.startswith("d") else value,
                    "low": low,
                    "high": high,
                    "chance": 0.0,
                    "p_value": 0.001,
                    "n_asked": 60,
                    "n_read": 60,
                    "why_none": None,
                    "details": {"auroc": 0.9},
                    "made_at": NOON,
                }
                for i, value, low, high in scores
                for scorer in ("simulation@1", "detection@1")
            ],
            "outcomes": [
                {
                    **feature,
                    **said,
                    "feature_index": i,
                    "status": "accepted" if low > 0.5 else "rejected",
                    "label_id": str(i),
                    "label": f"the import {i}",
                    "confidence": 0.5,
                    "why": "because",
                    "rounds": 1,
                    "candidates": 3,
                    "scorer": "simulation@1",
                    "score": value,
                    "low": low,
                    "high": high,
                    "chance": 0.0,
                    "p_value": 0.001,
                    "refine_score": value + 0.1,
                    "density": 0.01,
                    "maximum": 2.0,
                }
                for i, value, low, high in scores
            ],
            "q_values": [
                {
                    "run": "night",
                    "scorer": "simulation@1",
                    "feature_index": i,
                    "polarity": "+",
                    "q_value": 0.01,
                }
                for i, *_ in scores
            ],
            "nulls": [
                {
                    **feature,
                    "run": "night",
                    "feature_index": 33,
                    "kind": "another feature",
                    "text": "the import 34",
                    "of_index": 34,
                    "of_polarity": "+",
                    "scorer": "simulation@1",
                    "value": 0.1,
                    "low": 0.0,
                    "high": 0.2,
                    "p_value": 0.1,
                    "n_asked": 60,
                    "n_read": 60,
                    "why_none": None,
                    "status": "rejected",
                    "made_at": NOON,
                }
            ],
            "examples": [
                {
                    **feature,
                    "feature_index": 32,
                    "rank": 0,
                    "stratum": "top",
                    "peak": 2.0,
                    "weight": 1.0,
                    "document": "d",
                    "context_id": 1,
                    "start": 0,
                    "text": "an «import»",
                    "words": ["an", "import"],
                    "activations": [0.0, 2.0],
                }
            ],
            "calls": [
                {
                    "key": "k",
                    "run": "night",
                    "feature": "32",
                    "purpose": "propose",
                    "model": "m",
                    "served_by": "m",
                    "prompt": "p@1",
                    "sample": 0,
                    "finish": "stop",
                    "input_tokens": 10,
                    "output_tokens": 5,
                    "cached_tokens": 4,
                    "usd": None,
                    "latency_s": 0.1,
                    "attempts": 1,
                    "made_at": NOON,
                }
            ],
        }
    )
    return path


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_is_documented(view: str, labels: Path) -> None:
    """The page lists exactly the columns of a view, in order, with their types."""
    columns = Store(labels).read(f"DESCRIBE SELECT * FROM {view}")
    assert documented(view) == [(c["column_name"], c["column_type"]) for c in columns]


def test_there_are_ten_questions() -> None:
    """The page keeps its promise."""
    assert len(QUERIES) == 10


@pytest.mark.parametrize("statement", QUERIES)
def test_every_query_runs_and_finds_something(statement: str, labels: Path) -> None:
    """Each documented query runs as it stands, and has rows on a workspace with results."""
    assert query(labels, statement, 1000, 10).rows
