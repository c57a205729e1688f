"""Against servers with limits: simulated ones on a jumping clock, and a real one on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from exegete.llm import Account, Journal, Reply, Request, open_llm
from exegete.llm.account import account_key
from exegete.llm.failure import CallFailed
from exegete.llm.names import parse
from exegete.llm.rates import Gauge, Rate
from exegete.llm.retry import Retrying
from exegete.llm.throttle import Paced, Throttled
from tests.llm import clock
from tests.llm.fakes import reply, request
from tests.provider import Act, ProviderServer

OUTPUT = 50


@dataclass
class Limits:
    """A simulated server that refuses what is beyond its limits, and says what is left of them."""

    per_minute: Mapping[Gauge, int] = field(default_factory=dict)
    at_once: int = 10**9
    latency_s: float = 1.0
    retry_after_s: float | None = None
    refused: int = 0
    answered: int = 0
    under_way: int = 0
    times: list[float] = field(default_factory=list)
    """When requests were answered."""

    def __post_init__(self) -> None:
        self._level = {gauge: float(limit) for gauge, limit in self.per_minute.items()}
        self._at = 0.0

    async def complete(self, request: Request) -> Reply:
        need = {"requests": 1, "tokens": 100 + request.max_tokens, "input": 100, "output": OUTPUT}
        self._fill()
        if self.under_way >= self.at_once or any(self._level[g] < need[g] for g in self._level):
            self.refused += 1
            failed = CallFailed("m answered 429", status=429, wait_s=self.retry_after_s)
            failed.rates = self._rates()
            raise failed
        for gauge in self._level:
            self._level[gauge] -= need[gauge]
        self.under_way += 1
        rates = self._rates()
        await asyncio.sleep(self.latency_s)
        self.under_way -= 1
        self.answered += 1
        self.times.append(clock.now())
        return reply(input_tokens=100, output_tokens=OUTPUT, rates=rates)

    async def close(self) -> None:
        """Nothing is held open."""

    def _fill(self) -> None:
        passed, self._at = clock.now() - self._at, clock.now()
        for gauge, limit in self.per_minute.items():
            self._level[gauge] = min(float(limit), self._level[gauge] + passed * limit / 60)

    def _rates(self) -> dict[Gauge, Rate]:
        return {g: Rate(limit, int(self._level[g]), None) for g, limit in self.per_minute.items()}


def storm(server: Limits, calls: int, concurrency: int, max_tokens: int = 300) -> Account:
    """Ask for many things at once; all are answered."""

    async def main() -> Account:
        account = Account(concurrency, clock=clock.now)
        llm = Throttled(Retrying(Paced(server, account)), account)
        # 400 characters: the 100 tokens that the server will count.
        asked = [request(f"{n:0388d}", system="", model="m", max_tokens=max_tokens) for n in range(calls)]
        await asyncio.gather(*(llm.complete(one) for one in asked))
        return account

    account = clock.run(main())
    assert server.answered == calls
    return account


@pytest.mark.parametrize(
    ("per_minute", "ideal_per_s"),
    [
        ({"requests": 600}, 10.0),
        ({"requests": 6000, "tokens": 120_000}, 120_000 / 60 / 400),
        ({"requests": 6000, "input": 60_000}, 10.0),
    ],
)
def test_rates_are_used_and_not_passed(per_minute: Mapping[Gauge, int], ideal_per_s: float) -> None:
    """Once the limits are known, requests go out as fast as they allow, and not one in 200 is refused."""
    server = Limits(per_minute, latency_s=0.5)
    account = storm(server, 3000, 64)
    # What the full bucket lets through at the start comes on top of the rate.
    burst = min(limit / {"requests": 1, "tokens": 400, "input": 100}[g] for g, limit in per_minute.items())
    ideal_s = (3000 - burst) / ideal_per_s
    assert ideal_s * 0.98 <= server.times[-1] <= ideal_s * 1.05
    assert account.cuts <= server.refused <= 15


def test_output_is_given_back() -> None:
    """Replies shorter than `max_tokens` cost what they are: reserving all of it does not slow a job down."""
    server = Limits({"output": 30_000}, latency_s=0.5)
    storm(server, 3000, 64, max_tokens=1000)
    ideal_s = (3000 - 30_000 / OUTPUT) / (30_000 / OUTPUT / 60)
    assert server.times[-1] <= ideal_s * 1.15
    assert server.refused <= 5


def test_calls_at_once_are_found() -> None:
    """A server that bears 40 at once is kept busy with nearly as many, and refuses one in a hundred."""
    server = Limits(at_once=40, latency_s=1.0)
    storm(server, 20_000, 512)
    half = server.times[10_000:]
    at_work = len(half) / (half[-1] - half[0])  # calls of a second each
    assert 30 <= at_work <= 40
    assert server.refused <= 200


def test_without_limits() -> None:
    """Nothing is held back where nothing is limited: the job's own limit is reached in seven rounds."""
    server = Limits(latency_s=1.0)
    account = storm(server, 10_000, 512)
    assert (account.limit, account.cuts) == (512, 0)
    assert server.times[-1] <= 7 + 10_000 / 512 + 2


def in_form(form: str) -> Mapping[str, str]:
    """Retry-After in one of its forms; those that mean something mean about a fifth of a second."""
    soon = datetime(2031, 1, 1, tzinfo=UTC)  # not our clock's year: the response's own date is what counts
    return {
        "ms": {"retry-after-ms": "200"},
        "seconds": {"retry-after": "0.2"},
        "duration": {"retry-after": "200ms"},
        "date": {
            "date": format_datetime(soon, usegmt=True),
            "retry-after": format_datetime(soon + timedelta(seconds=1), usegmt=True),
        },
        "rfc3339": {"date": format_datetime(soon, usegmt=True), "retry-after": "2031-01-01T00:00:00.2Z"},
        "absent": {},
        "zero": {"retry-after": "0"},
        "negative": {"retry-after": "-3"},
        "absurd": {"retry-after": "1000000000"},
        "reset, openai": {
            "x-ratelimit-limit-requests": "600",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "100ms",
        },
        "reset, anthropic": {
            "date": format_datetime(soon, usegmt=True),
            "anthropic-ratelimit-requests-limit": "600",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2031-01-01T00:01:00Z",
        },
    }[form]


FORMS = (
    "ms", "seconds", "duration", "date", "rfc3339", "absent", "zero", "negative", "absurd",
    "reset, openai", "reset, anthropic",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_429_storm(api: str, form: str, tmp_path: Path) -> None:
    """A volley of 429s in any form: one cut, no retry but ours, everything answered and billed once."""
    with ProviderServer(lambda asked: asked.text, delay_s=0.01) as server:
        url = server.url + ("/v1" if api == "openai" else "")
        name = f"{api}:m@{url}"
        server.acts += [Act(status=429, headers=in_form(form))] * 8

        async def main() -> tuple[list[Reply], Account, list[float]]:
            waits: list[float] = []
            loop = asyncio.get_running_loop()
            skipped = 0.0

            async def sleep(seconds: float) -> None:  # waits are noted, and not waited for
                nonlocal skipped
                waits.append(seconds)
                skipped += seconds
                await asyncio.sleep(0)

            account = Account(8, first=8, clock=lambda: loop.time() + skipped, sleep=sleep)
            accounts = {account_key(parse(name)): account}
            with Journal(tmp_path) as journal:
                llm = open_llm(name, journal=journal, accounts=accounts)
                _retrying(llm)._sleep = sleep
                replies = await asyncio.gather(
                    *(llm.complete(request(str(n), model=name)) for n in range(40))
                )
                await llm.close()
            return replies, account, waits

        replies, account, waits = asyncio.run(main())
    assert [one.text for one in replies] == [str(n) for n in range(40)]
    assert (account.cuts, account.refused) == (1, 8)
    assert account.limit >= 6
    assert len(server.asked) == 48 == sum(one.attempts for one in replies)
    assert len(server.ledger) == 40
    assert max(waits) <= 120.0
    assert all(one.rates is None for one in replies)


def test_headers_of_replies_are_learnt(tmp_path: Path) -> None:
    """A limit that replies state holds requests back, without a single refusal, in both families."""
    for api, headers in {
        "openai": {"x-ratelimit-limit-tokens": "6000", "x-ratelimit-remaining-tokens": "0"},
        "anthropic": {
            "anthropic-ratelimit-output-tokens-limit": "6000",
            "anthropic-ratelimit-output-tokens-remaining": "0",
        },
    }.items():
        with ProviderServer() as server:
            name = f"{api}:m@{server.url}" + ("/v1" if api == "openai" else "")
            server.acts.append(Act(headers=headers))

            async def main(name: str = name) -> float:
                loop, slept = asyncio.get_running_loop(), 0.0

                async def sleep(seconds: float) -> None:
                    nonlocal slept
                    slept += seconds

                account = Account(4, clock=lambda: loop.time() + slept, sleep=sleep)
                llm = open_llm(name, accounts={account_key(parse(name)): account})
                for n in range(2):
                    await llm.complete(request(str(n), model=name, max_tokens=1000))
                await llm.close()
                return slept

            assert asyncio.run(main()) == pytest.approx(10.0, abs=1.0), api


def _retrying(llm: object) -> Retrying:
    """The retrying part of a stack."""
    while not isinstance(llm, Retrying):
        llm = llm.inner  # type: ignore[attr-defined]
    return llm
