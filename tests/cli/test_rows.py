"""Rows of a query in a terminal of any width."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from exegete.cli.rows import rows_shown

NAMES = ["id", "a_rather_long_name", "label", "x" * 13, "score"]
WORDS = st.text("abcdefghij", min_size=1, max_size=16)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.floats(0, 1),
        st.lists(WORDS, max_size=12).map(" ".join),
        WORDS,
        st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def printed(names: list[str], rows: list[tuple[Any, ...]], width: int) -> list[str]:
    """What a terminal of a width shows."""
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False)
    console.print(rows_shown(names, rows, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@given(ROWS, st.integers(45, 160), st.integers(1, len(NAMES)))
def test_no_word_is_broken(rows: list[tuple[Any, ...]], width: int, n: int) -> None:
    """Every name and every word stands in one piece, and no line is wider than the terminal."""
    lines = printed(NAMES[:n], [row[:n] for row in rows], width)
    assert max(map(len, lines)) <= width
    shown = [word for line in lines for word in line.split()]
    for name in NAMES[:n]:
        assert name in shown
    for row in rows:
        for word in " ".join(value for value in row[:n] if isinstance(value, str)).split():
            assert word in shown


def test_a_table_where_there_is_room() -> None:
    """The same rows are a table on a wide terminal and blocks on a narrow one, each value in its place."""
    rows = [(1, 0.25, "words of degree", "here", None), (2, 0.5, "digits", "there", True)]
    wide = printed(NAMES, rows, 100)
    assert [line.split() for line in wide[::2]] == [NAMES, ["2", "0.5", "digits", "there", "true"]]
    narrow = printed(NAMES, rows, 60)
    assert [line.split(" ", 3)[:3] for line in narrow[::6]] == [["1", "of", "2"], ["2", "of", "2"]]
    assert [line.split() for line in narrow[7:]] == [
        [name, value] for name, value in zip(NAMES, ["2", "0.5", "digits", "there", "true"], strict=True)
    ]


def test_sentences_have_room() -> None:
    """A sentence that would stand in a narrow column, a word or two a line, is shown on lines of its own."""
    row = (*range(8), "a sentence of several words that says what a feature responds to")
    names = [*(f"number_{i}" for i in range(8)), "said"]
    assert len(printed(names, [row], 90)) == 1 + 9
    assert printed(names, [row], 120)[0].split() == names
