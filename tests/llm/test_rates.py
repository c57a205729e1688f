"""Rate limits in headers, and the buckets that keep count of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.llm.bucket import Bucket
from exegete.llm.rates import Rate, rates_of

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def test_openai() -> None:
    """OpenAI's family, with durations."""
    headers = {
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-remaining-requests": "4999",
        "x-ratelimit-reset-requests": "12ms",
        "x-ratelimit-limit-tokens": "160000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert rates_of(headers, NOW) == {
        "requests": Rate(5000, 4999, 0.012),
        "tokens": Rate(160000, 0, 360.0),
    }


def test_anthropic() -> None:
    """Anthropic's family, with times, measured against the response's own date: our clock may be wrong."""
    headers = {"date": "Sat, 21 Nov 2026 18:40:00 GMT"}
    for word, limit in {
        "requests": 1000,
        "input-tokens": 80000,
        "output-tokens": 16000,
        "tokens": 96000,
    }.items():
        headers |= {
            f"anthropic-ratelimit-{word}-limit": str(limit),
            f"anthropic-ratelimit-{word}-remaining": str(limit - 500),
            f"anthropic-ratelimit-{word}-reset": "2026-11-21T18:40:30Z",
        }
    assert rates_of(headers, NOW) == {
        "requests": Rate(1000, 500, 30.0),
        "tokens": Rate(96000, 95500, 30.0),
        "input": Rate(80000, 79500, 30.0),
        "output": Rate(16000, 15500, 30.0),
    }


@pytest.mark.parametrize(
    ("limit", "remaining"),
    [("-1", "-1"), ("0", "0"), ("", "5"), ("5", ""), ("many", "5"), ("5.5", "5"), ("²", "1")],
)
def test_no_limit(limit: str, remaining: str) -> None:
    """What some servers send for "none", or what can't be read, is no limit; never a limit of nothing."""
    headers = {"x-ratelimit-limit-tokens": limit, "x-ratelimit-remaining-tokens": remaining}
    assert rates_of(headers, NOW) == {}


@given(st.dictionaries(st.text(), st.text()), st.text(), st.text(), st.text())
def test_any_headers(headers: dict[str, str], limit: str, remaining: str, reset: str) -> None:
    """No header can make it fail, or state a limit below 1 or a rest outside of it."""
    headers |= {
        "x-ratelimit-limit-tokens": limit,
        "x-ratelimit-remaining-tokens": remaining,
        "x-ratelimit-reset-tokens": reset,
    }
    for rate in rates_of(headers, NOW).values():
        assert 0 <= rate.remaining <= rate.limit
        assert rate.limit >= 1


def test_unknown() -> None:
    """Before the server has named a limit, nothing waits."""
    bucket = Bucket()
    bucket.take(1e9, 0.0)
    assert bucket.wait_s(1e9, 0.0) == 0.0


def test_a_minute() -> None:
    """A limit is whole again after a minute, and what is there can be taken at once."""
    bucket = Bucket()
    bucket.correct(Rate(600, 600, None), 0, 0.0)
    assert bucket.wait_s(600, 0.0) == 0.0
    bucket.take(600, 0.0)
    assert bucket.wait_s(100, 0.0) == pytest.approx(10.0)
    assert bucket.wait_s(100, 10.0) == pytest.approx(0.0)
    bucket.take(-50, 10.0)
    assert bucket.wait_s(200, 10.0) == pytest.approx(5.0)


def test_more_than_there_can_ever_be() -> None:
    """A request larger than the limit waits for a full bucket, not for ever."""
    bucket = Bucket()
    bucket.correct(Rate(600, 0, None), 0, 0.0)
    assert bucket.wait_s(10_000, 0.0) == pytest.approx(60.0)


def test_a_limit_by_the_day() -> None:
    """A reset beyond a minute and a half tells of a longer window; a shorter one is too coarse to tell."""
    bucket = Bucket()
    bucket.correct(Rate(10_000, 9_940, 518.4), 0, 0.0)
    assert bucket.per_s == pytest.approx(60 / 518.4)
    bucket.correct(Rate(10_000, 9_999, 1.0), 0, 0.0)
    assert bucket.per_s == pytest.approx(10_000 / 60)


def test_the_server_knows_better() -> None:
    """What it says replaces our count, less what is on its way to it."""
    bucket = Bucket()
    bucket.correct(Rate(600, 600, None), 0, 0.0)
    bucket.take(300, 0.0)
    bucket.correct(Rate(600, 500, None), 100, 0.0)
    assert bucket.level == 400
    bucket.correct(Rate(600, 10, None), 10_000, 0.0)
    assert bucket.level == -600
