"""Scorers by name."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from exegete import scorers
from exegete.errors import UsageError
from exegete.scorers.detection import DetectionScorer
from exegete.scorers.simulation import SimulationScorer
from tests.scorers.scorer_fakes import FakeSimulator, evidence, faithful

SIMULATOR = FakeSimulator(evidence(), faithful)


class FromElsewhere:
    """A scorer of another package."""

    def __init__(self, simulator: object, split: str, **options: object) -> None:
        self.given = (simulator, split, options)


def test_ours() -> None:
    """Our scorers are found by name and given everything they are made of."""
    made = scorers.build("simulation", SIMULATOR, "refine", threshold=0.4, seed=7, n_boot=0, n_perm=5)
    assert made == SimulationScorer(SIMULATOR, "refine", threshold=0.4, seed=7, n_boot=0, n_perm=5)
    default = scorers.build("detection", SIMULATOR, "report", threshold=0.8, seed=1)
    assert default == DetectionScorer(SIMULATOR, "report", 0.8, 1, n_boot=2000, n_perm=1999)
    with pytest.raises(UsageError, match="no scorer named 'fame': choose one of simulation, detection"):
        scorers.build("fame", SIMULATOR, "report", threshold=0.5, seed=0)


def test_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package adds scorers by entry points, and can't put its own in the place of ours."""
    points = [EntryPoint(name, f"{__name__}:FromElsewhere", scorers.GROUP) for name in ("mine", "simulation")]
    monkeypatch.setattr(scorers, "entry_points", lambda group: points if group == scorers.GROUP else [])
    assert scorers.names() == ("simulation", "detection", "mine")
    made = scorers.build("mine", SIMULATOR, "report", threshold=0.5, seed=0)
    assert type(made).__name__ == "FromElsewhere"
    ours = scorers.build("simulation", SIMULATOR, "report", threshold=0.5, seed=0)
    assert isinstance(ours, SimulationScorer)


def test_scorers_are_imported_when_asked_for() -> None:
    """Listing names imports no scorer, and scoring does not import scipy's statistics."""
    code = (
        "import sys, exegete.scorers as s; s.names(); print('exegete.scorers.simulation' in sys.modules);"
        "import exegete.scorers.simulation, exegete.scorers.detection, exegete.scorers.multiplicity;"
        "print('scipy.stats' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
