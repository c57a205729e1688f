"""A label and evidence in, a score with its interval and chance level out; one method a file.

A scorer is found by name among ours and those of installed packages (entry points of the group
`exegete.scorers`); ours can't be replaced from outside.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, cast

from exegete.errors import UsageError

if TYPE_CHECKING:
    from exegete.datastore.records import Split
    from exegete.scorers.scorer import Scorer
    from exegete.simulators.simulator import Simulator

__all__ = ["GROUP", "SCORERS", "build", "names"]

GROUP = "exegete.scorers"

SCORERS = {
    "simulation": "exegete.scorers.simulation:SimulationScorer",
    "detection": "exegete.scorers.detection:DetectionScorer",
}
"""Our own scorers, by name, each imported when it is asked for."""


def names() -> tuple[str, ...]:
    """List the scorers there are: ours, then those of other packages."""
    return tuple(_found())


def build(
    name: str,
    simulator: Simulator,
    split: Split,
    *,
    threshold: float,
    seed: int,
    n_boot: int = 2000,
    n_perm: int = 1999,
) -> Scorer:
    """Make a scorer by its name.

    Args:
        name: one of `names()`.
        simulator: predicts levels from a label; scorers that share one that remembers share its calls.
        split: the only split whose evidence it is to take.
        threshold: value a label is to clear, in the scorer's units.
        seed: chooses the order of contexts and all resampling.
        n_boot: bootstrap replicates; 0 leaves the interval out.
        n_perm: permutations; 0 leaves chance and the p-value out.

    Raises:
        UsageError: there is no such scorer.
    """
    found = _found()
    if name not in found:
        raise UsageError(f"there is no scorer named {name!r}: choose one of {', '.join(found)}")
    make = found[name].load()
    return cast(
        "Scorer", make(simulator, split, threshold=threshold, seed=seed, n_boot=n_boot, n_perm=n_perm)
    )


def _found() -> dict[str, EntryPoint]:
    """Every scorer by name."""
    ours = {name: EntryPoint(name, value, GROUP) for name, value in SCORERS.items()}
    theirs = {point.name: point for point in entry_points(group=GROUP) if point.name not in ours}
    return ours | theirs
