"""Evidence of planted features, imported once a session."""

from __future__ import annotations

import pytest

from tests.scorers.pieces import FEATURES, Planted, import_planted


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """What `tests.scorers.pieces` plants, as a job reads it."""
    found = import_planted(tmp_path_factory.mktemp("pieces"))
    assert len(found.report) == len(found.refine) == FEATURES
    assert all(len(e.activating) >= 30 and len(e.quiet) == 30 for e in found.report)
    return found
