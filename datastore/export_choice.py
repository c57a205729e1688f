"""Which labels an export has: by run, by harvest, by status."""

from __future__ import annotations

from dataclasses import dataclass

from exegete.datastore.records import STATUSES, Status
from exegete.datastore.store import Store
from exegete.errors import UsageError

ORDER = "ORDER BY harvest, feature_index, polarity"
"""Of every export: the same labels make the same bytes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Labels of the view `labels` that are wanted; None stands for all."""

    run: str | None = None
    harvest: str | None = None
    statuses: tuple[Status, ...] | None = None

    def where(self) -> tuple[str, list[object]]:
        """As a clause of SQL, with its parameters."""
        wanted = [("run", self.run), ("harvest", self.harvest)]
        clauses = [f"{name} = ?" for name, value in wanted if value is not None]
        parameters: list[object] = [value for _, value in wanted if value is not None]
        if self.statuses is not None:
            clauses.append("status IN (SELECT unnest(?))")
            parameters.append(list(self.statuses))
        return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), parameters


def choose(store: Store, run: str | None, harvest: str | None, status: str | None) -> Choice:
    """A choice from what was asked for.

    Args:
        store: the labels file.
        run: a run's name.
        harvest: a harvest's name, or a part of it that only one has.
        status: statuses with commas between them, or "all"; None is all too.

    Raises:
        UsageError: there is no such run, harvest or status, or no label of that kind.
    """
    names = [row["harvest"] for row in store.read("SELECT DISTINCT harvest FROM labels ORDER BY harvest")]
    if not names:
        raise UsageError(
            "there is nothing to export: no run has finished a feature; run `exegete label` first"
        )
    runs = [row["run"] for row in store.read("SELECT DISTINCT run FROM labels ORDER BY run")]
    if run is not None and run not in runs:
        raise UsageError(f"no label is of a run {run!r}: the labels are of {', '.join(runs)}")
    choice = Choice(run, _only(harvest, names), _statuses(status))
    where, parameters = choice.where()
    if not store.read(f"SELECT 1 FROM labels {where} LIMIT 1", parameters):
        raise UsageError("no label is of that kind: change --run, --harvest or --status")
    return choice


def _only(harvest: str | None, names: list[str]) -> str | None:
    if harvest is None:
        return None
    matching = [name for name in names if name == harvest] or [name for name in names if harvest in name]
    if len(matching) != 1:
        raise UsageError(f"choose one of these harvests with --harvest: {', '.join(matching or names)}")
    return matching[0]


def _statuses(text: str | None) -> tuple[Status, ...] | None:
    if text is None or text == "all":
        return None
    given = [part.strip() for part in text.split(",")]
    if not set(given) <= set(STATUSES):
        raise UsageError(f"--status {text!r} can't be read: name some of {', '.join(STATUSES)}, or all")
    return tuple(status for status in STATUSES if status in given)
