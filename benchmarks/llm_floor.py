"""What no job of these calls can do without: the same requests, sent and read by aiohttp and nothing else.

A small job is run to see what it sends; the bytes are then sent again, over the same number of connections,
and each reply is read to its end and decoded. No label is read, kept or scored. What a job takes beyond that
is ours.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any


@contextmanager
def _seen() -> Iterator[list[bytes]]:
    """The bodies of all chat completions that are sent in this process meanwhile."""
    from exegete.llm.connections import Connections

    bodies: list[bytes] = []
    post = Connections.post

    async def watched(self: Connections, path: str, body: Any) -> Any:
        bodies.append(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())
        return await post(self, path, body)

    Connections.post = watched  # type: ignore[method-assign]
    try:
        yield bodies
    finally:
        Connections.post = post  # type: ignore[method-assign]


def measure_floor(url: str, job: Callable[[], int], features: int, concurrency: int) -> dict[str, float]:
    """Send what a job sends, without the job.

    Args:
        url: of the server, as the model's name has it.
        job: runs a small job; how many features it has done.
        features: for how many features calls are made, with as many for each as the job made.
        concurrency: calls at once.

    Returns:
        The figures of a row (llm.py).
    """
    with _seen() as bodies:
        done = job()
    calls = round(len(bodies) / done * features)
    sending = iter(islice(cycle(bodies), calls))
    cpu, began = time.process_time(), time.perf_counter()
    asyncio.run(_send(f"{url}/chat/completions", sending, concurrency))
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - began
    return {
        "features_per_second": features / seconds,
        "cpu_ms_per_feature": 1000 * cpu / features,
        "calls_per_feature": calls / features,
    }


async def _send(url: str, bodies: Iterator[bytes], concurrency: int) -> None:
    import aiohttp

    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def worker() -> None:
            for body in bodies:
                async with session.post(url, data=body, headers=headers) as response:
                    json.loads(await response.read())

        await asyncio.gather(*(worker() for _ in range(concurrency)))
