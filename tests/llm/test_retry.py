"""Trying again: what is retried, how long it waits, and what ends a job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.errors import LLMStop, LLMUnavailable
from exegete.llm import Account, Reply, Request, ambiguous_calls
from exegete.llm.failure import CallFailed
from exegete.llm.retry import Retrying
from exegete.llm.throttle import Throttled
from tests.llm.fakes import FakeLLM, reply, request


def failed(status: int | None = 503, **options: object) -> CallFailed:
    """One failure."""
    return CallFailed(f"m answered {status}", status=status, **options)  # type: ignore[arg-type]


def run(
    answers: Sequence[Reply | Exception], attempts: int = 8, of: Request | None = None
) -> tuple[Reply | Exception, list[float], Retrying]:
    """Complete one request; the outcome, the waits in seconds and the wrapper."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    retrying = Retrying(FakeLLM(answers), attempts=attempts, sleep=sleep)

    async def complete() -> Reply | Exception:
        try:
            return await retrying.complete(of or request())
        except Exception as error:
            return error

    return asyncio.run(complete()), waits, retrying


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_retried(status: int) -> None:
    """These are tried again, and the reply says how many requests it took."""
    outcome, waits, retrying = run([failed(status), failed(status), reply("done", attempts=2)])
    assert isinstance(outcome, Reply)
    assert (outcome.text, outcome.attempts, len(waits), retrying.retried) == ("done", 4, 2, 2)


def test_failures_count_their_requests() -> None:
    """A failed attempt that took two requests (a refused parameter) counts as two."""
    twice = failed()
    twice.requests = 2
    outcome, _, _ = run([twice, reply()])
    assert isinstance(outcome, Reply)
    assert outcome.attempts == 3


@pytest.mark.parametrize("status", [400, 405, 413, 422])
def test_given_up(status: int) -> None:
    """These can't be helped by asking again: given up at once, with the server's words."""
    outcome, waits, _ = run([failed(status), reply()])
    assert type(outcome) is LLMUnavailable
    assert str(outcome) == f"m answered {status}"
    assert waits == []


@pytest.mark.parametrize(
    "error",
    [
        failed(401),
        failed(403),
        failed(402),
        failed(404, codes=frozenset({"model_not_found"})),
        failed(404, said="model: claude-x"),
        failed(404, said="The model `x` does not exist or you do not have access to it."),
        failed(429, codes=frozenset({"insufficient_quota"})),
        failed(429, said="You exceeded your current quota, please check your plan and billing details."),
        failed(429, said="This request would exceed your account's monthly spend limit."),
        failed(
            400,
            said="You have reached your specified API usage limits. You will regain access on 2026-12-01.",
        ),
        failed(400, said="Your credit balance is too low to access the Anthropic API."),
        failed(400, codes=frozenset({"billing_hard_limit_reached"})),
        failed(400, codes=frozenset({"invalid_request_error", "enforced_spend_limit_reached"})),
    ],
)
def test_stops(error: CallFailed) -> None:
    """No later call can succeed: the job stops at once, in one sentence."""
    outcome, waits, _ = run([error, reply()])
    assert type(outcome) is LLMStop
    assert waits == []
    assert "\n" not in str(outcome)


@pytest.mark.parametrize(
    "error",
    [
        failed(404, said="Not Found"),
        failed(400, said="This model's maximum context length is 8192 tokens."),
    ],
)
def test_does_not_stop(error: CallFailed) -> None:
    """A page that is not there, or one request that is too long, fails that call only."""
    assert type(run([error])[0]) is LLMUnavailable


def test_a_rate_limit_that_mentions_billing_is_a_rate_limit() -> None:
    """OpenAI's rate limits point to the billing page; they pass all the same."""
    said = "Rate limit reached. Visit https://platform.openai.com/account/billing to add a payment method."
    outcome, _, _ = run([failed(429, said=said, codes=frozenset({"rate_limit_exceeded"})), reply()])
    assert isinstance(outcome, Reply)


def test_last_attempt() -> None:
    """After the last attempt it is given up, saying how many there were."""
    outcome, waits, retrying = run([failed(500)], attempts=4)
    assert type(outcome) is LLMUnavailable
    assert str(outcome) == "m answered 500 (after 4 attempts)"
    assert (len(waits), retrying.retried) == (3, 3)


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        (0.2, 0.2, 0.22),
        (30.0, 30.0, 33.0),
        (119.0, 119.0, 120.0),
        (1e9, 120.0, 120.0),
        (float("inf"), 120.0, 120.0),
        (0.0, 0.5, 1.0),
        (-5.0, 0.5, 1.0),
        (None, 0.5, 1.0),
    ],
)
def test_waits(asked: float | None, low: float, high: float) -> None:
    """It waits as long as the server asks, up to the cap and never less; a wait of nothing says nothing."""
    outcome, (wait,), _ = run([failed(429, wait_s=asked), reply()])
    assert isinstance(outcome, Reply)
    assert low <= wait <= high


def test_absurd_waits_use_up_no_attempts() -> None:
    """A server that asks for 30 years is asked again after the cap, up to the limit of attempts."""
    outcome, waits, _ = run([failed(429, wait_s=1e9)] * 4 + [reply("at last")], attempts=5)
    assert isinstance(outcome, Reply)
    assert waits == [120.0] * 4


@given(st.text(max_size=5), st.integers(2, 9))
def test_backoff(text: str, attempts: int) -> None:
    """Without advice the wait doubles up to a minute, less jitter; the same request waits the same."""
    _, waits, _ = run([failed()], attempts, request(text))
    for number, wait in enumerate(waits):
        longest = min(60.0, 2.0**number)
        assert longest / 2 <= wait <= longest
    assert run([failed()], attempts, request(text))[1] == waits


def test_jitter_differs() -> None:
    """Requests that fail together don't come back together."""
    waits = {run([failed(429, wait_s=10.0), reply()], of=request(str(n)))[1][0] for n in range(50)}
    assert len(waits) == 50


def test_ambiguous(caplog: pytest.LogCaptureFixture) -> None:
    """Attempts that may have been billed are counted and logged, whether or not a later one succeeds."""
    with caplog.at_level(logging.WARNING):
        outcome, _, retrying = run([failed(None, ambiguous=True, retryable=True), failed(), reply()])
    assert isinstance(outcome, Reply)
    assert retrying.ambiguous == 1
    assert [record.getMessage() for record in caplog.records] == [
        "m answered None: it may have been completed, and billed, all the same"
    ]
    assert ambiguous_calls(Throttled(retrying, Account(1))) == 1


def test_cancelled() -> None:
    """A caller that leaves, during a call or during a wait, is gone at once, and nothing is tried again."""

    async def run(answers: list[Reply | Exception]) -> None:
        fake = FakeLLM(answers)
        waiting = asyncio.Event()

        async def sleep(seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        if isinstance(answers[0], Reply):
            fake.gate = asyncio.Event()
        caller = asyncio.create_task(Retrying(fake, sleep=sleep).complete(request()))
        await (asyncio.sleep(0.01) if fake.gate else waiting.wait())
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(caller, 5)
        assert len(fake.asked) == 1
        assert fake.under_way == 0

    asyncio.run(run([reply()]))
    asyncio.run(run([failed()]))


def test_other_errors_pass() -> None:
    """Errors that are no failed call are not retried, and not changed."""
    for error in (LLMUnavailable("no rule"), LLMStop("end"), ValueError("bug")):
        outcome, waits, _ = run([error, reply()])
        assert outcome is error
        assert waits == []
