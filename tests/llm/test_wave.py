"""Collecting what is to be sent together, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from exegete.llm.wave import Wave
from tests.llm import clock


class Sent:
    """Remembers what was sent, and when."""

    def __init__(self) -> None:
        self.things: list[list[int]] = []
        self.times: list[float] = []

    def __call__(self, things: Sequence[int]) -> None:
        self.things.append(list(things))
        self.times.append(clock.now())


def test_lingers() -> None:
    """It is sent a while after the last arrival, not after the first."""
    sent = Sent()

    async def main() -> None:
        wave = Wave(sent, 5.0, 100, 100)
        for n in range(4):
            assert wave.add(n, 1)
            await asyncio.sleep(3.0)
        await asyncio.sleep(100.0)
        wave.add(9, 1)
        await asyncio.sleep(100.0)

    clock.run(main())
    assert sent.things == [[0, 1, 2, 3], [9]]
    assert sent.times == [14.0, 117.0]


@given(st.lists(st.integers(1, 12), max_size=40), st.integers(1, 6), st.sets(st.integers(0, 40)))
def test_room(sizes: list[int], most: int, given_up: set[int]) -> None:
    """Nothing sent is above a limit; all that fits and was not given up in time is sent once, in order."""
    sent = Sent()
    left: set[int] = set()

    async def main() -> None:
        wave = Wave(sent, 1.0, most, 10)
        for n, size in enumerate(sizes):
            assert wave.add(n, size) == (size <= 10)
            if n in given_up and not any(n in things for things in sent.things):
                wave.discard(n)
                left.add(n)
        await asyncio.sleep(2.0)

    clock.run(main())
    assert all(0 < len(things) <= most for things in sent.things)
    assert all(sum(sizes[n] for n in things) <= 10 for things in sent.things)
    together = [n for things in sent.things for n in things]
    assert together == [n for n, size in enumerate(sizes) if size <= 10 and n not in left]


def test_closed() -> None:
    """A closed one sends nothing."""
    sent = Sent()

    async def main() -> None:
        wave = Wave(sent, 1.0, 10, 10)
        wave.add(1, 1)
        wave.close()
        await asyncio.sleep(5.0)

    clock.run(main())
    assert sent.things == []
