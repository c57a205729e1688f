"""How long a server asks us to wait, in every form servers use.

retry-after-ms: 1500
retry-after: 2 | 0.5 | 6m0s | Wed, 21 Oct 2026 07:28:00 GMT | 2026-10-21T07:28:00Z
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS_S = (3600.0, 60.0, 1.0, 0.001)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds a server asks us to wait before the next request.

    Args:
        headers: of the response, with lower-case names.
        now: our clock, UTC; a date is measured against the response's own Date header if it has one, so
            that a wrong clock on either side doesn't matter.

    Returns:
        Seconds, which can be 0, negative or absurdly large (infinite, even): what to do about that is the
        caller's decision. None when the headers don't say.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000.0
    return seconds_until(headers.get("retry-after", ""), headers, now)


def seconds_until(value: str, headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a header's value means: a number, a duration or a time; None when it is none of them.

    Args:
        value: of the header.
        headers, now: as for `retry_after_s`.
    """
    value = value.strip()
    seconds = _number(value)
    if seconds is not None:
        return seconds
    seconds = _duration(value)
    if seconds is not None:
        return seconds
    at = _date(value)
    if at is None:
        return None
    return (at - (_date(headers.get("date", "")) or now)).total_seconds()


def _number(value: str) -> float | None:
    """A plain number, or None."""
    try:
        number = float(value)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _duration(value: str) -> float | None:
    """Seconds of "1h2m3s", "6m0s", "250ms", or None."""
    found = _DURATION.fullmatch(value)
    if not value or found is None:
        return None
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS_S, strict=True) if part)


def _date(value: str) -> datetime | None:
    """An HTTP date or an RFC 3339 time, or None."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            at = read(value)
        except (ValueError, TypeError, OverflowError):
            continue
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return None
