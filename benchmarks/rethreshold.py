"""How long it takes to see what another threshold would change, over many labels.

    python -m benchmarks.rethreshold [--features 1000000] [--thresholds 0.45 0.2] [--json]

One finished run whose intervals are .3 wide and lie evenly between 0 and 1, with a second scorer beside the
primary one and the parts of the score that a verdict looks at. Of each threshold: seconds, CPU seconds, and
how many labels would have another status. The job's own threshold is .5.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import duckdb

from benchmarks.sql import fill
from exegete.datastore.store import Store
from exegete.review.calibrating import preview

PARAMETERS = {
    "threshold": 0.5,
    "scorers": ["simulation", "detection"],
    "scorer_versions": ["simulation@1", "detection@1"],
}
_PARTS = {"r_top": 0.1, "r_sampled": -0.1, "r_random_quiet": 0.02, "r_hard_quiet": -0.05}
_DETAILS = "{{" + ", ".join(f'"{name}": {{}}' for name in _PARTS) + ', "n_sampled": 30}}'


def make(path: Path, n_features: int) -> Store:
    """A labels file with such a run."""
    fill(path, n_features)
    store = Store(path)

    def work(con: duckdb.DuckDBPyConnection) -> None:
        con.execute("UPDATE store.runs SET parameters = ?", [json.dumps(PARAMETERS)])
        con.execute(
            "UPDATE store.outcomes SET low = score - .15, high = score + .15, status = CASE "
            "WHEN score - .15 >= .5 THEN 'accepted' WHEN score + .15 < .5 THEN 'rejected' ELSE 'review' END, "
            "reasons = CASE WHEN score - .15 < .5 AND score + .15 >= .5 "
            "THEN ['interval straddles the threshold'] ELSE [] END"
        )
        parts = ", ".join(f"o.score + {by}" for by in _PARTS.values())
        con.execute(
            "UPDATE store.scores SET value = o.score, low = o.low, high = o.high, "
            f"details = format('{_DETAILS}', {parts}) "
            "FROM store.outcomes o WHERE o.label_id = scores.label_id"
        )
        con.execute(
            "INSERT INTO store.scores BY NAME SELECT * REPLACE ('detection@1' AS scorer, "
            "value / 2 + .5 AS value, low / 2 + .5 AS low, high / 2 + .5 AS high, '{}' AS details) "
            "FROM store.scores"
        )

    store.write(work)
    return store


def measure(n_features: int, thresholds: list[float]) -> dict[str, dict[str, float]]:
    """By threshold."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = make(Path(folder) / "labels.duckdb", n_features)
        for threshold in thresholds:
            began, cpu = time.perf_counter(), time.process_time()
            moved = preview(store, "r", threshold).moved
            found[f"{threshold:g}"] = {
                "seconds": time.perf_counter() - began,
                "cpu_seconds": time.process_time() - cpu,
                "moved": sum(moved.values()),
            }
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.45, 0.2])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.features, given.thresholds)
    if given.json:
        print(json.dumps(found))
        return
    for threshold, v in found.items():
        print(
            f"{v['seconds']:6.2f} s  ({v['cpu_seconds']:.2f} CPU)  {threshold}: {v['moved']:,.0f} labels move"
        )


if __name__ == "__main__":
    main()
