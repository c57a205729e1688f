"""How long the review page's server takes for a card while a job writes, and what a card weighs.

    python -m benchmarks.review [--features 20000] [--labels 1000000] [--cards 100] [--json]

Two workspaces: one with evidence for every feature, one with labels alone. In each, another process writes
a batch of finished features once a second, as a job does. Cards are asked for through the whole application
but the socket, in two ways: one after the other in the queue's order, with a pause in which the next ones are
made as they are while a person reads; and any cards of the workspace, which no page was prepared for, after
pauses of any length up to that one, so that some come in the middle of what is made ahead. The CPU time of
the server a card, all its threads' and what they make ahead, is the steadier figure on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from starlette.testclient import TestClient

from benchmarks.sql import fill
from exegete.agent.spec import JobSpec
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import WorkspaceBusy
from exegete.review.app import create_app

VOCABULARY, CONTEXTS, LENGTH = 5000, 8000, 64
BATCH = 20
"""Features a second that the other process finishes."""
PAUSE_S = 0.5
"""Between two cards of the queue; people take longer."""


def write_activations(folder: Path, n_features: int) -> None:
    """Features that fire on one word each, several on the same, with strengths of a gamma distribution."""
    rng = np.random.default_rng(0)
    words = np.array([f" word{i}" for i in range(VOCABULARY)])
    ids = rng.integers(0, VOCABULARY, (CONTEXTS, LENGTH))
    row, position = np.divmod(np.arange(CONTEXTS * LENGTH), LENGTH)
    each = n_features // VOCABULARY
    feature = np.concatenate([ids.ravel() + VOCABULARY * k for k in range(each)])
    activation = rng.gamma(2.0, 1.0, len(feature))
    folder.mkdir(parents=True)
    contexts = {
        "context_id": np.arange(CONTEXTS),
        "document": [f"d{i // 4}" for i in range(CONTEXTS)],
        "tokens": pa.array([words[one].tolist() for one in ids], pa.list_(pa.string())),
    }
    pq.write_table(pa.table(contexts), folder / "contexts.parquet")
    fired = {
        "feature": feature.astype(np.int32),
        "context_id": np.tile(row, each),
        "position": np.tile(position, each).astype(np.int32),
        "activation": activation.astype(np.float32),
    }
    pq.write_table(pa.table(fired), folder / "activations.parquet")


def make(root: Path, n_features: int, *, evidence: bool) -> Workspace:
    """A workspace with a finished run over so many features, with their evidence or without."""
    space = Workspace.open_or_create(root / "workspace")
    fill(space.labels, n_features)
    if not evidence:
        return space
    write_activations(root / "synthetic", n_features)
    manifest, _ = import_parquet(root / "synthetic", ImportSpec(), space.evidence)
    parameters = json.dumps(JobSpec().frozen(harvest=manifest.name, simulator="lexical@1"))

    def work(con: duckdb.DuckDBPyConnection) -> None:
        for table in ("harvests", "features", "labels", "outcomes", "runs"):
            con.execute(f"UPDATE store.{table} SET harvest = ?", [manifest.name])
        text = f"""'the word "word' || feature_index % {VOCABULARY} || '"'"""
        con.execute(f"UPDATE store.labels SET text = {text}")
        con.execute(f"UPDATE store.outcomes SET label = {text}")
        con.execute("UPDATE store.runs SET parameters = ?", [parameters])

    Store(space.labels).write(work)
    return space


def write_on(root: Path, first: int, stop: Event) -> None:
    """Finish features, a batch a second."""
    store = Store(Workspace.open(root).labels)
    while not stop.wait(1.0):

        def work(con: duckdb.DuckDBPyConnection, first: int = first) -> None:
            for table in ("labels", "outcomes"):
                con.execute(
                    f"INSERT INTO store.{table} BY NAME SELECT o.* EXCLUDE (feature_index, made_at), "
                    f"{first} + i AS feature_index, now()::TIMESTAMP AS made_at "
                    f"FROM (SELECT * FROM store.{table} LIMIT 1) o, range({BATCH}) n(i)"
                )

        with suppress(WorkspaceBusy):  # a job keeps its rows for the next time
            store.write(work)
            first += BATCH


@contextmanager
def written_to(space: Workspace, first: int) -> Iterator[None]:
    """Another process writes meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    stop = spawn.Event()
    writer = spawn.Process(target=write_on, args=(space.root, first, stop))
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def cards(space: Workspace, n_features: int, n_cards: int) -> dict[str, float]:
    """Milliseconds a card, and bytes."""
    (harvest,) = (row["harvest"] for row in Store(space.labels).read("SELECT harvest FROM store.harvests"))
    rng = np.random.default_rng(1)
    pauses = rng.uniform(0, PAUSE_S, n_cards)
    with TestClient(create_app(space, reviewer="bench"), base_url="http://127.0.0.1") as client:
        began = time.perf_counter()
        client.get("/").raise_for_status()
        queue_s = time.perf_counter() - began
        client.get(f"/card/{harvest}/0+").raise_for_status()
        time.sleep(5)  # neighbours are worked out once
        weight, at_once, cpu = 0, [], time.process_time()
        for index, pause in zip(rng.choice(n_features, n_cards, replace=False).tolist(), pauses, strict=True):
            time.sleep(pause)
            seconds, page = _timed(client, f"/card/{harvest}/{index}+")
            at_once.append(seconds)
            weight = max(weight, len(page.encode()))
        cpu = (time.process_time() - cpu) / n_cards
        address, in_turn = f"/card/{harvest}/0+", []
        for _ in range(n_cards):
            seconds, page = _timed(client, address)
            in_turn.append(seconds)
            address = page.partition('data-next="')[2].partition('"')[0].replace("&amp;", "&")
            time.sleep(PAUSE_S)
        static = sum(len(client.get(f"/static/review.{kind}").content) for kind in ("css", "js"))
    return {
        "first queue, ms": 1000 * queue_s,
        **_percentiles("in turn", in_turn[1:]),
        **_percentiles("any", at_once),
        "any, CPU, ms": 1000 * cpu,
        "heaviest card, kB": weight / 1000,
        "style and script, kB": static / 1000,
    }


def _timed(client: TestClient, address: str) -> tuple[float, str]:
    began = time.perf_counter()
    answer = client.get(address)
    seconds = time.perf_counter() - began
    answer.raise_for_status()
    return seconds, answer.text


def _percentiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.percentile(seconds, [50, 95])
    return {f"{name}, p50, ms": 1000 * p50, f"{name}, p95, ms": 1000 * p95}


def measure(n_features: int, n_labels: int, n_cards: int) -> dict[str, dict[str, float]]:
    """Both workspaces, one after the other."""
    found: dict[str, dict[str, float]] = {}
    for n, evidence in ((n_features, True), (n_labels, False)):
        if not n:
            continue
        with tempfile.TemporaryDirectory() as folder:
            space = make(Path(folder), n, evidence=evidence)
            with written_to(space, n):
                name = f"{n:,} features with evidence" if evidence else f"{n:,} labels"
                found[name] = cards(space, n, n_cards)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--features", type=int, default=20_000, help="with evidence; 0 leaves them out")
    parser.add_argument("--labels", type=int, default=1_000_000, help="without; 0 leaves them out")
    parser.add_argument("--cards", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: dict[str, Any] = measure(given.features, given.labels, given.cards)
    if given.json:
        print(json.dumps(found))
        return
    for workspace, values in found.items():
        print(workspace)
        for name, value in values.items():
            print(f"{value:8.1f}  {name}")


if __name__ == "__main__":
    main()
