"""The share of the quiet pool's firings that labels hold, against a literal loop and scipy's bootstrap."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy.stats import bootstrap

from benchmarks.report import HARVEST, RUN
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.report.run.coverage import COUNTED, NOT_ATTEMPTED, ORDER, Coverage, coverage, shares_of


@pytest.fixture(scope="module")
def night(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a finished run, of which a part of the features was not attempted."""
    space = Workspace.open(shutil.copytree(filled, tmp_path_factory.mktemp("covered") / "space"))
    gone = "DELETE FROM store.outcomes WHERE feature_index % 5 = 0"
    Store(space.labels).write(lambda con: con.execute(gone))
    return space


def evidence(space: Workspace) -> Path:
    """The run's evidence file."""
    return space.evidence / f"{HARVEST}.duckdb"


def firings(space: Workspace) -> dict[int, dict[str, np.ndarray[Any, Any]]]:
    """By context and verdict: firings, their sum, and their sum over maxima, counted one by one."""
    rows = Store(space.labels).read("SELECT * FROM outcomes WHERE run = ?", [RUN])
    verdict = {r["feature_index"]: r["status"] for r in rows}
    found: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    with duckdb.connect(str(evidence(space)), read_only=True) as con:
        maximum = dict(con.execute("SELECT feature_index, maximum FROM features").fetchall())
        for (context,) in con.execute("SELECT context_id FROM contexts").fetchall():
            found[context] = defaultdict(lambda: np.zeros(3))
        sql = "SELECT feature_index, context_id, activations FROM quiet_activations"
        for index, context, activations in con.execute(sql).fetchall():
            for value in activations:
                counts = np.array([1.0, value, value / maximum[index]])
                found[context][verdict.get(index, NOT_ATTEMPTED)] += counts
    return found


def found(space: Workspace) -> Coverage:
    """What is under test."""
    coverage_of = coverage(Store(space.labels), RUN, evidence(space), 3)
    assert isinstance(coverage_of, Coverage)
    return coverage_of


def test_shares_are_those_of_a_loop(night: Workspace) -> None:
    """Each verdict's share, of each way to count, is its firings over all; together they are everything."""
    covered, pool = found(night), firings(night)
    sums = {status: sum((by.get(status, 0.0) for by in pool.values()), np.zeros(3)) for status in ORDER}
    whole = sum(sums.values(), np.zeros(3))
    for status in ORDER:
        for j, counted in enumerate(COUNTED):
            assert covered.shares[status][counted].value == pytest.approx(sums[status][j] / whole[j])
    for counted in COUNTED:
        assert sum(by_way[counted].value for by_way in covered.shares.values()) == pytest.approx(1)
    assert covered.contexts == len(pool)
    assert covered.features[NOT_ATTEMPTED] == 24
    assert sum(covered.features.values()) == 120
    assert covered.shares[NOT_ATTEMPTED]["mass"].value > 0.1


def test_intervals_are_scipys(night: Workspace) -> None:
    """Resampling contexts gives the interval that scipy's bootstrap of a ratio of sums gives."""
    covered, pool = found(night), firings(night)
    own = np.array([by["accepted"][1] if "accepted" in by else 0.0 for by in pool.values()])
    whole = np.array([sum(v[1] for v in by.values()) for by in pool.values()])

    def share(own: Any, whole: Any, axis: int) -> Any:
        return own.sum(axis=axis) / whole.sum(axis=axis)

    theirs = bootstrap(
        (own, whole),
        share,
        paired=True,
        vectorized=True,
        n_resamples=2000,
        batch=200,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    ends, mine = theirs.confidence_interval, covered.accepted()
    width = ends.high - ends.low
    assert (mine.low, mine.high) == pytest.approx((ends.low, ends.high), abs=width / 10)


def test_the_interval_holds_the_truth() -> None:
    """Of pools drawn from a known population, the interval holds its share in about 95% of cases."""
    rng, held = np.random.default_rng(5), 0
    for trial in range(60):
        pool = np.zeros((200, len(ORDER), len(COUNTED)))
        pool[:, 0] = rng.gamma(0.5, 2.0, (200, 1))
        pool[:, 2] = rng.gamma(0.5, 6.0, (200, 1))
        share = shares_of(pool, trial)["accepted"]["mass"]
        assert share.low is not None
        assert share.high is not None
        held += share.low <= 0.25 <= share.high
    assert held >= 52


def test_without_evidence_there_is_a_sentence(night: Workspace, tmp_path: Path) -> None:
    """A file that is not there, or no evidence file, is said and is no error."""
    for place in (tmp_path / "gone.duckdb", tmp_path / "not.duckdb"):
        if place.name.startswith("not"):
            place.write_bytes(b"no database")
            manifest = evidence(night).with_suffix(".json").read_text(encoding="utf-8")
            place.with_suffix(".json").write_text(manifest, encoding="utf-8")
        said = coverage(Store(night.labels), RUN, place, 0)
        assert isinstance(said, str)
        assert "put it back" in said


def test_an_empty_pool_is_no_zero(night: Workspace, tmp_path: Path) -> None:
    """Where nothing fires there is no share, and the sentence names the option."""
    place = tmp_path / "empty.duckdb"
    place.write_bytes(evidence(night).read_bytes())
    place.with_suffix(".json").write_bytes(evidence(night).with_suffix(".json").read_bytes())
    with duckdb.connect(str(place)) as con:
        con.execute("DELETE FROM quiet_activations")
    said = coverage(Store(night.labels), RUN, place, 0)
    assert isinstance(said, str)
    assert "--quiet" in said
