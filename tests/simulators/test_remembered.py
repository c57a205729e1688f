"""One call for all who ask the same."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from exegete.datastore.records import Context
from exegete.errors import LLMUnavailable
from exegete.simulators.remembered import Remembered
from exegete.simulators.simulator import Simulation

CONTEXTS = tuple(Context(id=i, document="d", start=3 * i, tokens=(" a", f" w{i}")) for i in range(4))


class Slow:
    """Answers when it is let to, with the number of the call as the level; fails while told to."""

    name = "slow@3"

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Context, ...]]] = []
        self.cancelled = 0
        self.open = asyncio.Event()
        self.open.set()
        self.failing = False

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        self.calls.append((label, tuple(contexts)))
        number = len(self.calls)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            await asyncio.sleep(0.01)  # as one who must close a connection first
            raise
        if self.failing:
            raise LLMUnavailable("no model answers")
        level = np.full(2, number, dtype=np.float32)
        return Simulation((level,) * len(contexts), (None,) * len(contexts))


def number(simulation: Simulation) -> int:
    """The number of the call a simulation came from."""
    assert simulation.levels[0] is not None
    return int(simulation.levels[0][0])


def test_the_same_question_is_asked_once() -> None:
    """The same label and contexts are answered from memory, under the name of the one that is asked."""
    inner = Slow()
    simulator = Remembered(inner)

    async def ask() -> tuple[Simulation, Simulation]:
        return await simulator.simulate("x", CONTEXTS), await simulator.simulate("x", list(CONTEXTS))

    first, second = asyncio.run(ask())
    assert first is second
    assert inner.calls == [("x", CONTEXTS)]
    assert simulator.name == "slow@3"
    # What was learnt in one event loop is known in the next.
    assert asyncio.run(simulator.simulate("x", CONTEXTS)) is first


def test_other_questions_are_other_calls() -> None:
    """Another label, order, subset, window or wording of the contexts is asked about."""
    inner = Slow()
    simulator = Remembered(inner)
    asked = [
        ("x", CONTEXTS),
        ("y", CONTEXTS),
        ("x", CONTEXTS[::-1]),
        ("x", CONTEXTS[:3]),
        ("x", (replace(CONTEXTS[0], start=1), *CONTEXTS[1:])),
        ("x", (replace(CONTEXTS[0], tokens=(" a", " other")), *CONTEXTS[1:])),
    ]

    async def ask() -> list[int]:
        return [number(await simulator.simulate(*question)) for question in asked]

    assert asyncio.run(ask()) == [1, 2, 3, 4, 5, 6]


def test_the_least_used_is_forgotten() -> None:
    """Beyond its size it forgets what was not asked for longest."""
    inner = Slow()
    simulator = Remembered(inner, size=2)

    async def ask() -> list[int]:
        return [number(await simulator.simulate(label, CONTEXTS)) for label in "abacab"]

    # a and b are asked, a recalled, c pushes b out, a recalled, b asked again.
    assert asyncio.run(ask()) == [1, 2, 1, 3, 1, 4]
    with pytest.raises(ValueError, match="room for one"):
        Remembered(inner, size=0)


def test_calls_under_way_are_shared() -> None:
    """Many who ask at once wait for one call."""
    inner = Slow()
    simulator = Remembered(inner)

    async def ask() -> list[Simulation]:
        return await asyncio.gather(*(simulator.simulate("x", CONTEXTS) for _ in range(20)))

    answers = asyncio.run(ask())
    assert len(inner.calls) == 1
    assert all(answer is answers[0] for answer in answers)


def test_failures_are_shared_and_not_remembered() -> None:
    """All who wait for a call that fails are told; the next one asks again."""
    inner = Slow()
    simulator = Remembered(inner)

    async def ask() -> int:
        inner.failing = True
        failed = await asyncio.gather(
            *(simulator.simulate("x", CONTEXTS) for _ in range(3)), return_exceptions=True
        )
        assert [type(error) for error in failed] == [LLMUnavailable] * 3
        inner.failing = False
        return number(await simulator.simulate("x", CONTEXTS))

    assert asyncio.run(ask()) == 2


def test_one_who_leaves_takes_nothing_away() -> None:
    """Cancelling one caller, even the first, leaves the call to the others."""
    inner = Slow()
    simulator = Remembered(inner)

    async def ask() -> int:
        inner.open.clear()
        first, second = (asyncio.ensure_future(simulator.simulate("x", CONTEXTS)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        inner.open.set()
        answer = number(await second)
        assert first.cancelled()
        return answer

    assert asyncio.run(ask()) == 1
    assert (len(inner.calls), inner.cancelled) == (1, 0)


def test_a_call_nobody_waits_for_is_given_up() -> None:
    """When the last caller leaves, the call is cancelled; who comes at that moment starts another."""
    inner = Slow()
    simulator = Remembered(inner)

    async def ask() -> list[int]:
        inner.open.clear()
        callers = [asyncio.ensure_future(simulator.simulate("x", CONTEXTS)) for _ in range(2)]
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        late = asyncio.ensure_future(simulator.simulate("x", CONTEXTS))
        await asyncio.sleep(0.03)
        # The late one's call is under way still, though the abandoned one has ended meanwhile.
        later = asyncio.ensure_future(simulator.simulate("x", CONTEXTS))
        await asyncio.sleep(0)
        inner.open.set()
        return [number(await late), number(await later)]

    assert asyncio.run(ask()) == [2, 2]
    assert (len(inner.calls), inner.cancelled) == (2, 1)
