"""The planted workspace of the agent's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report import fill
from exegete.datastore.workspace import Workspace
from tests.agent.conftest import _labels_made_once, template

__all__ = ["_labels_made_once", "template"]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run in which everything happened to 120 features; not to be written to."""
    root = tmp_path_factory.mktemp("filled") / "space"
    fill(Workspace.open_or_create(root), 120)
    return root
