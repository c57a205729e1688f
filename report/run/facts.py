"""Everything a report says, collected once: the page, the terminal and `--json` are made from this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.report.run.chosen import Chosen, choose
from exegete.report.run.coverage import Coverage, as_json, coverage
from exegete.report.run.examples import Shown, Which, examples
from exegete.report.run.layers import Layer, layers
from exegete.report.run.questions import ask
from exegete.report.run.reliability import Curve, curves

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run shows."""

    chosen: Chosen
    tables: Mapping[str, Sequence[Row]]
    """Rows by the names of `exegete.report.run.questions.QUESTIONS`."""
    coverage: Coverage | str
    """Or why there is none."""
    layers: Sequence[Layer]
    curves: Sequence[Curve]
    examples: Mapping[Which, Sequence[Shown]]

    def one(self, table: str) -> Row:
        """The only row of a table."""
        return self.tables[table][0]

    @property
    def primary(self) -> str | None:
        """The scorer that the verdicts were read from, with its version; None where nothing was scored."""
        wanted = self.chosen.parameters["scorers"][0]
        named = [str(row["scorer"]) for row in self.tables["scorers"] if row["side"] == "input"]
        return next((name for name in named if name.partition("@")[0] == wanted), None)

    @property
    def attempted(self) -> int:
        """Features that the run finished."""
        return int(self.chosen.row["attempted"])

    @property
    def accepted(self) -> int:
        """Features whose label it accepted."""
        return int(self.chosen.row["accepted"])

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and words; None where something is missing."""
        return {
            "run": dict(self.chosen.row) | {"parameters": dict(self.chosen.parameters)},
            "tables": {name: [dict(row) for row in rows] for name, rows in self.tables.items()},
            "coverage": None if isinstance(self.coverage, str) else as_json(self.coverage),
            "layers": [
                dict(layer.row)
                | {"coverage": None if isinstance(layer.coverage, str) else as_json(layer.coverage)}
                for layer in self.layers
            ],
            "reliability": [asdict(curve) for curve in self.curves],
        }


def collect(space: Workspace, name: str | None) -> Facts:
    """Collect what a run shows.

    Args:
        space: the workspace; a job may be running in it.
        name: the run's; None takes the job that was started last.

    Raises:
        UsageError: there is no such run, or it has finished nothing.
        WorkspaceBusy: another process holds the labels file for too long.
    """
    chosen, store = choose(space, name), Store(space.labels)
    seed = int(chosen.digest[:12], 16)
    tables = ask(store, chosen.name, chosen.digest)
    held = coverage(store, chosen.name, chosen.evidence, seed)
    sources = {r["source"]: r["why_none"] is None for r in tables["calibrations"]}
    return Facts(
        chosen,
        tables,
        held,
        layers(space, store, chosen, held, seed),
        curves(store, chosen.name, sources),
        examples(store, chosen.name, chosen.harvest, chosen.digest),
    )
