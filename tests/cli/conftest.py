"""The command line in this process, on the planted workspace of the agent's tests."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from exegete import cli as package
from exegete.datastore.workspace import Workspace
from tests.agent.conftest import *  # noqa: F403 (fixtures, by its __all__)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What it said on stderr, which must be one line in the house's form, with nothing on stdout."""
        assert self.out == "", self.out
        assert self.err.startswith("exegete: "), self.err
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err.removeprefix("exegete: ").removesuffix("\n")


class Cli:
    """Runs `exegete` with some words, in a workspace unless they name one."""

    def __init__(self, workspace: Workspace, patch: pytest.MonkeyPatch, capture: Any) -> None:
        self._workspace, self._patch, self._capture = workspace, patch, capture

    def __call__(self, *words: object) -> Ended:
        line = [str(word) for word in words]
        if not {"-w", "--help"} & set(line):
            line += ["-w", str(self._workspace.root)]
        self._patch.setattr(sys, "argv", ["exegete", *line])
        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            package.main()
        out, err = self._capture.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ended(code, out, err)


@pytest.fixture
def cli(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("EXEGETE_WORKSPACE", raising=False)
    return Cli(workspace, monkeypatch, capsys)
