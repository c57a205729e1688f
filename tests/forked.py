"""Processes to be killed, stopped and crowded, that begin with what takes longest imported.

One process a pytest worker imports it all and does nothing else; those asked for are forked from that one.
They share nothing with the tests, and are killed like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LIMIT_S = 60.0
"""Longest that anything here is waited for."""
IMPORTED = (
    *("aiohttp", "anthropic", "duckdb", "openai", "rich.progress", "typer", "zstandard"),
    *("exegete.agent.job", "exegete.llm.anthropic", "exegete.llm.openai", "exegete.report.mixed"),
    *("tests.llm.batch_worker", "tests.llm.worker"),
)
"""Not `exegete.cli`: its consoles look at the environment when they are made."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(list(IMPORTED))


class Forked:
    """A function in a process of its own, handled as a `subprocess.Popen`.

    Attributes:
        returncode: as it ended; None while nobody has seen it end.
    """

    def __init__(self, function: Callable[..., object], *arguments: Any) -> None:
        """Start it, in the repository's root and with the environment that the test has now.

        Args:
            function: of a module that can be imported.
            arguments: its own.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="forked-")
        self._process = _CONTEXT.Process(
            target=_run, args=(function, arguments, dict(os.environ), self._folder.name)
        )
        self._process.start()
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        """The process's."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        if self.returncode is None:
            self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float = LIMIT_S) -> int:
        """How it ends.

        Raises:
            subprocess.TimeoutExpired: it does not in so many seconds.
        """
        self._process.join(timeout)
        found = self.poll()
        if found is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout)
        return found

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()

    def communicate(self, timeout: float = LIMIT_S) -> tuple[str, str]:
        """Wait for its end: what it printed on stdout and on stderr."""
        self.wait(timeout)
        out, err = ((Path(self._folder.name) / name).read_text() for name in ("out", "err"))
        return out, err

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever happened, it is gone."""
        if self.poll() is None:
            self.kill()
        self.wait()
        self._process.close()
        self._folder.cleanup()


def run_exegete(arguments: Sequence[str], before: str) -> None:
    """The command line; see `tests.agent.processes.start`."""
    exec(before, {})
    sys.argv = ["exegete", *arguments]
    from exegete.cli import main

    main()


def _run(
    function: Callable[..., object], arguments: Sequence[Any], environment: dict[str, str], folder: str
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for name, number in (("out", 1), ("err", 2)):
        file = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    function(*arguments)
