"""How long questions to a million labelled features take.

    python -m benchmarks.sql [--features 1000000] [--json]

Each query is asked twice through `exegete.datastore.query`, which opens and closes the file; the second time
is reported (the operating system has the file in memory, as it has after a night's job).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import duckdb

from exegete.datastore.query import query
from exegete.datastore.store import Store

QUESTIONS = {
    "filter and sort by score": "SELECT feature_index, label, score, low, high FROM labels "
    "WHERE status = 'accepted' AND score > 0.5 ORDER BY score DESC LIMIT 20",
    "filter by q and density, sort by p": "SELECT feature_index, label, score, q_value FROM labels "
    "WHERE q_value < 0.05 AND density < 0.005 ORDER BY p_value LIMIT 20",
    "search in labels": "SELECT * FROM labels WHERE label LIKE '%777%' ORDER BY score DESC LIMIT 20",
    "count by status": "SELECT status, count(*), avg(score) FROM labels GROUP BY status",
    "the review queue": "SELECT * FROM labels WHERE status = 'review' ORDER BY confidence LIMIT 20",
}


def fill(path: Path, n_features: int) -> None:
    """A labels file with one finished run over n_features features."""

    def work(con: duckdb.DuckDBPyConnection) -> None:
        i = f"FROM range({n_features}) t(i)"
        con.execute(
            "INSERT INTO store.harvests VALUES ('h', 's', 'site', 3, 'neurons', 'c', 1, 'x', '{}', 'harvest')"
        )
        con.execute(
            f"INSERT INTO store.features SELECT 'h', i, '+', hash(i) % 1000 / 1e5, 5, 1, .1, NULL {i}"
        )
        con.execute(
            f"INSERT INTO store.labels SELECT 'r', md5(i::VARCHAR)[:16], 'h', i, '+', 0, "
            f"'words such as ' || i, 'lexical@1', now()::TIMESTAMP, [] {i}"
        )
        con.execute(
            f"INSERT INTO store.scores SELECT 'r', md5(i::VARCHAR)[:16], 'simulation@1', 'report', "
            f"hash(i) % 1000 / 1e3, .1, .2, 0, .001, 60, 60, NULL, NULL, now()::TIMESTAMP {i}"
        )
        con.execute(
            "INSERT INTO store.outcomes SELECT 'r', 'h', i, '+', "
            "['accepted', 'review', 'rejected'][1 + i % 3], md5(i::VARCHAR)[:16], 'words such as ' || i, "
            "'lexical@1', hash(i + 1) % 1000 / 1e3, 'why', 1, 3, "
            f"'simulation@1', hash(i) % 1000 / 1e3, .1, .2, 0, hash(i + 2) % 1000 / 1e3, .3, "
            f"hash(i) % 1000 / 1e5, 2, now()::TIMESTAMP, ['hard quiet'][:i % 2], [], 'family' {i}"
        )
        con.execute(
            "INSERT INTO store.q_values SELECT 'r', 'simulation@1', i, '+', hash(i + 2) % 1000 / 1e3, NULL, "
            f"i % 3 {i}"
        )

    Store(path).write(work)


def measure(n_features: int) -> dict[str, float]:
    """Seconds a question."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.duckdb"
        fill(path, n_features)
        seconds = {}
        for name, statement in QUESTIONS.items():
            for _ in range(2):
                began = time.perf_counter()
                query(path, statement, 1000, 60)
                seconds[name] = time.perf_counter() - began
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    seconds = measure(given.features)
    if given.json:
        print(json.dumps(seconds))
        return
    for name, value in seconds.items():
        print(f"{value:6.2f} s  {name}")


if __name__ == "__main__":
    main()
