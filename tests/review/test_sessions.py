"""Sessions of two people in any order, against a literal history that is replayed from its start."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from exegete.datastore.store import Store
from exegete.review.record import DECISIONS, Act, Kind, Stale, record, redo, undo
from tests.review.labelled import key, outcome, workspace_of

WHO = st.sampled_from(["ann", "bob"])


class Session(RuleBasedStateMachine):
    """Two reviewers and two features; what a person did is a stack, and so is what was taken back."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.workspace = workspace_of(Path(self._folder.name) / "w", [outcome(i) for i in range(2)])
        self.store = Store(self.workspace.labels)
        self.done: dict[str, list[dict[str, Any]]] = {"ann": [], "bob": []}
        self.gone: dict[str, list[dict[str, Any]]] = {"ann": [], "bob": []}
        self.n = 0

    def teardown(self) -> None:
        """Leave nothing."""
        self._folder.cleanup()

    def decisions(self, index: int) -> list[dict[str, Any]]:
        """What stands of a feature, in the order in which it was done."""
        all_of_it = [one for stack in self.done.values() for one in stack]
        found = [one for one in all_of_it if one["index"] == index and one["kind"] in DECISIONS]
        return sorted(found, key=lambda one: one["n"])

    def state(self, index: int) -> tuple[str, str, str | None]:
        """Label, status and reviewer."""
        label, status, reviewer = f"label {index}", "review", None
        for one in self.decisions(index):
            label = one["text"] or label
            status, reviewer = ("rejected" if one["kind"] == "reject" else "accepted"), one["who"]
        return label, status, reviewer

    def blocked(self, one: dict[str, Any], *, again: bool) -> bool:
        """Whether the other has decided since, or the label to be decided about again is another one."""
        if one["kind"] not in DECISIONS:
            return False
        later = [o for o in self.decisions(one["index"]) if o["n"] > one["n"] and o["who"] != one["who"]]
        return bool(later) or (again and self.state(one["index"])[0] != one["before"])

    @rule(who=WHO, index=st.integers(0, 1), kind=st.sampled_from([*DECISIONS, "skip", "flag"]))
    def act(self, who: str, index: int, kind: Kind) -> None:
        """Do something."""
        self.n += 1
        text, before = (f"text {self.n}" if kind == "edit" else None), self.state(index)[0]
        record(self.workspace, Act(key(index), kind, who, before, text))
        one = {"index": index, "kind": kind, "text": text, "who": who, "n": self.n, "before": before}
        self.done[who].append(one)
        self.gone[who].clear()

    @rule(who=WHO)
    def undo(self, who: str) -> None:
        """Take the latest back."""
        if not self.done[who]:
            assert undo(self.workspace, who) is None
        elif self.blocked(self.done[who][-1], again=False):
            with pytest.raises(Stale):
                undo(self.workspace, who)
        else:
            assert undo(self.workspace, who) is not None
            self.gone[who].append(self.done[who].pop())

    @rule(who=WHO)
    def redo(self, who: str) -> None:
        """Put it back."""
        if not self.gone[who]:
            assert redo(self.workspace, who) is None
        elif self.blocked(self.gone[who][-1], again=True):
            with pytest.raises(Stale):
                redo(self.workspace, who)
        else:
            assert redo(self.workspace, who) is not None
            self.done[who].append(self.gone[who].pop())

    @invariant()
    def views_agree(self) -> None:
        """The view says what the history says."""
        rows = self.store.read("SELECT label, status, reviewer FROM labels ORDER BY feature_index")
        assert [tuple(row.values()) for row in rows] == [self.state(i) for i in range(2)]


@pytest.mark.slow
def test_undo_and_redo_against_a_literal_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any order of acts, undos and redos of two people reads as the literal history says."""
    monkeypatch.setattr("os.fsync", lambda file: None)  # nothing is killed here
    run_state_machine_as_test(
        Session, settings=settings(max_examples=4, stateful_step_count=10, deadline=None, derandomize=True)
    )
