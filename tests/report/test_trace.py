"""A traced text as rows and as a page."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from exegete.datastore.records import FeatureId
from exegete.errors import WorkspaceError
from exegete.report.trace import Traced, as_json, page, tenths, traced, write_page
from exegete.subjects.tracing import Firing, Trace

HOSTILE = '<script>alert(1)</script>" onmouseover="alert(2)'


def feature(index: int) -> FeatureId:
    return FeatureId("m@1", "site", "neurons", index)


def firing(index: int, **at: float) -> Firing:
    """Where a feature fires: w3=1.5 for word 3."""
    words = np.asarray([int(name[1:]) for name in at])
    return Firing(feature(index), words, np.asarray(list(at.values()), np.float32))


WORDS = ("It", " is", " a", f" {HOSTILE}", " dog", ".")
TRACE = Trace(WORDS, (firing(1, w3=1.0, w4=2.0), firing(2, w4=9.0), firing(3, w0=1.0)))


class Known:
    """The evidence and the labels of features 1 and 2; 3 has no label."""

    name = "h"

    def summary(self, feature: FeatureId) -> Any:
        return SimpleNamespace(maximum={1: 4.0, 2: 90.0, 3: 1.0}[feature.index], threshold=0.5)

    def read(self, _sql: str, parameters: list[Any]) -> list[dict[str, Any]]:
        assert parameters == ["h", [1, 2, 3]]
        facts = {"polarity": "+", "status": "accepted", "confidence": None, "score": 0.62}
        return [
            {"feature_index": 1, "label": HOSTILE, **facts},
            {"feature_index": 2, "label": "dogs", **facts},
        ]


def found() -> list[Traced]:
    known: Any = Known()
    return traced(TRACE, known, known)


def test_strongest_first_by_each_features_maximum() -> None:
    """Half of a small maximum comes before a tenth of a large one; what has no label is left out."""
    rows = found()
    assert [(one.firing.feature.index, one.strength) for one in rows] == [(1, 0.5), (2, pytest.approx(0.1))]
    assert rows[0].strongest == [(4, 0.5), (3, 0.25)]
    facts = as_json(TRACE, rows)
    assert facts["words"] == list(WORDS)
    assert facts["features"][0]["fires"][0] == {"word": 4, "text": " dog", "strength": 0.5}


def test_a_page_by_itself() -> None:
    """Corpus and labels are text in it; it loads nothing, runs nothing, and marks words by number too."""
    html = page(TRACE, found(), "6 words")
    assert "<script" not in html
    assert not re.search(r"<[^>]*onmouseover=\"", html)
    assert "&lt;script&gt;alert(1)" in html
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=", html)
    assert " <mark>dog<sup>5</sup></mark>" in html
    assert "feature 1, accepted, score 0.62; here at 0.50 of its maximum" in html


def test_a_long_text() -> None:
    """Of a long text each feature shows the words around its strongest places only."""
    words = tuple(f" w{i}" for i in range(500))
    one = Traced(firing(1, w20=1.0, w25=0.9, w300=0.5, w400=0.4, w499=0.3), "l", "review", None, None, 1.0)
    html = page(Trace(words, (one.firing,)), [one], "500 words")
    section = html.partition("<section>")[2]
    assert section.count('<p class="text">') == 3
    shown = re.findall(r"w(\d+)", section)
    assert {"12", "28", "292", "400", "408"} <= set(shown)
    assert not {"29", "200", "499"} & set(shown)


def test_tenths() -> None:
    """From 1 to 10 where a feature fires, however weakly or strongly; 0 where it doesn't."""
    assert [tenths(x) for x in (0.0, 0.001, 0.26, 0.94, 1.0, 3.0)] == [0, 1, 3, 9, 10, 10]


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    """It is said in a sentence, and nothing is left behind."""
    with pytest.raises(WorkspaceError, match=r"can't be written .*: name another with --out"):
        write_page(tmp_path / "no" / "page.html", TRACE, found(), "6 words")
    write_page(tmp_path / "page.html", TRACE, found(), "6 words")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
