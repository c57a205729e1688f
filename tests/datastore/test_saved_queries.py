"""Saved queries: files of the workspace, by names that stay in their folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from exegete.datastore.saved_queries import SavedQueries
from exegete.errors import UsageError


def test_saved_and_forgotten(tmp_path: Path) -> None:
    """A query comes back as it was written, is replaced by a later one, and is gone when it is forgotten."""
    saved = SavedQueries(tmp_path)
    assert saved.names() == []
    saved.save("low ones", "SELECT 1 -- é\n")
    saved.save("a", "SELECT 2")
    saved.save("a", "SELECT 3")
    assert saved.names() == ["a", "low ones"]
    assert (saved.text("low ones"), saved.text("a")) == ("SELECT 1 -- é\n", "SELECT 3")
    assert sorted(p.name for p in (tmp_path / "queries").iterdir()) == ["a.sql", "low ones.sql"]
    saved.drop("a")
    saved.drop("a")
    assert saved.names() == ["low ones"]


@pytest.mark.parametrize("name", ["", " ", "../a", "a/b", ".hidden", "a\nb", "a\x00", "x" * 61, "-rf"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    """A name that is no name is refused, and nothing is made anywhere."""
    saved = SavedQueries(tmp_path / "w")
    (tmp_path / "w").mkdir()
    for work in (lambda: saved.save(name, "SELECT 1"), lambda: saved.text(name), lambda: saved.drop(name)):
        with pytest.raises(UsageError):
            work()
    assert list(tmp_path.rglob("*.sql")) == []


@pytest.mark.parametrize("text", ["", " \n", "x" * 200_000])
def test_texts_that_are_not_kept(tmp_path: Path, text: str) -> None:
    """Nothing, and far too much, are refused."""
    with pytest.raises(UsageError, match="has some text"):
        SavedQueries(tmp_path).save("a", text)


def test_one_that_is_not_there(tmp_path: Path) -> None:
    """A query that nobody saved is a sentence."""
    with pytest.raises(UsageError, match="there is no saved query 'a'"):
        SavedQueries(tmp_path).text("a")
