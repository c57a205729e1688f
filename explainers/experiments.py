"""Predictions run on the subject: code compares, and says which of them came true.

1. All texts of a round go to the subject together, which batches them with those of other features.
2. A prediction that the feature fires holds when its largest activation is above the feature's threshold,
   the one its evidence was collected with; a prediction that it is silent holds when it is not. A text that
   was not run has no outcome, and the reason stands in its place.

No language model has a part in it: whoever wrote the predictions neither runs nor judges them.

A label has failed when, of what it says fires or of what it says stays silent, fewer than half came true,
and at least two tests of that side were run. The tests were written to break the label and are no sample of
any text, so their share is not an estimate of anything, and has no interval. A single failure is a
counter-example for whoever revises the label; it is not a verdict, as a true label of a noisy feature has
some too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exegete.datastore.records import Experiment, Label, Prediction, Unit
from exegete.errors import SubjectError
from exegete.subjects.bench import Bench, Measured, NotMeasured, NotRun, compared

NEEDED = 2
"""Tests of a side that have to be run before the label can fail on it."""
HALF = 0.5
"""Share of a side's tests below which the label has failed on it."""


@dataclass(frozen=True, slots=True)
class Tested:
    """How the predictions of a label came out; those that were not run count nowhere else."""

    fires_held: int
    """Predicted to fire, and did."""
    fires_failed: int
    """Predicted to fire, and stayed silent."""
    silent_held: int
    """Predicted to stay silent, and did."""
    silent_failed: int
    """Predicted to stay silent, and fired."""
    not_run: int

    @property
    def tests(self) -> int:
        """How many were run."""
        return self.held + self.fires_failed + self.silent_failed

    @property
    def held(self) -> int:
        """How many of them came true."""
        return self.fires_held + self.silent_held

    @property
    def too_broad(self) -> bool:
        """Does the label claim texts on most of which the feature is silent?"""
        return _fails(self.fires_held, self.fires_failed)

    @property
    def too_narrow(self) -> bool:
        """Does the label leave out texts on most of which the feature fires?"""
        return _fails(self.silent_held, self.silent_failed)

    @property
    def failed(self) -> bool:
        """Has the label failed, on one side or both?"""
        return self.too_broad or self.too_narrow

    @property
    def said(self) -> str:
        """One clause with the numbers."""
        left_out = f", {self.not_run} not run" if self.not_run else ""
        if not self.tests:
            return f"no prediction was run{left_out}"
        return (
            f"{self.held} of {self.tests} predictions came true "
            f"({self.fires_held} of {self.fires_held + self.fires_failed} to fire, "
            f"{self.silent_held} of {self.silent_held + self.silent_failed} to stay silent{left_out})"
        )


def summary(experiments: Sequence[Experiment]) -> Tested:
    """Count how predictions came out.

    Args:
        experiments: of one label, of any number of rounds.
    """

    def count(verdict: str, fires: bool) -> int:
        return sum(e.verdict == verdict and e.prediction.fires is fires for e in experiments)

    return Tested(
        fires_held=count("held", True),
        fires_failed=count("failed", True),
        silent_held=count("held", False),
        silent_failed=count("failed", False),
        not_run=sum(e.verdict == "not run" for e in experiments),
    )


async def run_predictions(
    bench: Bench, label: Label, round: int, predictions: Sequence[Prediction], unit: Unit = "word"
) -> list[Experiment]:
    """Run predictions on the subject and compare.

    Args:
        bench: the subject with the label's feature.
        label: what predicted.
        round: the round of falsification, from 1.
        predictions: what was predicted; it has been written down before.
        unit: what one activation is of.

    Returns:
        One experiment for each prediction, in their order. When the subject can't be had any more, none of
        them was run, for the reason it gives.

    Raises:
        NotMeasured: what is asked only remembers, and doesn't know one of the texts.
    """
    if not predictions:
        return []
    threshold = bench.threshold(label.feature)
    measured: Sequence[Measured | NotRun]
    try:
        measured = await bench.measure(label.feature, [p.text for p in predictions], unit)
    except NotMeasured:
        raise
    except SubjectError as error:
        measured = [NotRun(str(error))] * len(predictions)
    return [
        compared(label, round, prediction, outcome, threshold)
        for prediction, outcome in zip(predictions, measured, strict=True)
    ]


def _fails(held: int, failed: int) -> bool:
    """Did fewer than half of a side's tests come true, of at least `NEEDED`?"""
    run = held + failed
    return run >= NEEDED and held < HALF * run
