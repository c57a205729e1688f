"""Rows of any query in a terminal: a table where it fits, and else one value a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from exegete.cli.show import SHORT, cell, plain_table, safe

_GAP = 2
"""Between columns."""
_ROOM = 24
"""Characters in which a column of sentences can be read; narrower, it is a ladder of single words."""
_LONGEST = 40
"""Words longer than this are paths and digests, which may be broken."""


def rows_shown(names: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> RenderableType:
    """Rows as a table, or where that would break words or squeeze sentences, each as a block of its own.

    The same as psql's `\\x auto`.

    Args:
        names: of the columns.
        rows: their values.
        width: of the terminal, in characters.
    """
    shown = [[cell(value) for value in row] for row in rows]
    needed = [_needed(name, [row[i] for row in shown]) for i, name in enumerate(names)]
    if sum(needed) + _GAP * (len(names) - 1) > width:
        return records_shown(names, rows)
    table = plain_table(names, rows)
    for column, least in zip(table.columns, needed, strict=True):
        column.min_width = least
    return table


def records_shown(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> RenderableType:
    """Each row as a block of its own, one value a line.

    Args:
        names: of the columns.
        rows: their values.
    """
    return Group(*(_block(names, row, f"{i:,} of {len(rows):,}") for i, row in enumerate(rows, 1)))


def _block(names: Sequence[str], row: Sequence[Any], title: str) -> RenderableType:
    """One row under a line that says which it is."""
    table = Table.grid(padding=(0, _GAP, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in zip(names, row, strict=True):
        table.add_row(Text(safe(name)), Text(cell(value)))
    return Group(Rule(Text(title), align="left", style="dim"), table)


def _needed(name: str, column: Sequence[str]) -> int:
    """Characters below which a column is better not shown beside others."""
    longest = max(map(len, (name, *column)))
    if longest <= SHORT:
        return longest
    word = max(len(word) for text in (name, *column) for word in (text.split() or [""]))
    return max(min(longest, _ROOM), min(word, _LONGEST))
