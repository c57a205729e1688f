"""How long a server asks us to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.llm.retry_after import retry_after_s

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("0", 0.0),
        ("-7", -7.0),
        ("1000000000", 1e9),
        ("1e400", float("inf")),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("250ms", 0.25),
        ("2m", 120.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:59:50 GMT", -10.0),
        ("2026-11-21T12:01:00Z", 60.0),
        ("2026-11-21T13:01:00+01:00", 60.0),
        ("2026-11-21T12:01:00", 60.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("Sat, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_forms(value: str, seconds: float | None) -> None:
    """Every form servers use is read, and anything else says nothing."""
    assert retry_after_s({"retry-after": value}, NOW) == seconds


def test_milliseconds_come_first() -> None:
    """The header with milliseconds is the more precise one; when it can't be read the other counts."""
    assert retry_after_s({"retry-after-ms": "1500", "retry-after": "2"}, NOW) == 1.5
    assert retry_after_s({"retry-after-ms": "soon", "retry-after": "2"}, NOW) == 2.0
    assert retry_after_s({}, NOW) is None


@given(wrong_by=st.integers(-86_400, 86_400), wait=st.integers(0, 3_600))
def test_clocks_that_are_wrong(wrong_by: int, wait: int) -> None:
    """A date is measured against the server's own clock, so ours may be wrong by a day."""
    server = NOW + timedelta(seconds=wrong_by)
    headers = {
        "date": format_datetime(server, usegmt=True),
        "retry-after": format_datetime(server + timedelta(seconds=wait), usegmt=True),
    }
    assert retry_after_s(headers, NOW) == wait


@given(st.text(max_size=40))
def test_any_header(value: str) -> None:
    """No header makes it fail."""
    seconds = retry_after_s({"retry-after": value}, NOW)
    assert seconds is None or isinstance(seconds, float)
