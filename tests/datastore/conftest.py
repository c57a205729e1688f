"""Evidence that many tests read and none writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exegete.datastore.evidence_file import EvidenceFile
from tests.datastore.corpus import SIZES, stream
from tests.datastore.streams import Seen, build


@pytest.fixture(scope="session")
def seen() -> list[Seen]:
    """All contexts of the small corpus with all their activations."""
    return stream()


@pytest.fixture(scope="session")
def evidence(seen: list[Seen], tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvidenceFile]:
    """Its evidence file, opened."""
    file = build(tmp_path_factory.mktemp("evidence"), seen, SIZES)
    yield file
    file.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a labels file may be made."""
    return tmp_path / "labels.duckdb"
