"""How things are shown in a terminal: numbers, tables, and text that came from a corpus or a model."""

from __future__ import annotations

import json
import logging
import math
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Text is never taken for markup: labels, paths and names may hold anything, "[bold]" and ":smile:" too.
out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

_SPACES = "\t\n\r\u2028\u2029"
SHORT = 14
"""Columns no wider than this are never wrapped."""

LABEL_CHARACTERS = 104
"""Of a label in a table of many: four lines at 80 columns."""

STYLES = {
    "accepted": "green",
    "review": "yellow",
    "rejected": "red",
    "unscorable": "dim",
    "dead": "dim",
    "failed": "bold red",
}


def complain(sentence: str) -> None:
    """Say on stderr what went wrong."""
    err.print(Text(f"exegete: {safe(sentence)}"), soft_wrap=True)


class Warnings(logging.Handler):
    """Says what exegete's own code warns of, above a progress bar and as harmless as everything else."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, and its traceback if it has one."""
        for line in self.format(record).splitlines():
            complain(line)


def safe(text: str) -> str:
    """Text with nothing in it that a terminal would obey: no escapes, no bidi controls, one line."""
    return "".join(" " if ch in _SPACES else ch for ch in text if ch in _SPACES or not _obeyed(ch))


def _obeyed(ch: str) -> bool:
    """Whether a terminal may do something else than show a character."""
    return unicodedata.category(ch) in ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


def number(value: float | None, digits: int = 2) -> str:
    """A score without its leading zero, as the field prints them: .62, -.08, 1.00; "–" when missing."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        return f".{'0' * digits}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A score with its interval: .62 [.51, .71]."""
    if value is None:
        return "–"
    return number(value) + (f" [{number(low)}, {number(high)}]" if low is not None else "")


def small(value: float | None) -> str:
    """A p- or q-value: .012, <.001."""
    if value is None:
        return "–"
    return "<.001" if value < 0.001 else number(value, 3)


def label_table(rows: Sequence[Mapping[str, Any]], match: str | None = None) -> Table:
    """Rows of the `labels` view as the table everybody sees first. Long labels are cut, here only.

    Args:
        rows: of the view, with `match` where they were looked for.
        match: what `match` is called, in place of chance and q, which are beside the point there.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, justify in (("feature", "right"), ("label", "left"), ("score [95%]", "left")):
        table.add_column(name, justify=justify, no_wrap=name != "label")  # type: ignore[arg-type]
    for name in ("chance", "q") if match is None else (match,):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for row in rows:
        side = "" if row["polarity"] == "+" else row["polarity"]
        table.add_row(
            f"{row['feature_index']}{side}",
            Text(textwrap.shorten(safe(row["label"] or "–"), LABEL_CHARACTERS, placeholder=" …")),
            interval(row["score"], row["low"], row["high"]),
            *((number(row["chance"]), small(row["q_value"])) if match is None else (number(row["match"]),)),
            Text(row["status"], style=STYLES.get(row["status"], "")),
        )
    return table


def plain_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Any rows as a table: short columns keep their width, long ones share what is left."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    shown = [[cell(value) for value in row] for row in rows]
    for i, name in enumerate(names):
        numeric = bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        longest = max((len(row[i]) for row in shown), default=0)
        table.add_column(
            Text(safe(name)),
            justify="right" if numeric else "left",
            no_wrap=max(longest, len(name)) <= SHORT,
            min_width=min(len(name), SHORT),
            overflow="fold",
        )
    for row in shown:
        table.add_row(*(Text(text) for text in row))
    return table


def cell(value: Any) -> str:
    """One value of a result, for a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list | dict):
        return safe(to_json(value))
    return safe(str(value))


def to_json(value: Any) -> str:
    """JSON on one line; times as ISO 8601, NaN as null, and what a terminal would obey as an escape."""
    text = json.dumps(_finite(value), ensure_ascii=False, default=_as_text, allow_nan=False)
    return "".join(_escaped(ch) if _obeyed(ch) else ch for ch in text)


def _escaped(ch: str) -> str:
    units = ch.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i] << 8 | units[i + 1]:04x}" for i in range(0, len(units), 2))


def _finite(value: Any) -> Any:
    """A value without NaN and infinities, for which JSON has no words."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
