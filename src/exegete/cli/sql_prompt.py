"""The prompt of `exegete sql`: queries that end in a semicolon, and commands that begin with a backslash.

Each query is one short reading of the labels file under the rules of `exegete sql` (datastore/query.py), so
a prompt that is left open holds nobody up. What was written is remembered in the workspace, readable by its
owner.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import ThreadedCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from exegete.cli.rows import records_shown, rows_shown
from exegete.cli.show import cell, complain, out, plain_table, safe
from exegete.cli.sql import as_json, write_csv
from exegete.cli.sql_words import SqlCompleter, commands, view_named
from exegete.datastore.documented import documented_views
from exegete.datastore.query import Answer, query
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError, UsageError

HISTORY = "sql_history"
_MARGIN = 6
"""Lines of a terminal that a table leaves for what stands around it."""
_NARROWEST = 14
"""Characters that a column of long texts needs to say anything."""
_GAP = 2
"""Between columns."""


def run_prompt(
    space: Workspace, *, limit: int, timeout_s: float, session: PromptSession[str] | None = None
) -> None:
    """Ask for queries until the person leaves.

    Args:
        space: the workspace.
        limit: rows of a result at most.
        timeout_s: seconds a query may take.
        session: reads what is typed; None makes one on the terminal.

    Raises:
        WorkspaceError: the workspace can't be used at all.
    """
    query(space.labels, "SELECT 1", 1, timeout_s)  # a file that can't be opened ends it before it begins
    reading = session or new_session(space)
    out.print(
        r"one SELECT, ended by a semicolon; \d lists the views, \? the commands, \q leaves", style="dim"
    )
    prompt = Prompt(space, limit, timeout_s)
    while not prompt.over:
        try:
            text = reading.prompt()
        except KeyboardInterrupt:
            continue  # what was being written is gone
        except EOFError:
            return
        try:
            prompt.answer(text.strip())
        except ExegeteError as error:
            complain(str(error))


def new_session(space: Workspace, **terminal: Any) -> PromptSession[str]:
    """A session with completion and the workspace's history.

    Args:
        space: the workspace.
        terminal: `input` and `output`, where they are not the process's own.
    """
    return PromptSession(
        "sql> ",
        prompt_continuation="...> ",
        history=FileHistory(str(history_file(space))),
        completer=ThreadedCompleter(SqlCompleter()),
        complete_while_typing=True,
        multiline=True,
        key_bindings=_keys(),
        **terminal,
    )


def history_file(space: Workspace) -> Path:
    """The workspace's history, made if it is not there; queries may tell what a person looks for."""
    path = space.root / HISTORY
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise UsageError(
            f"{path} can't be written ({error.strerror}): give the query on the command line"
        ) from error
    return path


class Prompt:
    """What is done with each thing that was typed."""

    def __init__(self, space: Workspace, limit: int, timeout_s: float) -> None:
        """Answer from a workspace; see `run_prompt`."""
        self._space, self._limit, self._timeout_s = space, limit, timeout_s
        self._last: Answer | None = None
        self.over = False
        """Whether the person has left."""

    def answer(self, text: str) -> None:
        """Run a query or a command.

        Raises:
            ExegeteError: it can't be run.
        """
        if text.startswith("\\"):
            self._command(text)
        elif text.rstrip(";").strip():
            self._last = query(self._space.labels, text, self._limit, self._timeout_s)
            self._show(self._last)

    def _show(self, found: Answer) -> None:
        """As much of a table as the terminal has lines for, one line a row; a single row is shown whole."""
        width, lines = shutil.get_terminal_size()
        if len(found.rows) == 1:
            out.print(rows_shown(found.names, found.rows, width))
            out.print("(1 row)", style="dim")
            return
        rows = found.rows[: max(5, lines - _MARGIN)]
        widths = _widths(found.names, rows, width)
        n = len(widths)
        table = plain_table(found.names[:n], [row[:n] for row in rows])
        for column, most in zip(table.columns, widths, strict=True):
            column.no_wrap, column.overflow, column.max_width = True, "ellipsis", most
        out.print(table)
        more = [(len(found.rows) - len(rows), "rows"), (len(found.names) - n, "columns")]
        cut = " and ".join(f"{number:,} {what} more" for number, what in more if number)
        hint = f", {cut}: \\x shows and \\csv FILE writes everything" if cut else ""
        out.print(f"({len(found.rows):,} rows{hint})", style="dim", soft_wrap=True)
        if found.cut:
            complain(f"only the first {self._limit:,} rows were read: leave, and raise --limit for more")

    def _command(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        known: dict[str, Callable[[str], None]] = {
            r"\d": _describe,
            r"\x": self._records,
            r"\json": self._json,
            r"\csv": self._csv,
            r"\?": _help,
            r"\q": self._leave,
        }
        if name not in known:
            raise UsageError(rf"{name} is no command: \? lists them")
        known[name](rest.strip())

    def _leave(self, _: str) -> None:
        self.over = True

    def _records(self, _: str) -> None:
        found = self._result()
        out.print(records_shown(found.names, found.rows))

    def _json(self, _: str) -> None:
        out.print(as_json(self._result()), soft_wrap=True)

    def _csv(self, rest: str) -> None:
        found = self._result()
        if not rest:
            raise UsageError(r"\csv needs the name of a file: \csv result.csv")
        try:
            with Path(rest).open("x", newline="", encoding="utf-8") as file:
                write_csv(found, file)
        except FileExistsError:
            raise UsageError(f"{rest} is there already: name another file") from None
        except OSError as error:
            raise UsageError(f"{rest} can't be written ({error.strerror}): name another file") from error
        out.print(f"{len(found.rows):,} rows in {safe(rest)}", style="dim", soft_wrap=True)

    def _result(self) -> Answer:
        if self._last is None:
            raise UsageError("there is no result yet: ask something first")
        return self._last


def _widths(names: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> list[int]:
    """Widths of the columns there is room for, at least one: long ones share what short ones leave."""
    longest = [
        max(len(name), *(len(cell(row[i])) for row in rows)) if rows else len(name)
        for i, name in enumerate(names)
    ]
    fitting, used = 0, 0
    for natural in longest:
        used += min(natural, _NARROWEST) + _GAP
        if used > width:
            break
        fitting += 1
    chosen = longest[: max(1, fitting)]
    n_long = sum(natural > _NARROWEST for natural in chosen)
    left = width - sum(min(natural, _NARROWEST) + _GAP for natural in chosen)
    return [natural if natural <= _NARROWEST else _NARROWEST + max(0, left) // n_long for natural in chosen]


def _describe(name: str) -> None:
    if not name:
        out.print(plain_table(("view", "what it has"), [(v.name, v.text) for v in documented_views()]))
        return
    view = view_named(name)
    if view is None:
        raise UsageError(rf"there is no view {name!r}: \d lists them")
    out.print(view.text, style="dim")
    rows = [(column.name, column.type, column.meaning) for column in view.columns]
    out.print(plain_table(("column", "type", "meaning"), rows))


def _help(_: str) -> None:
    out.print(plain_table(("command", "what it does"), list(commands().items())))


def _keys() -> KeyBindings:
    """Enter sends what is finished, and starts a new line in what is not; Ctrl-D leaves an empty prompt."""
    keys = KeyBindings()

    def finished(event_text: str) -> bool:
        text = event_text.strip()
        return not text or text.startswith("\\") or text.endswith(";")

    @Condition
    def is_finished() -> bool:
        from prompt_toolkit.application.current import get_app

        return finished(get_app().current_buffer.text)

    @keys.add("enter", filter=is_finished)
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    return keys
