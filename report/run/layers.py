"""A run beside the other harvests of its workspace: one harvest is of one site, and so of one layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.report.run.chosen import Chosen
from exegete.report.run.coverage import Coverage, coverage

_RUNS = """
SELECT r.run, r.harvest, r.attempted, r.accepted, r.review, r.rejected, h.layer, h.site, h.dictionary,
    r.parameters ->> '$.explainer' AS explainer, CAST(r.parameters ->> '$.threshold' AS DOUBLE) AS threshold,
    s.median
FROM runs r
JOIN store.harvests h ON h.harvest = r.harvest AND h.kind IS DISTINCT FROM 'controls'
LEFT JOIN (SELECT run, median(score) AS median FROM outcomes GROUP BY run) s ON s.run = r.run
WHERE r.kind = 'job' AND r.attempted > 0
QUALIFY row_number() OVER (PARTITION BY r.harvest ORDER BY r.run = ? DESC, r.started_at DESC) = 1
ORDER BY h.layer NULLS LAST, h.site, h.dictionary, r.harvest
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """One harvest's run: this report's for its own, the latest for others."""

    row: Mapping[str, Any]
    """The run's counts, its harvest's site, and its median score."""
    coverage: Coverage | str


def layers(space: Workspace, store: Store, chosen: Chosen, own: Coverage | str, seed: int) -> list[Layer]:
    """One row a labelled harvest of the workspace, by layer.

    Args:
        space: the workspace.
        store: its labels file.
        chosen: the run that the report is about.
        own: its coverage.
        seed: of the resamples of the others'.
    """
    found = []
    for row in store.read(_RUNS, [chosen.name]):
        evidence = space.evidence / f"{row['harvest']}.duckdb"
        held = own if row["run"] == chosen.name else coverage(store, row["run"], evidence, seed)
        found.append(Layer(row, held))
    return found
