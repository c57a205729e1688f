"""Finding labels by words and by meaning, against literal loops over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from exegete.datastore.find_labels import find_by_meaning, find_by_words
from exegete.datastore.records import Floats
from exegete.datastore.store import Store
from exegete.errors import UsageError, WorkspaceBusy
from tests.datastore.labelled import HARVEST, NOON

TEXTS = {
    0: "the word Import, at line ends",
    1: "imports of modules",
    2: "an import",
    3: "a.b* patterns (of regex)",
    4: None,
    5: "nothing of the kind",
    6: "an import",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    found = Store(tmp_path_factory.mktemp("find") / "labels.duckdb")
    feature = {"harvest": HARVEST, "polarity": "+"}
    found.insert(
        {
            "harvests": [
                {
                    **{"harvest": HARVEST, "subject": "s", "site": "x", "dictionary": "d", "tokens": 1},
                    **{"sha256": "0", "parameters": {}},
                }
            ],
            "outcomes": [
                {
                    **feature,
                    **{
                        "run": "r",
                        "feature_index": i,
                        "status": "accepted",
                        "label": text,
                        "why": "w",
                        "rounds": 1,
                    },
                    **{"candidates": 1, "density": 0.1, "maximum": 1.0, "made_at": NOON, "low": 0.1 * i},
                }
                for i, text in TEXTS.items()
            ],
        }
    )
    return found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("import", [6, 2, 0, 1]),  # whole words first, then by the lower end
        ("IMPORT an", [6, 2]),
        ("of", [5, 3, 1]),
        ("a.b*", [3]),
        ("%", []),
        ("'; DROP", []),
    ],
)
def test_by_words(store: Store, query: str, found: list[int]) -> None:
    """All words, in either case and with no sign that means something else, whole words before parts."""
    assert [row["feature_index"] for row in find_by_words(store, query, 10)] == found


def test_the_share_of_whole_words(store: Store) -> None:
    """`match` is the share of the words that stand alone, and the limit holds."""
    assert [row["match"] for row in find_by_words(store, "import mod", 10)] == [0.0]
    assert [row["match"] for row in find_by_words(store, "imports mod", 10)] == [0.5]
    assert len(find_by_words(store, "import", 2)) == 2


class Embedder:
    """Random unit vectors, the same for the same text, and a count of what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Floats:
        self.asked += texts
        rows = [np.random.default_rng(list(text.encode())).normal(size=8) for text in texts]
        return np.asarray([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


def test_by_meaning(store: Store, tmp_path: Path) -> None:
    """Every label by its cosine, nearest first; each text is embedded once a model, and remembered."""
    embed, vectors = Embedder(), tmp_path / "vectors.duckdb"
    said: list[tuple[int, int]] = []

    def ask(model: str, limit: int = 10) -> list[tuple[int, float]]:
        rows = find_by_meaning(
            store,
            "query",
            limit,
            model=model,
            embed=embed,
            vectors=vectors,
            on_progress=lambda done, of: said.append((done, of)),
        )
        return [(row["feature_index"], row["match"]) for row in rows]

    found = ask("m@1")
    cosines = {i: float(np.dot(*embed([text, "query"]))) for i, text in TEXTS.items() if text}
    wanted = sorted(cosines, key=lambda i: (-cosines[i], i))
    assert [i for i, _ in found] == wanted
    assert [match for _, match in found] == pytest.approx([cosines[i] for i in wanted], abs=1e-6)
    assert said == [(5, 5)]
    embed.asked.clear()
    assert ask("m@1", 2) == found[:2]
    assert embed.asked == ["query"]
    assert ask("m@2") == found
    assert len(embed.asked) == 2 + 5


def test_nothing_to_look_for(store: Store, tmp_path: Path) -> None:
    """An empty query, and a workspace without labels, are sentences."""
    with pytest.raises(UsageError, match="nothing to look for"):
        find_by_words(store, " ", 5)
    for where, text in ((store, " "), (Store(tmp_path / "empty.duckdb"), "x")):
        with pytest.raises(UsageError, match=r"nothing to look for|no label yet"):
            find_by_meaning(where, text, 5, model="m", embed=Embedder(), vectors=tmp_path / "v.duckdb")


def test_vectors_that_can_not_be_kept(store: Store, tmp_path: Path) -> None:
    """A file that can't be opened is a sentence."""
    with pytest.raises(WorkspaceBusy, match="in use or can't be written"):
        find_by_meaning(store, "x", 5, model="m", embed=Embedder(), vectors=tmp_path / "no" / "v.duckdb")
