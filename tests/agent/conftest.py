"""Evidence of known truth, imported once a session and copied for each test."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from tests.agent import planted
from tests.agent.harness import Runner

__all__ = ["_labels_made_once", "_one_tls_context", "run", "template", "workspace"]
"""What other folders' conftests take over whole."""


@pytest.fixture(autouse=True, scope="session")
def _one_tls_context() -> Iterator[None]:
    """One TLS context for all clients: making one takes longer than most tests, which use plain http."""
    context = ssl.create_default_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", lambda *_, **__: context)
        yield


@pytest.fixture(autouse=True, scope="package")  # no longer: how a file is made is tested elsewhere
def _labels_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A new labels file is a copy of one that was made: its tables and views take longer than a small job."""
    path = tmp_path_factory.mktemp("made") / "labels.duckdb"
    Store(path)
    made, migrate = path.read_bytes(), Store._migrate

    def copy_or_migrate(self: Store) -> None:
        try:
            with self.path.open("xb") as file:
                file.write(made)
        except OSError:  # it is there already, or can't be
            migrate(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "_migrate", copy_or_migrate)
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the planted harvest and nothing else; not to be written to."""
    root = tmp_path_factory.mktemp("planted")
    folder = planted.write_folder(root / "planted")
    workspace = Workspace.open_or_create(root / "workspace")
    import_parquet(folder, ImportSpec(quiet=300), workspace.evidence)
    return workspace.root


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    """A workspace of the test's own."""
    return Workspace.open(shutil.copytree(template, tmp_path / "workspace"))


@pytest.fixture
def run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs jobs in the test's workspace against a model that is a function."""
    return Runner(workspace, monkeypatch)
