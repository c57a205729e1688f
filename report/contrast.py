"""Right and wrong labels of planted features through the scorers of a job: which tell the two apart?

Every label is scored on the report split, as the job scores its own. One that predicts the same everywhere
was put to the test and failed: it ranks below all others. One that could not be scored is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from exegete.agent.parts import Parts
from exegete.agent.tags import at_stage, at_work_on
from exegete.controls.suite import Control, controls_of
from exegete.controls.wrong import WRONGNESS
from exegete.datastore.evidence import ReportEvidence
from exegete.datastore.records import Label, Score
from exegete.scorers.classification import Judgements, auroc

RIGHT = "right"
STAGE = "controls"
"""What calls for this are tagged with."""


@dataclass(frozen=True, slots=True)
class Told:
    """One label of a control, as one scorer sees it."""

    index: int
    """The control's."""
    kind: str
    how: str
    """ "right", or how it is wrong."""
    text: str
    scorer: str
    """Without its version."""
    value: float | None
    """-inf for a label that predicts the same everywhere; None where it could not be scored."""


async def contrast(
    parts: Parts, concurrency: int, on_progress: Callable[[int, int], None] = lambda *_: None
) -> list[Told]:
    """Score the right label and all wrong ones of every control that has a truth.

    Args:
        parts: of the job, over the evidence of the controls.
        concurrency: labels at once.
        on_progress: told how many labels are scored, and of how many.

    Raises:
        LLMError: no model could be reached; what was answered is in the journal.
    """
    labels = [
        (control, how, text)
        for control in controls_of(parts.evidence)
        if control.truth is not None
        for how, text in {RIGHT: control.truth.right, **control.wrong}.items()
    ]
    gate, scorers, done = asyncio.Semaphore(concurrency), parts.quick_scorers(), 0

    async def score(control: Control, how: str, text: str) -> list[Told]:
        nonlocal done
        feature = parts.evidence.feature(control.index)
        async with gate:
            at_work_on(feature)
            at_stage(STAGE)
            evidence = ReportEvidence(parts.evidence).report(feature, parts.spec.report_plan)
            scores = [await scorer.score(Label(feature, text, how), evidence) for scorer in scorers]
            await asyncio.sleep(0)  # the lexical simulator never yields by itself
        done += 1
        on_progress(done, len(labels))
        return [
            Told(control.index, control.kind, how, text, s.scorer.partition("@")[0], _value(s))
            for s in scores
        ]

    parts.evidence.prefetch([parts.evidence.feature(control.index) for control, *_ in labels])
    found = await asyncio.gather(*(score(*label) for label in labels))
    return [told for some in found for told in some]


def _value(score: Score) -> float | None:
    """A score's value; -inf where it was tested and predicted nothing."""
    if score.value is None and score.p_value is not None:
        return -np.inf
    return score.value


def aurocs(told: Sequence[Told]) -> dict[str, dict[str, float | None]]:
    """How well each scorer ranks right labels above wrong ones, by how these are wrong.

    Right labels are those of the features that have a wrong one of this kind.

    Returns:
        By scorer and kind of wrongness, and "all": 1 tells them apart, .5 does not; None where either kind
        of label is missing.
    """
    scorers = dict.fromkeys(t.scorer for t in told)
    return {
        scorer: {how: _auroc([t for t in told if t.scorer == scorer], (how,)) for how in WRONGNESS}
        | {"all": _auroc([t for t in told if t.scorer == scorer], WRONGNESS)}
        for scorer in scorers
    }


def _auroc(told: Sequence[Told], hows: Sequence[str]) -> float | None:
    wrong = [t for t in told if t.how in hows and t.value is not None]
    concerned = {t.index for t in wrong}
    right = [t for t in told if t.how == RIGHT and t.value is not None and t.index in concerned]
    if not wrong or not right:
        return None
    values = np.asarray([t.value for t in (*right, *wrong)], dtype=np.float64)
    fires = np.arange(len(values)) < len(right)
    return auroc(Judgements(fires, fires, values))
