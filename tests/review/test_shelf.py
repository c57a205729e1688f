"""Evidence on cards: the same whenever it is read, and however."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from exegete.agent.spec import JobSpec
from exegete.datastore.evidence_contexts import ContextReader
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.workspace import Workspace
from exegete.review.keys import Key
from exegete.review.pages.shelf import Shelf
from exegete.review.pages.simulated import Simulations
from tests.agent import planted


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """Evidence, and no labels."""
    folder = planted.write_folder(tmp_path / "planted")
    space = Workspace.open_or_create(tmp_path / "workspace")
    import_parquet(folder, ImportSpec(quiet=300), space.evidence)
    return space


def test_a_card_is_the_same_once_all_is_read_ahead(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever plan was guessed, and with all contexts in memory, of which none is looked for any more."""
    (harvest,) = space.harvests()
    row = {"harvest": harvest, "feature_index": 4, "polarity": "+", "run": "r"}
    row |= {"label": 'the word "the"', "senses": None, "author": "a"}
    parameters = JobSpec(top=6).frozen(harvest=harvest, simulator="lexical@1")
    with closing(Simulations(space.journal)) as simulations:
        with closing(Shelf(space, simulations)) as shelf:
            before = shelf.examples(row, parameters)
        with closing(Shelf(space, simulations)) as shelf:
            shelf.warm(harvest)
            monkeypatch.setattr(ContextReader, "_fetch", lambda *_: pytest.fail("a context was not there"))
            shelf.read(Key(harvest, 4, "+"))
            assert shelf.examples(row, parameters) == before
    assert not isinstance(before, str)
    assert any(excerpt.simulated for tab in before.tabs for excerpt in tab.excerpts)
