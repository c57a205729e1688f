"""What calls to a model are made for: a run, and the feature whose case is at work.

A simulator is handed a label and contexts, and does not know the feature; who made the call is told by the
context (in the sense of `contextvars`) that each case runs in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from exegete.datastore.records import FeatureId

_at_work: ContextVar[str] = ContextVar("feature", default="")


def at_work_on(feature: FeatureId) -> None:
    """Say which feature this task, and whatever it starts, asks models about from here on."""
    _at_work.set(str(feature))


class Tags(Mapping[str, str]):
    """The tags of a call made here and now: "run", and "feature" in a case."""

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
        return {name: value for name, value in (("run", self.run), ("feature", _at_work.get())) if value}
