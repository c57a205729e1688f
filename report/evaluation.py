"""What a run over controls shows: how often it is right, and how often it believes what can't be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exegete.controls.truths import NEGATIVE, POSITIVE
from exegete.report.contrast import Told, aurocs
from exegete.report.judged import Judged
from exegete.scorers.calibration import Bin, expected_calibration_error, reliability

ALL = "all"


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of how many."""

    k: int
    n: int

    @property
    def value(self) -> float | None:
        """The share; None of nothing."""
        return self.k / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95% interval of the share [Wilson 1927]; None of nothing."""
        if not self.n:
            return None
        from scipy.stats import binomtest

        found = binomtest(self.k, self.n).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run over controls, held against the truth."""

    run: str
    judged: tuple[Judged, ...]
    told: tuple[Told, ...]
    """Right and wrong labels as the job's scorers see them; empty where they were not scored."""
    left_out: tuple[str, ...] = ()
    """Kinds of controls that there are none of."""

    @property
    def recovery(self) -> dict[str, Rate]:
        """By kind, and of all: accepted and right, of all that were planted."""
        return self._rates(POSITIVE, lambda j: j.recovered, lambda j: True)

    @property
    def accepted(self) -> dict[str, Rate]:
        """By kind of planted feature, and of all: accepted, right or not."""
        return self._rates(POSITIVE, lambda j: j.accepted, lambda j: True)

    @property
    def false_accepts(self) -> dict[str, Rate]:
        """By kind of feature for which no label can be right: accepted, of those with a scored label."""
        return self._rates(NEGATIVE, lambda j: j.accepted, lambda j: j.scored)

    @property
    def unscored(self) -> dict[str, int]:
        """By kind: controls without a scored label, because too little fired or a reply was missing."""
        return dict(Counter(j.control.kind for j in self.judged if not j.scored))

    @property
    def auroc(self) -> dict[str, dict[str, float | None]]:
        """Right against wrong labels, by scorer and kind of wrongness."""
        return aurocs(self.told)

    @property
    def reliability(self) -> list[Bin]:
        """How confident the job was, and how often right, over all controls with a scored label."""
        return reliability(*self._confidences())

    @property
    def ece(self) -> float | None:
        """Expected calibration error of the job's confidence."""
        return expected_calibration_error(*self._confidences())

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; None where there is nothing to count."""
        return {
            "recovery": {kind: rate.value for kind, rate in self.recovery.items()},
            "false_accept_rate": {kind: rate.value for kind, rate in self.false_accepts.items()},
            "auroc": self.auroc,
            "ece": self.ece,
        }

    def of_kind(self, kind: str) -> list[Judged]:
        """The controls of one kind."""
        return [j for j in self.judged if j.control.kind == kind]

    def _confidences(self) -> tuple[list[float], list[bool]]:
        known = [(j.confidence, j.right) for j in self.judged if j.scored and j.confidence is not None]
        return [confidence for confidence, _ in known], [right for _, right in known]

    def _rates(self, kinds: Sequence[str], yes: Any, counts: Any) -> dict[str, Rate]:
        there = {kind: [j for j in self.of_kind(kind) if counts(j)] for kind in kinds if self.of_kind(kind)}
        rates = {kind: Rate(sum(map(yes, some)), len(some)) for kind, some in there.items()}
        return rates | {ALL: Rate(sum(r.k for r in rates.values()), sum(r.n for r in rates.values()))}
