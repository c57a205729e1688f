"""Shards on Ray: two actors, one of which is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exegete.datastore.database import connect
from exegete.datastore.shards import merge, open_shards
from exegete.errors import SubjectError, UsageError
from exegete.subjects import checkpoint, on_ray, reading
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.on_ray import Request, Worker, gpu_share, harvest_on_ray
from exegete.subjects.spec import HarvestSpec
from tests.subjects.tiny import WORDS

SPEC = HarvestSpec(
    site="blocks.1.hook_mlp_out", context=14, batch=5, top=4, sample=20, quiet=24, firing_quantile=0.95,
    calibration=12,
)  # fmt: skip
TABLES = ("meta", "features", "contexts", "examples", "quiet_activations")


def test_without_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where Ray is not installed, how to get it is said."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'exegete\[ray\]'"):
        harvest_on_ray(Request("s", "c", (SPEC,), tmp_path))


class FewPlaces:
    """What is used of Ray, where only so many actors find a place: the others wait until one is gone."""

    def __init__(self, places: int, gpus: int) -> None:
        self.places, self.gpus, self.alive = places, gpus, list[Any]()
        self.options: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"GPU": float(self.gpus)}

    def remote(self, _: type) -> Any:
        def options(**given: Any) -> Any:
            self.options = given
            return SimpleNamespace(remote=self._actor)

        return SimpleNamespace(options=options)

    def _actor(self) -> Any:
        actor = SimpleNamespace()
        actor.harvest = SimpleNamespace(remote=lambda _, number, of: (id(actor), f"{number}-of-{of}"))
        self.alive.append(actor)
        return actor

    def wait(self, waiting: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        placed = {id(actor) for actor in self.alive[: self.places]}
        ready = [reference for reference in waiting if reference[0] in placed][:num_returns]
        assert ready, "every place is taken by an actor that is done: this would wait for ever"
        return ready, [reference for reference in waiting if reference not in ready]

    def get(self, reference: Any) -> list[str]:
        return [reference[1]]

    def kill(self, actor: Any) -> None:
        self.alive.remove(actor)

    exceptions = SimpleNamespace(RayTaskError=RuntimeError)


def test_more_actors_than_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Actors that find no place begin when others are done; none is left, and none asks for parts of GPUs
    that don't fit on one."""
    ray = FewPlaces(places=2, gpus=2)
    monkeypatch.setattr(on_ray, "_ray", lambda: ray)
    said = list[int]()
    found = harvest_on_ray(Request("s", "c", (SPEC,), tmp_path), 5, lambda n, _: said.append(n))
    assert sorted(map(str, found)) == [f"{i}-of-5" for i in range(5)]
    assert (said, ray.alive) == ([1, 2, 3, 4, 5], [])
    assert ray.options["num_cpus"] < 1


@pytest.mark.parametrize(("gpus", "actors"), [(1, 1), (1, 3), (2, 3), (4, 4), (8, 3), (3, 8), (7, 50)])
def test_gpu_share(gpus: int, actors: int) -> None:
    """All actors fit at once, each on one GPU, and a GPU is shared only when there are fewer than actors."""
    share = gpu_share(gpus, actors)
    assert gpus * int(1 / share + 1e-9) >= actors
    assert (share == 1) == (actors <= gpus)


def test_no_gpu() -> None:
    """Where there is none, none is asked for."""
    assert gpu_share(0, 4) == 0


class Mortal(Worker):
    """An actor of small blocks, that is killed once, after its fourth checkpoint of shard 0."""

    def harvest(self, request: Request, number: int, of: int) -> list[str]:
        reading.BLOCK, checkpoint._COST = 8, 0
        plain, written = checkpoint.Checkpoints.write, 0
        marker = request.evidence.parent / "died"

        def write(self_: Any, place: Any, keepers: Any) -> None:
            nonlocal written
            plain(self_, place, keepers)
            written += 1
            if number == 0 and written == 4 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint.Checkpoints.write = write  # type: ignore[method-assign]
        try:
            return super().harvest(request, number, of)
        finally:
            (request.evidence.parent / f"{number}-wrote-{written}").touch()


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    ray.init(
        num_cpus=1,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        include_dashboard=False,
        logging_level="error",
    )
    yield
    ray.shutdown()


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with connect(path, read_only=True) as con:
        return {table: con.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster")
@pytest.mark.filterwarnings("default")
def test_a_killed_worker(
    folders: dict[str, Path],
    subjects: dict[str, HuggingFaceSubject],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An actor that is killed is started again and goes on at its checkpoint; the merger is the whole."""
    rng = np.random.default_rng(0)
    corpus = tmp_path / "c.jsonl"
    texts = [" ".join([*rng.choice(WORDS, int(rng.integers(20, 60))), str(100 + i)]) for i in range(80)]
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    monkeypatch.setattr(on_ray, "Worker", Mortal)
    monkeypatch.setattr(reading, "BLOCK", 8)
    (tmp_path / "ray").mkdir()
    evidence, said = tmp_path / "ray" / "evidence", list[tuple[int, int]]()
    request = Request(
        str(folders["gpt2"]), "c.jsonl", (SPEC,), evidence, "cpu", checkpoint_every=0, working=tmp_path
    )
    found = harvest_on_ray(request, 2, lambda n, of: said.append((n, of)))
    assert (tmp_path / "ray" / "died").exists()
    assert said == [(1, 2), (2, 2)]
    ((name, states),) = open_shards(found).items()
    merge(states, evidence)
    monkeypatch.chdir(tmp_path)
    manifest, _ = harvest(subjects["gpt2"], open_corpus("c.jsonl"), SPEC, tmp_path / "plain")
    assert manifest.name == name
    assert tables(evidence / f"{name}.duckdb") == tables(tmp_path / "plain" / f"{name}.duckdb")
    wrote = {i: int(next((tmp_path / "ray").glob(f"{i}-wrote-*")).name.split("-")[-1]) for i in (0, 1)}
    assert wrote[0] <= wrote[1] - 3  # four of its checkpoints were written before


@pytest.mark.slow
@pytest.mark.usefixtures("_cluster")
@pytest.mark.filterwarnings("default")
def test_a_fault_in_an_actor(folders: dict[str, Path], tmp_path: Path) -> None:
    """What an actor refuses is said as if it had been refused here."""
    request = Request(
        str(folders["gpt2"]), "stdlib-docs", (HarvestSpec("h.99", context=14),), tmp_path, "cpu"
    )
    with pytest.raises(SubjectError, match=r"no module 'h\.99'"):
        harvest_on_ray(request, 1)
