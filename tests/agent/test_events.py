"""What nothing could work out again is noted before it is committed, by anybody, and read back each once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.agent.events import (
    POLARITIES,
    append,
    as_ranges,
    events_folder,
    finished_by_run,
    finished_of,
    read_events,
    rows_by_key,
)
from exegete.datastore.workspace import parse_features
from exegete.errors import WorkspaceError
from exegete.review import record as recording
from tests.agent.harness import Runner, rows
from tests.review.deciding import decide_as_person

WHEN = datetime(2026, 3, 4, 5, 6, 7, 89)


def run_row(name: str, **columns: object) -> dict[str, object]:
    """A row of `runs`."""
    return {"run": name, "digest": "d", "parameters": {"seed": 3}, "made_at": WHEN} | columns


@given(st.sets(st.integers(0, 60), min_size=1))
def test_ranges(indices: set[int]) -> None:
    """Ranges read back as the indices they are of."""
    assert parse_features(as_ranges(sorted(indices))) == tuple(sorted(indices))


def test_rows_come_back(tmp_path: Path) -> None:
    """Rows come back with their times; an event that is there twice is one; of equal keys the last counts."""
    for name in ("a", "b", "a"):
        append(tmp_path, {"rows": {"runs": [run_row(name)]}})
    append(tmp_path, {"rows": {"runs": [run_row("b", kind="job")]}})
    events = list(read_events(tmp_path))
    assert [event.rows["runs"][0] for event in events] == [
        run_row("a"),
        run_row("b"),
        run_row("b", kind="job"),
    ]
    assert rows_by_key(events, "runs") == {("a", "d"): run_row("a"), ("b", "d"): run_row("b", kind="job")}
    assert finished_by_run(events) == {}


@given(st.sets(st.tuples(st.integers(0, 40), st.sampled_from(POLARITIES)), min_size=1))
def test_finished(tmp_path_factory: pytest.TempPathFactory, features: set[tuple[int, str]]) -> None:
    """The latest that was noted of a run's features is what is known of them."""
    folder = tmp_path_factory.mktemp("events")
    append(folder, finished_of("r", [(7, "+")]))
    append(folder, finished_of("r", list(features)))  # type: ignore[arg-type]
    append(folder, finished_of("other", [(1, "-")]))
    found = finished_by_run(read_events(folder))
    assert found["r"].features == features
    assert found["other"].features == {(1, "-")}


def test_many_at_once(tmp_path: Path) -> None:
    """Those who note at the same moment wait for each other, and nothing is lost."""
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: append(tmp_path, {"rows": {"runs": [run_row(str(n))]}}), range(12)))
    assert {key[0] for key in rows_by_key(read_events(tmp_path), "runs")} == {str(n) for n in range(12)}


def test_a_decision_that_can_not_be_noted_is_not_made(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full, the person is told, and neither place has the decision."""
    run(features="8")

    def full(*_: object) -> None:
        raise WorkspaceError("no room left")

    with monkeypatch.context() as patch:
        patch.setattr(recording, "note_rows", full)
        with pytest.raises(WorkspaceError, match="no room"):
            decide_as_person(run.workspace, 8, "+", "accept", None, "ada", None)
    assert rows(run.workspace, "SELECT * FROM reviews") == []
    decide_as_person(run.workspace, 8, "+", "accept", None, "ada", None)
    noted = rows_by_key(read_events(events_folder(run.workspace.labels)), "reviews")
    stored = rows(run.workspace, "SELECT * FROM store.reviews")
    assert list(noted.values()) == stored
    assert len(stored) == 1
