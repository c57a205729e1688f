"""What a server says of its rate limits, in the headers of both families.

    x-ratelimit-limit-requests: 5000          anthropic-ratelimit-input-tokens-limit: 80000
    x-ratelimit-remaining-requests: 4999      anthropic-ratelimit-input-tokens-remaining: 79000
    x-ratelimit-reset-requests: 12ms          anthropic-ratelimit-input-tokens-reset: 2026-11-21T12:41:00Z

Resets are durations in the one and times in the other; either form is read wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from exegete.llm.retry_after import seconds_until

Gauge = Literal["requests", "tokens", "input", "output"]
"""What is limited: requests, input and output tokens together, or either of them."""

_WORDS: Mapping[Gauge, str] = {
    "requests": "requests",
    "tokens": "tokens",
    "input": "input-tokens",
    "output": "output-tokens",
}
_FORMS = ("x-ratelimit-{what}-{word}", "anthropic-ratelimit-{word}-{what}")
_NAMES: Mapping[Gauge, list[tuple[str, ...]]] = {
    gauge: [
        tuple(form.format(word=word, what=what) for what in ("limit", "remaining", "reset"))
        for form in _FORMS
    ]
    for gauge, word in _WORDS.items()
}
"""For every gauge, and either family, the headers of its size, its rest and its reset."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One limit and how much of it is left."""

    limit: int
    """Most that may be used in one window (a minute, unless `reset_s` says otherwise); at least 1."""
    remaining: int
    """Left when the server answered, from 0 to `limit`."""
    reset_s: float | None
    """Seconds until all of it is there again; None when the server does not say."""


Rates = Mapping[Gauge, Rate]


def rates_of(headers: Mapping[str, str], now: datetime) -> Rates:
    """Limits in the headers of a response.

    Args:
        headers: with lower-case names.
        now: our clock, UTC; used for a reset that is a time only where the response has no Date.

    Returns:
        Only limits of which both the size and the rest can be read: some servers send 0 or -1 for none.
    """
    found: dict[Gauge, Rate] = {}
    if not any("ratelimit" in name for name in headers):  # what most servers of one's own send
        return found
    for gauge, families in _NAMES.items():
        for names in families:
            limit, remaining, reset = (headers.get(name, "") for name in names)
            most, rest = _count(limit), _count(remaining)
            if most and rest is not None:
                found[gauge] = Rate(most, min(most, rest), seconds_until(reset, headers, now))
    return found


def _count(value: str) -> int | None:
    """A whole number that is not negative, or None."""
    return int(value) if value.isascii() and value.isdecimal() else None
