"""Evidence that many tests read and none writes."""

from __future__ import annotations

from collections.abc import Iterator

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
