"""The shards of a harvest on Ray: one actor a shard, each with a GPU where there are any.

An actor that dies, with its machine or without, is started again elsewhere and goes on at its last
checkpoint. The folder of evidence has to be one that all of them see. Ray is the extra `ray`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exegete.errors import UsageError
from exegete.subjects.checkpoint import EVERY
from exegete.subjects.spec import HarvestSpec, Shard

_CPUS = 0.5
"""What an actor asks Ray for beside its GPU: less than one, so that two fit on the smallest machine."""


@dataclass(frozen=True, slots=True)
class Request:
    """What every actor is asked to do; each opens its own model."""

    subject: str
    corpus: str
    specs: tuple[HarvestSpec, ...]
    evidence: Path
    """The folder of evidence, absolute."""
    device: str | None = None
    dtype: str | None = None
    prepend_bos: bool | None = None
    checkpoint_every: float = EVERY
    """Seconds between checkpoints."""
    working: Path = Path()
    """The folder that relative names of models and texts start at."""


class Worker:
    """An actor: harvests shards."""

    def pid(self) -> int:
        """Its process."""
        return os.getpid()

    def harvest(self, request: Request, number: int, of: int) -> list[str]:
        """Harvest one shard of every harvest asked for; their folders."""
        from exegete.subjects.corpora import open_corpus
        from exegete.subjects.harvest import harvest_shard
        from exegete.subjects.huggingface import open_subject

        os.chdir(request.working)
        subject = open_subject(request.subject, request.device, request.dtype, request.prepend_bos)
        made = harvest_shard(
            subject,
            open_corpus(request.corpus),
            request.specs,
            request.evidence,
            Shard(number, of),
            checkpoint_every=request.checkpoint_every,
        )
        return [str(folder) for folder, _ in made]


def harvest_on_ray(
    request: Request,
    n_workers: int | None = None,
    on_done: Callable[[int, int], None] = lambda _a, _b: None,
) -> list[Path]:
    """Harvest all shards of a corpus, one an actor.

    Args:
        request: what to harvest.
        n_workers: actors, and shards; None takes as many as the cluster has GPUs, or two.
        on_done: told how many of how many shards are done.

    Returns:
        The shards' folders, to be merged.

    Raises:
        UsageError: Ray is not installed.
        ExegeteError: as `harvest_shard`.
    """
    ray = _ray()
    if not ray.is_initialized():
        # A running cluster is found by its address in the environment; else one is started here.
        ray.init(log_to_driver=False, include_dashboard=False, logging_level="error")
    n_gpus = int(ray.cluster_resources().get("GPU", 0))
    n = n_workers or n_gpus or 2
    remote = ray.remote(Worker).options(
        num_cpus=_CPUS, num_gpus=gpu_share(n_gpus, n), max_restarts=-1, max_task_retries=-1
    )
    workers = [remote.remote() for _ in range(n)]
    waiting = {worker.harvest.remote(request, i, n): worker for i, worker in enumerate(workers)}
    folders: list[Path] = []
    try:
        while waiting:
            ready = ray.wait(list(waiting), num_returns=1)[0][0]
            folders += [Path(folder) for folder in _get(ray, ready)]
            # Where there are more actors than places, the next one begins only when this one is gone.
            ray.kill(waiting.pop(ready))
            on_done(n - len(waiting), n)
    finally:
        for worker in waiting.values():
            ray.kill(worker)
    return folders


def gpu_share(n_gpus: int, n_actors: int) -> float:
    """The part of a GPU that each actor asks for: a whole one, or such that equally many share each.

    An actor's part has to lie on one GPU: of three actors on two GPUs, each can have a half, not two thirds.
    """
    return 1 / math.ceil(n_actors / n_gpus) if n_gpus else 0.0


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError("--ray needs the ray library: pip install 'exegete[ray]'") from None
    return ray


def _get(ray: Any, reference: Any) -> list[str]:
    """An actor's answer; what went wrong in it is raised as if it had been here."""
    try:
        return list(ray.get(reference))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
