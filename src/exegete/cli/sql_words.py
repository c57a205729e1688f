"""What can be written next in a query: views, their columns, and DuckDB's keywords and functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import duckdb
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from exegete.datastore.documented import View, documented_views

_WORD = re.compile(r"\w+$")
_COMMANDS = {
    r"\d": "list the views, or with a view its columns",
    r"\x": "the last result, one value a line",
    r"\json": "the last result as JSON",
    r"\csv": "the last result to a file",
    r"\?": "these commands",
    r"\q": "leave",
}


class SqlCompleter(Completer):
    """Columns of the views that the query names come first, then views, then SQL's own words."""

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What may stand where the cursor is."""
        before = document.text_before_cursor
        if document.text.lstrip().startswith("\\"):
            yield from _commands(before.lstrip())
            return
        found = _WORD.search(before)
        typed = found.group() if found else ""
        if not typed and not complete_event.completion_requested:
            return
        seen: set[str] = set()
        for word, what in candidates(document.text):
            if word.lower().startswith(typed.lower()) and word.lower() not in seen:
                seen.add(word.lower())
                yield Completion(word, start_position=-len(typed), display_meta=what)


def candidates(text: str) -> Iterable[tuple[str, str]]:
    """Words for a query, each with what it is, the likeliest first.

    Args:
        text: the whole query, as far as it is written.
    """
    views = documented_views()
    written = set(re.findall(r"\w+", text.lower()))
    named = [view for view in views if view.name in written]
    for view in named or [view for view in views if view.name == "labels"]:
        yield from ((column.name, f"{view.name}: {column.meaning}") for column in view.columns)
    yield from ((view.name, view.text) for view in views)
    yield from _of_sql()


@cache
def _of_sql() -> tuple[tuple[str, str], ...]:
    """DuckDB's keywords and the functions that are called by name."""
    with duckdb.connect(":memory:") as con:
        keywords = con.execute("SELECT upper(keyword_name) FROM duckdb_keywords() ORDER BY 1").fetchall()
        functions = con.execute(
            "SELECT function_name, any_value(description) FROM duckdb_functions() "
            "WHERE regexp_matches(function_name, '^[a-z]\\w*$') GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return tuple(
        [(word, "keyword") for (word,) in keywords]
        + [(f"{name}(", what or "function") for name, what in functions]
    )


def _commands(before: str) -> Iterable[Completion]:
    command, space, rest = before.partition(" ")
    if space and command == r"\d":
        names = [(view.name, view.text) for view in documented_views()]
        yield from (
            Completion(name, start_position=-len(rest), display_meta=text)
            for name, text in names
            if name.startswith(rest)
        )
    elif not space:
        yield from (
            Completion(name, start_position=-len(command), display_meta=what)
            for name, what in _COMMANDS.items()
            if name.startswith(command)
        )


def view_named(name: str) -> View | None:
    """A view by its name."""
    return next((view for view in documented_views() if view.name == name.lower()), None)


def commands() -> dict[str, str]:
    """The prompt's own commands, with what they do."""
    return dict(_COMMANDS)
