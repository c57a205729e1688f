"""A round of falsification: tests are written from a label, then the subject runs them, then code compares.

The subject is asked only once every prediction of the round is there: nothing that it did can change what was
predicted. Whatever goes wrong costs the round and not the case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exegete.datastore.records import Evidence, Experiment
from exegete.errors import NoReadableReply
from exegete.explainers.experiments import run_predictions
from exegete.explainers.explainer import Attempt

if TYPE_CHECKING:
    from exegete.explainers.falsifier import Falsifier
    from exegete.subjects.laboratory import Bench


@dataclass(frozen=True, slots=True)
class Testing:
    """What labels are tested with.

    Attributes:
        falsifier: writes the tests, with their predictions.
        bench: the subject that runs them.
    """

    falsifier: Falsifier
    bench: Bench

    async def round(
        self, number: int, attempt: Attempt, evidence: Evidence, before: Sequence[Experiment]
    ) -> tuple[list[Experiment], str | None]:
        """Test a label.

        Args:
            number: of the round, from 1.
            attempt: the label, with its errors on the refine split.
            evidence: of the explain split.
            before: tests of the case's labels so far.

        Returns:
            The tests in the order they were written in; and, where there are none, why.

        Raises:
            LLMUnavailable, LLMStop: the model could not be reached.
        """
        try:
            predictions = await self.falsifier.predictions(attempt, evidence, before)
        except NoReadableReply as error:
            return [], str(error)
        return await run_predictions(self.bench, attempt.label, number, predictions, evidence.unit), None
