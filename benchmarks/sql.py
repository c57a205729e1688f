"""How long questions to a million labelled features take, and handing them on.

    python -m benchmarks.sql [--features 1000000] [--json]

Each query is asked twice through `exegete.datastore.query`, which opens and closes the file; the second time
is reported (the operating system has the file in memory, as it has after a night's job). Exports and
snapshots run in a process each, whose peak memory is reported; DuckDB's own COPY of the view `labels` to
Parquet, in a process of its own, is what they are compared with. The features have no excerpts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from exegete.datastore.database import connect
from exegete.datastore.export_choice import Choice
from exegete.datastore.export_neuronpedia import export_neuronpedia
from exegete.datastore.export_tables import export_table
from exegete.datastore.frozen import frozen
from exegete.datastore.query import query
from exegete.datastore.snapshot import take_snapshot
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace

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
    of = f"'h' AS harvest, i AS feature_index, '+' AS polarity FROM range({n_features}) t(i)"
    said = "'r' AS run, 'lexical@1' AS author, now()::TIMESTAMP AS made_at, md5(i::VARCHAR)[:16] AS label_id"
    numbers = "hash(i) % 1000 / 1e3 AS {}, .1 AS low, .2 AS high, 0 AS chance, {} AS p_value"
    rows = {
        "harvests": "'h' AS harvest, 's' AS subject, 'site' AS site, 3 AS layer, 'neurons' AS dictionary, "
        "'c' AS corpus, 1 AS tokens, 'x' AS sha256, '{}' AS parameters, 'harvest' AS kind",
        "runs": "'r' AS run, 'job' AS kind, 'h' AS harvest, 'd' AS digest, '{}' AS parameters, "
        "'1' AS version, now()::TIMESTAMP AS made_at",
        "features": "hash(i) % 1000 / 1e5 AS density, 5 AS fired, 1 AS maximum, .1 AS threshold, " + of,
        "labels": f"{said}, 0 AS round, 'words such as ' || i AS text, {of}",
        "scores": "'r' AS run, md5(i::VARCHAR)[:16] AS label_id, i AS feature_index, "
        f"'simulation@1' AS scorer, 'report' AS split, {numbers.format('value', '.001')}, "
        "60 AS n_asked, 60 AS n_read, now()::TIMESTAMP AS made_at "
        f"FROM range({n_features}) t(i)",
        "outcomes": f"{said}, ['accepted', 'review', 'rejected'][1 + i % 3] AS status, 'why' AS why, "
        "'words such as ' || i AS label, hash(i + 1) % 1000 / 1e3 AS confidence, 1 AS rounds, "
        f"3 AS candidates, 'simulation@1' AS scorer, {numbers.format('score', 'hash(i + 2) % 1000 / 1e3')}, "
        ".3 AS refine_score, hash(i) % 1000 / 1e5 AS density, 2 AS maximum, "
        "['hard quiet'][:i % 2] AS reasons, [] AS senses, "
        f"'family' AS independence, {of}",
        "q_values": "'r' AS run, 'simulation@1' AS scorer, hash(i + 2) % 1000 / 1e3 AS q_value, "
        f"i % 3 AS twins, i AS feature_index, '+' AS polarity FROM range({n_features}) t(i)",
    }

    def work(con: duckdb.DuckDBPyConnection) -> None:
        for table, select in rows.items():
            con.execute(f"INSERT INTO store.{table} BY NAME SELECT {select}")

    Store(path).write(work)


def plain_copy(space: Workspace, out: Path) -> None:
    """What DuckDB takes by itself, under the same settings."""
    with connect(space.labels, read_only=True) as con:
        con.execute("SET enable_progress_bar = false")
        con.execute(f"COPY (SELECT * FROM labels) TO '{out}' (FORMAT parquet)")


def freeze(space: Workspace, out: Path) -> None:
    """How long a job is held up, at most: the file is copied."""
    with frozen(Store(space.labels), out.parent):
        pass


HANDED_ON: dict[str, Callable[[Workspace, Path], Any]] = {
    "COPY by DuckDB": plain_copy,
    "the copy that holds the file": freeze,
    "export parquet": lambda s, out: export_table(Store(s.labels), Choice(), "parquet", out, overwrite=True),
    "export jsonl": lambda s, out: export_table(Store(s.labels), Choice(), "jsonl", out, overwrite=True),
    "export csv": lambda s, out: export_table(Store(s.labels), Choice(), "csv", out, overwrite=True),
    "export neuronpedia": lambda s, out: export_neuronpedia(
        s, Store(s.labels), Choice(), out, overwrite=True
    ),
    "snapshot FILE.duckdb": lambda s, out: take_snapshot(
        Store(s.labels), out.with_suffix(".duckdb"), overwrite=True
    ),
    "snapshot FOLDER": lambda s, out: take_snapshot(Store(s.labels), out, overwrite=True),
}


def hand_on(root: Path, name: str, answer: Any) -> None:
    """Do one of them, and send its seconds and this process's peak memory in MB."""
    space = Workspace.open(root)
    began = time.perf_counter()
    HANDED_ON[name](space, root / name.replace(" ", "-"))
    seconds = time.perf_counter() - began
    # Not getrusage, whose peak a new process takes over from the one that started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (peak,) = (int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    answer.send((seconds, peak))


def measure(n_features: int) -> dict[str, dict[str, float]]:
    """Seconds a question; seconds, peak memory and the ratio to DuckDB's own COPY of what hands labels on."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace.open_or_create(Path(folder) / "w")
        fill(space.labels, n_features)
        for name, statement in QUESTIONS.items():
            for _ in range(2):
                began = time.perf_counter()
                query(space.labels, statement, 1000, 60)
                found[name] = {"seconds": time.perf_counter() - began}
        context = multiprocessing.get_context("spawn")
        for name in HANDED_ON:
            receiving, sending = context.Pipe(duplex=False)
            process = context.Process(target=hand_on, args=(space.root, name, sending))
            process.start()
            seconds, peak = receiving.recv()
            process.join()
            alone = found["COPY by DuckDB"]["seconds"] if "COPY by DuckDB" in found else seconds
            found[name] = {"seconds": seconds, "peak_mb": peak, "ratio": seconds / alone}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.features)
    if given.json:
        print(json.dumps(found))
        return
    for name, values in found.items():
        more = f"  {values['peak_mb']:5.0f} MB  {values['ratio']:4.1f} x COPY" if "ratio" in values else ""
        print(f"{values['seconds']:6.2f} s  {name:36}{more}")


if __name__ == "__main__":
    main()
