"""Calls at once: what makes them more, and what makes them fewer."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.errors import LLMUnavailable, UsageError
from exegete.llm.account import FIRST, LONGEST_PAUSE_S, Account, Attempt, account_key
from exegete.llm.failure import CallFailed
from exegete.llm.names import ModelName
from exegete.llm.rates import Rate
from exegete.llm.throttle import Paced, Throttled
from tests.llm import clock
from tests.llm.fakes import FakeLLM, reply, request

NEED = {"requests": 1, "tokens": 10, "input": 5, "output": 5}


def account(concurrency: int, first: int = FIRST) -> Account:
    """An account on the running loop's clock."""
    return Account(concurrency, first=first, clock=clock.now)


async def send(one: Account, calls: int) -> list[Attempt]:
    """Begin calls at once, as many as there are."""
    for _ in range(calls):
        await one.enter()
    return [await one.begin("m", NEED) for _ in range(calls)]


def answer(one: Account, attempts: list[Attempt]) -> None:
    """Let calls be answered."""
    for attempt in attempts:
        one.answered(attempt, {}, None)
        one.leave()


async def rounds(one: Account, n: int) -> list[int]:
    """Clean rounds with all places taken; the limits after each."""
    limits = []
    for _ in range(n):
        answer(one, await send(one, one.limit))
        limits.append(one.limit)
    return limits


def refuse(one: Account, attempts: list[Attempt], wait_s: float | None = None) -> None:
    """Let calls be refused with 429."""
    for attempt in attempts:
        one.too_many(attempt, None, wait_s)
        one.leave()


def test_slow_start() -> None:
    """It doubles every clean round up to the job's limit, and stays there."""
    assert clock.run(rounds_of(100, 7)) == [8, 16, 32, 64, 100, 100, 100]
    assert clock.run(rounds_of(3, 2)) == [3, 3]


async def rounds_of(concurrency: int, n: int) -> list[int]:
    """Clean rounds of a new account."""
    return await rounds(account(concurrency), n)


def test_one_cut_an_episode() -> None:
    """However many requests of a volley are refused, the cut is one; a refusal of a later one is the next."""

    async def main() -> None:
        one = account(100, first=100)
        refuse(one, await send(one, 100))
        assert (one.cuts, one.refused, one.limit) == (1, 100, 80)
        first, *others = await send(one, 80)
        refuse(one, [first])
        assert (one.cuts, one.limit) == (2, 64)
        answer(one, others[:70])
        refuse(one, others[70:])
        assert (one.cuts, one.limit) == (2, 64)

    clock.run(main())


def test_recovery() -> None:
    """After a cut a clean round adds a twentieth, and never doubles: five rounds make up for the cut."""

    async def main() -> None:
        one = account(100, first=100)
        refuse(one, await send(one, 1))
        assert await rounds(one, 6) == [84, 88, 92, 97, 100, 100]

    clock.run(main())


def test_only_when_it_was_tried() -> None:
    """Rounds in which fewer than four fifths were at work at once change nothing."""

    async def main() -> None:
        one = account(100, first=10)
        for _ in range(30):
            answer(one, await send(one, 7))
        assert one.limit == 10
        for _ in range(2):
            answer(one, await send(one, 8))
        assert one.limit == 20

    clock.run(main())


def test_trouble_of_the_server() -> None:
    """500, 503, 529, time-outs and the like neither cut nor pause nor count as clean."""

    async def main() -> None:
        one = account(64, first=64)
        fake = FakeLLM([CallFailed("m", status=status) for status in (500, 502, 503, 529)])
        llm = Throttled(Paced(fake, one), one)
        outcomes = await asyncio.gather(
            *(llm.complete(request(str(n))) for n in range(500)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {CallFailed}
        assert (one.cuts, one.limit, clock.now(), fake.peak) == (0, 64, 0.0, 64)

    clock.run(main())


def test_never_below_one() -> None:
    """Whatever happens, one call at a time remains possible."""

    async def main() -> None:
        one = account(8)
        for _ in range(40):
            refuse(one, await send(one, 1))
        assert (one.cuts, one.limit) == (40, 1)
        answer(one, await send(one, 1))

    clock.run(main())


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        (30.0, 30.0),
        (0.2, 1.0),
        (0.0, 1.0),
        (-5.0, 1.0),
        (None, 1.0),
        (math.nan, 1.0),
        (1e9, LONGEST_PAUSE_S),
        (math.inf, LONGEST_PAUSE_S),
    ],
)
def test_pause(asked: float | None, pause: float) -> None:
    """After a 429 nothing is sent for as long as the server asks: a second at least, the cap at most."""

    async def main() -> float:
        one = account(8)
        refused, late = await send(one, 2)
        refuse(one, [refused], asked)
        started = clock.now()
        (after,) = await send(one, 1)
        answer(one, [late, after])
        return clock.now() - started

    assert clock.run(main()) == pytest.approx(pause)


def test_a_pause_is_extended() -> None:
    """A later refusal of the same volley can make the pause longer, never shorter."""

    async def main() -> float:
        one = account(8)
        first, second, third = await send(one, 3)
        refuse(one, [first], 5.0)
        refuse(one, [second], 20.0)
        refuse(one, [third], 1.0)
        answer(one, await send(one, 1))
        return clock.now()

    assert clock.run(main()) == pytest.approx(20.0)


def test_models_share_the_pause_but_not_the_rates() -> None:
    """A rate is one model's; a pause and the places are the account's."""

    async def main() -> None:
        one = account(8)
        (full,) = await send(one, 1)
        one.answered(full, {}, {"tokens": Rate(600, 0, None)})
        await one.begin("other", NEED)
        assert clock.now() == 0.0
        later = await one.begin("m", NEED)
        assert clock.now() == pytest.approx(1.0)
        one.too_many(later, None, 7.0)
        await one.begin("other", NEED)
        assert clock.now() == pytest.approx(8.0)

    clock.run(main())


def test_reservations() -> None:
    """What a request may use is gone when it is sent; what it did not use is back when it is answered."""

    async def main() -> None:
        one = account(8)
        (first,) = await send(one, 1)
        one.answered(first, {}, {"tokens": Rate(600, 600, None), "output": Rate(300, 300, None)})
        large = {"requests": 1, "tokens": 500, "input": 250, "output": 250}
        attempt = await one.begin("m", large)
        waiting = asyncio.create_task(one.begin("m", large))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        one.answered(attempt, {"tokens": 20, "input": 10, "output": 10}, None)
        await waiting
        assert clock.now() <= 1.0

    clock.run(main())


@settings(max_examples=50)
@given(st.integers(1, 20), st.integers(1, 20), st.lists(st.booleans(), max_size=60))
def test_places(concurrency: int, first: int, cancelled: list[bool]) -> None:
    """Callers that leave while they wait take no place with them, and nobody waits while places are free."""

    async def main() -> int:
        one = account(concurrency, first)
        for _ in range(one.limit):
            await one.enter()
        waiting = [asyncio.create_task(one.enter()) for _ in cancelled]
        await asyncio.sleep(0)
        held = one.limit
        for _ in range(held // 2 + 1):
            one.leave()  # and those who get the places may be cancelled in the same moment
        for task, leaves in zip(waiting, cancelled, strict=True):
            if leaves:
                task.cancel()
        outcomes = await asyncio.wait_for(_drain(one, waiting, held - (held // 2 + 1)), 5)
        assert sum(outcomes) == sum(not leaves for leaves in cancelled)
        for _ in range(one.limit):
            await asyncio.wait_for(one.enter(), 5)
        return 0

    assert clock.run(main()) == 0


async def _drain(one: Account, waiting: list[asyncio.Task[None]], held: int) -> list[bool]:
    """Give all places back as they are got; who got one."""
    for _ in range(held):
        one.leave()
    got = []
    for task in waiting:
        try:
            await task
        except asyncio.CancelledError:
            got.append(False)
        else:
            one.leave()
            got.append(True)
    return got


@pytest.mark.parametrize("concurrency", [1, 3])
def test_limit(concurrency: int) -> None:
    """As many calls as allowed run together, never more, and all are answered in the end."""
    fake = FakeLLM(lambda asked: reply(asked.messages[0].text))

    async def main() -> list[str]:
        one = account(concurrency)
        llm = Throttled(Paced(fake, one), one)
        replies = await asyncio.gather(*(llm.complete(request(str(n))) for n in range(10)))
        await llm.close()
        return [each.text for each in replies]

    assert clock.run(main()) == [str(n) for n in range(10)]
    assert (fake.peak, fake.closed) == (concurrency, 1)


def test_failures_and_cancellations_free_their_place() -> None:
    """A call that fails or is cancelled makes room for the next."""

    async def main() -> str:
        fake = FakeLLM([LLMUnavailable("no"), reply("cancelled"), reply("third")])
        one = account(1)
        llm = Throttled(Paced(fake, one), one)
        with pytest.raises(LLMUnavailable):
            await llm.complete(request())
        fake.gate = asyncio.Event()
        second = asyncio.create_task(llm.complete(request()))
        await asyncio.sleep(0)
        second.cancel()
        fake.gate.set()
        return (await asyncio.wait_for(llm.complete(request()), 5)).text

    assert clock.run(main()) == "third"


def test_no_concurrency() -> None:
    """Fewer than one call at once is wrong use."""
    with pytest.raises(UsageError, match="at least 1"):
        Account(0)


def test_which_account() -> None:
    """Models of one provider share its key; a server with an address is one of its own."""
    keys = [
        account_key(ModelName("openai", "a")),
        account_key(ModelName("openai", "a", "http://h/v1")),
        account_key(ModelName("anthropic", "a")),
    ]
    assert len(set(keys)) == 3
    assert account_key(ModelName("openai", "b")) == keys[0]
