"""What calls to a model are made for: a run, the feature whose case is at work, and its stage.

A simulator is handed a label and contexts, and does not know the feature; who made the call is told by the
context (in the sense of `contextvars`) that each case, and each step of one, runs in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from exegete.agent.tally import begin_tally
from exegete.datastore.records import FeatureId

_at_work: ContextVar[str] = ContextVar("feature", default="")
_stage: ContextVar[str] = ContextVar("stage", default="")


def at_work_on(feature: FeatureId) -> None:
    """Say which feature this task, and whatever it starts, asks models about from here on, in a case anew."""
    _at_work.set(str(feature))
    begin_tally()


def at_stage(stage: str) -> None:
    """Say which step of the case asks models from here on, for as long as that step lasts."""
    _stage.set(stage)


class Tags(Mapping[str, str]):
    """The tags of a call made here and now: "run", and in a case "feature" and "stage"."""

    def __init__(self) -> None:
        self.run = ""
        """The run's name, once there is one."""

    def __getitem__(self, name: str) -> str:
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def _now(self) -> dict[str, str]:
        now = (("run", self.run), ("feature", _at_work.get()), ("stage", _stage.get()))
        return {name: value for name, value in now if value}
