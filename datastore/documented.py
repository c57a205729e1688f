"""What docs/sql.md says of the public views, for whoever asks while they write a query.

The page is part of the package (`schema/sql.md`), so that there is one description of a column: the one that
the tests hold against the views.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_VIEW = re.compile(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", flags=re.M | re.S)
_COLUMN = re.compile(r"^\| (\w+) \| ([A-Z]+(?:\[\])?) \| (.*) \|$", flags=re.M)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True, slots=True)
class View:
    """A public view."""

    name: str
    text: str
    """What one of its rows is, and what there is to know."""
    columns: tuple[Column, ...]


@cache
def documented_views() -> tuple[View, ...]:
    """The public views, in the order of the page."""
    page = (files("exegete.datastore") / "schema" / "sql.md").read_text(encoding="utf-8")
    found = []
    for name, section in _VIEW.findall(page):
        columns = tuple(Column(*(part.replace("`", "") for part in row)) for row in _COLUMN.findall(section))
        if columns:
            text = " ".join(section.partition("\n| ")[0].replace("`", "").split())
            found.append(View(name, text, columns))
    return tuple(found)
