"""What features and controls make of the same texts, at the same movement of predictions.

The controls are the same for all features of a harvest and made once: random directions, which no feature is
likelier to be told from than from another, and other features, which the model does read. A feature is never
its own control.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from exegete.agent.output_texts import in_rounds, neutral_texts
from exegete.datastore.evidence_file import EvidenceFile
from exegete.scorers.ablation import p_among
from exegete.scorers.steering import CHOICES, Continued
from exegete.subjects.causal import CausalSubject, Ids
from exegete.subjects.control_directions import random_rows
from exegete.subjects.edits import Feature
from exegete.subjects.steered import Steered, push_needed, steer

if TYPE_CHECKING:
    import torch

TEXTS, TEXT_TOKENS = 16, 16
"""Neutral texts that are continued, and tokens of each."""
A_ROUND = 2
"""Texts a round of judging: eight rounds."""
WRITTEN = 12
"""Tokens that are written."""
KL = 0.5
"""Movement of predictions that directions are compared at, nats a token."""
CONTROLS = 6
"""Random directions that are continued, and as many other features."""
PUSHED = 50
"""Random directions of which it is known how far they have to be pushed."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A feature beside its controls."""

    own: tuple[Continued, ...]
    """Round by round."""
    controls: tuple[tuple[Continued, ...], ...]
    """For each control, round by round."""
    details: dict[str, float | None]
    """How far it was pushed: `shift_up` and `shift_down` in raw units, `push` (upwards) in lengths of the
    stream, and `p_push`, the share of random directions that need no more, counting the feature itself."""


@dataclass(frozen=True, slots=True)
class _Control:
    index: int | None
    """The feature whose it is; None for a random one."""
    rounds: tuple[Continued, ...]


@dataclass(frozen=True, slots=True)
class _Controls:
    continued: tuple[_Control, ...]
    pushes: tuple[float, ...]
    """Of random directions, in lengths of the stream; infinite where no push is enough."""


@dataclass(slots=True)
class SteeringTable:
    """Continues the same texts along one feature after another."""

    subject: CausalSubject
    texts: Sequence[Ids]
    seed: int
    _controls: _Controls | None = None

    def compare(self, feature: Feature) -> Compared | str:
        """Continue the texts along a feature; the first one asked for has the controls made.

        Returns:
            The feature beside its controls, or why they can't be compared.
        """
        own, controls = self._steered(feature), self._of_harvest(feature)
        if own is None:
            return f"no push of the feature moves predictions by {KL} nats, on one side or the other"
        others = tuple(c.rounds for c in controls.continued if c.index != feature.index)
        if len(others) < CHOICES - 1:
            return f"{len(others)} controls move predictions by {KL} nats, and {CHOICES - 1} are needed"
        details = {
            "kl": KL,
            "shift_up": own.shift_up,
            "shift_down": own.shift_down,
            "push": own.push,
            # The less a direction has to be pushed, the more it does: the order is turned round.
            "p_push": p_among(-own.push, [-push for push in controls.pushes]),
        }
        return Compared(_rounds(own), others, details)

    def _of_harvest(self, feature: Feature) -> _Controls:
        if self._controls is None:
            # Carried by the same features whoever comes first, so that not even their last bits differ.
            first = replace(feature, index=0, sign=1)
            others = [replace(first, index=index) for index in self._others(feature)]
            # Their length does not count, as all are pushed until predictions have moved by as much.
            randoms = random_rows(self.subject, first, PUSHED, self.seed)
            by_random = [self._steered(first, row) for row in randoms[:CONTROLS]]
            continued = [_Control(None, _rounds(each)) for each in by_random if each is not None]
            for other in others:
                if (steered := self._steered(other)) is not None:
                    continued.append(_Control(other.index, _rounds(steered)))
            pushes = [None if each is None else each.push for each in by_random]
            pushes += [
                push_needed(self.subject, first, self.texts, kl=KL, along=row) for row in randoms[CONTROLS:]
            ]
            farthest = tuple(math.inf if push is None else push for push in pushes)
            self._controls = _Controls(tuple(continued), farthest)
        return self._controls

    def _others(self, feature: Feature) -> list[int]:
        """Features of the dictionary, drawn once for all; fewer where it has no more."""
        n = feature.dictionary.n_features
        rng = np.random.default_rng([self.seed, n])
        return [int(i) for i in rng.choice(n, min(n, CONTROLS), replace=False)]

    def _steered(self, feature: Feature, along: torch.Tensor | None = None) -> Steered | None:
        return steer(self.subject, feature, self.texts, kl=KL, n_tokens=WRITTEN, seed=self.seed, along=along)


def steering_texts(file: EvidenceFile, seed: int) -> list[Ids]:
    """The texts that are continued: neutral ones of the report split, which no output label was written from.

    Raises:
        SubjectError: the harvest has none.
    """
    return neutral_texts(file, "report", n=TEXTS, length=TEXT_TOKENS, seed=seed)


def _rounds(steered: Steered) -> tuple[Continued, ...]:
    """Continuations dealt to rounds."""
    ups, downs = in_rounds(steered.up, A_ROUND), in_rounds(steered.down, A_ROUND)
    return tuple(Continued(up, down) for up, down in zip(ups, downs, strict=True))
