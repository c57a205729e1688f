"""What a command did, for whoever asks later: WORKSPACE/logs/exegete.log, and stderr with -v.

                     the file              stderr
    (default)        INFO and above        warnings
    -v               INFO and above        INFO and above
    -vv              everything            everything

The file holds one JSON object a line: time (UTC), level, logger, process, message, and whatever the code that
wrote it gave by name (`extra={"feature": …}`). There are five files of 5 MB at most. Keys are hidden at every
level. What a prompt, a corpus, a label or a server said is logged at DEBUG only, so that a log can be handed
around; exceptions are therefore told by their type and place, and their words are left to -vv.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import traceback
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from sys import exc_info
from typing import Any

from rich.text import Text

from exegete.cli.show import Warnings, complain, err, safe, to_json
from exegete.datastore.workspace import MARKER
from exegete.llm.redact import redact

LOGGER = logging.getLogger("exegete")
FILE_BYTES = 5_000_000
FILES = 5

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else was given by name."""


def say_warnings() -> None:
    """Have warnings said on stderr: what every command does, whether or not it keeps a log."""
    if not LOGGER.handlers:
        LOGGER.addHandler(Warnings(logging.WARNING))


def open_log(workspace: Path, verbose: int = 0) -> None:
    """Keep a workspace's log from here to the end of the command.

    A folder is written to once it is a workspace, and not before: a mistyped path gets no folder of logs.

    Args:
        workspace: its folder.
        verbose: how often -v was given.
    """
    LOGGER.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
    LOGGER.addHandler(LogFile(workspace, with_words=verbose > 1))
    if verbose:
        LOGGER.addHandler(Lines())


def is_said() -> bool:
    """Is what is logged said on stderr too, as with -v?"""
    return any(isinstance(handler, Lines) for handler in LOGGER.handlers)


def close_log() -> None:
    """Undo `say_warnings` and `open_log`."""
    for handler in list(LOGGER.handlers):
        if isinstance(handler, LogFile | Lines | Warnings):
            LOGGER.removeHandler(handler)
            handler.close()
    LOGGER.setLevel(logging.NOTSET)


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, *, with_words: bool) -> None:
        """Decide what is said of exceptions.

        Args:
            with_words: their messages too; False: their types and where they were raised.
        """
        super().__init__()
        self._with_words = with_words

    def format(self, record: logging.LogRecord) -> str:
        """One object, without a line end; what a terminal would obey is escaped."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        facts: dict[str, Any] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": redact(record.getMessage()),
            **{name: _plain(value) for name, value in given(record).items()},
        }
        if record.exc_info and record.exc_info[1] is not None:
            facts["exception"] = self._told(record.exc_info[1])
        return to_json(facts)

    def _told(self, error: BaseException) -> str | list[str]:
        """What is said of an exception."""
        if self._with_words:
            return redact("".join(traceback.format_exception(error)))
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
        return [type(error).__name__, *places]


class LogFile(RotatingFileHandler):
    """The log of a workspace. One that can't be written is said once, and nothing else comes of it."""

    def __init__(self, workspace: Path, *, with_words: bool = False) -> None:
        """Nothing is opened before there is something to write.

        Args:
            workspace: its folder.
            with_words: see `JsonLines`.
        """
        path = workspace / "logs" / "exegete.log"
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8", delay=True)
        self.setFormatter(JsonLines(with_words=with_words))
        self._path = path
        self._marker = workspace / MARKER
        self._said = False
        self._given_up = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, in a new file if this one is full."""
        if not self._given_up and (self.stream is not None or self._marker.exists()):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Say it once. After a failure of the disk nothing more is tried: the job is what matters."""
        error = exc_info()[1]
        self._given_up = isinstance(error, OSError)
        if not self._said:
            self._said = True
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            complain(f"the log {self._path} can't be written ({why}): going on without it")

    def close(self) -> None:
        """Close the file; what could not be written has been said."""
        with contextlib.suppress(OSError):
            super().close()

    def _open(self) -> TextIOWrapper:
        self._path.parent.mkdir(exist_ok=True)
        return super()._open()


class Lines(logging.Handler):
    """Says on stderr, above a progress bar, what is no warning; warnings are said by `Warnings`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line: when, what, and what was given by name."""
        if record.levelno < logging.WARNING:
            at = time.strftime("%H:%M:%S", time.localtime(record.created))
            named = "".join(f" {name}={_plain(value)}" for name, value in given(record).items())
            line = safe(redact(f"{at} {record.getMessage()}{named}"))
            err.print(Text(line, style="dim"), soft_wrap=True)


def given(record: logging.LogRecord) -> dict[str, Any]:
    """What a record was given by name (`extra=`)."""
    return {name: value for name, value in vars(record).items() if name not in _ORDINARY}


def _plain(value: object) -> object:
    """A value for a log: numbers to six digits, anything that is no plain value as redacted text."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int) else redact(str(value))
