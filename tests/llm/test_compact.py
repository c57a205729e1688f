"""JSON as it is sent and stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.llm.compact import compact, parsed

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


def usual(value: object) -> bytes:
    """The same by the standard library."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def test_every_character() -> None:
    """Each character of Unicode is written as the standard library writes it: keys depend on it."""
    characters = "".join(chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000)
    assert compact(characters) == usual(characters)


@given(VALUES)
def test_as_the_standard_library(value: object) -> None:
    """Texts and whole numbers of any size are written, to the byte, as by the standard library."""
    assert compact(value) == usual(value)
    assert json.loads(compact(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_with_fractions(number: float) -> None:
    """They may be written in another notation, and are the same when they are read, by either library."""
    assert json.loads(compact(number)) == parsed(compact(number)) == number


def test_half_a_character() -> None:
    """Half a surrogate pair can't be sent as UTF-8, and is read where a server sends it."""
    with pytest.raises(UnicodeEncodeError):
        compact({"text": "\ud800"})
    assert parsed(b'"\\ud800"') == "\ud800"


@pytest.mark.parametrize("text", ["[NaN]", "[-Infinity, 1]", '{"a": 1, "a": 2}', "[1e999]"])
def test_read_as_python_reads_it(text: str) -> None:
    """What the standard library takes is taken, and means the same."""
    assert repr(parsed(text.encode())) == repr(json.loads(text))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\xfd", b'{"a": }'])
def test_no_json(content: bytes) -> None:
    """What is no JSON for the standard library is none here."""
    with pytest.raises(ValueError, match=r"column|decode"):
        parsed(content)
