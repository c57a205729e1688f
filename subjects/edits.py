"""Edits: change one feature while the model runs, and leave everything else as it is.

At the site that its dictionary writes to, a feature contributes its activation times its decoder row. An edit
adds (wanted activation - activation) times the row: the dictionary's reconstruction is never put in the
stream's place, so that its error stays where it was, and clamping a feature to what it is changes nothing.

    ablate      0 where it fires
    clamp       one value at every token
    shift       a value more or less at every token
    as control  the same amounts along another direction (see `exegete.subjects.control_directions`)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exegete.errors import SubjectError
from exegete.subjects.dictionaries import Dictionary

if TYPE_CHECKING:
    import torch

    from exegete.subjects.causal import CausalSubject
    from exegete.subjects.sites import Site

Target = Callable[["torch.Tensor"], "torch.Tensor"]
"""From a feature's activations to those wanted, (contexts, positions) to the same."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature that can be edited."""

    dictionary: Dictionary
    index: int
    site: str
    """Where it is read."""
    sign: int = 1
    """-1 for the negative side of a neuron: its activation and its direction are turned round."""
    threshold: float = 0.0
    """It is silent at or below this, raw units."""

    @property
    def writes_to(self) -> str:
        """The site that its decoder writes to."""
        return self.dictionary.origin.site_out or self.site

    def activations(self, acts_BTD: torch.Tensor) -> torch.Tensor:
        """(contexts, positions) its activations, raw units of its own side."""
        import torch

        wanted = torch.tensor([self.index], device=acts_BTD.device)
        return self.sign * self.dictionary.encode(acts_BTD, wanted)[..., 0].float()

    def direction(self) -> torch.Tensor:
        """(width of the site it writes to,) what one unit of it adds there.

        Raises:
            SubjectError: its dictionary has no decoder.
        """
        import torch

        if self.dictionary.name == "neurons":
            row = torch.zeros(self.dictionary.width)
            row[self.index] = 1.0
            return self.sign * row
        rows = self.dictionary.decode_rows(torch.tensor([self.index]))
        if rows is None:
            raise SubjectError(
                f"{self.dictionary.name} has no decoder, so that its features can't be edited: fetch it with "
                "its decoder's weights"
            )
        return self.sign * rows[0].float()


def ablated(feature: Feature) -> Target:
    """0 wherever it fires, as it is elsewhere."""
    return lambda acts_BT: acts_BT.where(acts_BT <= feature.threshold, 0.0)


def clamped(value: float) -> Target:
    """One value at every token, raw units."""

    def target(acts_BT: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.full_like(acts_BT, value)

    return target


def shifted(value: float) -> Target:
    """What it is and a value more (or less) at every token, raw units."""
    return lambda acts_BT: acts_BT + value


class FeatureEdit:
    """One feature's activation, replaced while the model runs."""

    def __init__(self, feature: Feature, target: Target, along: torch.Tensor | None = None) -> None:
        """Prepare an edit.

        Args:
            feature: whose activation is replaced.
            target: by what.
            along: (channels its dictionary writes,) what a unit adds in place of the feature's own row, for
                controls; or (contexts, channels), another one for each context of the batch.
        """
        self._feature, self._target = feature, target
        self._row = feature.direction() if along is None else along.float()

    def attach(self, subject: CausalSubject, own_BT: torch.Tensor) -> Sequence[Any]:
        """Hook it in; see `exegete.subjects.causal.Edit`.

        Raises:
            SubjectError: a site is not in the model, or is read behind a norm.
        """
        f = self._feature
        read, write = subject.reader.site(f.site), subject.reader.site(f.writes_to)
        if write.normed:
            raise SubjectError(
                f"what is added at {f.writes_to} is lost in its norm: it can't be edited there"
            )
        kept: list[torch.Tensor] = []

        def change(x_BTD: torch.Tensor) -> torch.Tensor:
            source_BTD = x_BTD if read == write else kept[0]
            acts_BT = f.activations(source_BTD)
            amount_BT = (self._target(acts_BT) - acts_BT) * f.dictionary.scale(source_BTD)
            # Special tokens carry activations that no text has; they are never edited.
            amount_BT = amount_BT.where(own_BT, 0.0)
            row = placed(self._row.to(device=x_BTD.device), x_BTD.shape[-1], f)
            row_b1D = row[..., None, :]  # one for all contexts, or one for each
            return x_BTD + (amount_BT[..., None] * row_b1D).to(x_BTD.dtype)

        handles = []
        if read != write:
            handles.append(_reading(subject.module(read), read, kept))
        return [*handles, _writing(subject.module(write), write, change)]


def placed(rows: torch.Tensor, width: int, feature: Feature) -> torch.Tensor:
    """Rows in all channels of a site: a dictionary of one attention head writes to that head's.

    Args:
        rows: (…, channels the dictionary writes).
        width: channels of the site.
        feature: whose rows they are.

    Returns:
        (…, width).

    Raises:
        SubjectError: the two don't fit.
    """
    head, own = feature.dictionary.origin.head, rows.shape[-1]
    if own == width:
        return rows
    if head is None:
        raise SubjectError(f"{feature.dictionary.name} writes {own} channels and the site has {width}")
    found = rows.new_zeros((*rows.shape[:-1], width))
    found[..., head * own : (head + 1) * own] = rows
    return found


def _reading(module: Any, site: Site, kept: list[torch.Tensor]) -> Any:
    """Keep what passes at the site that is read."""
    from exegete.subjects.capture import hooked

    def keep(value: torch.Tensor) -> None:
        kept[:] = [value]

    return hooked(module, site, keep)


def _writing(module: Any, site: Site, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Replace what passes at a site."""
    if site.side == "input":

        def before(_: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any]:
            if args:
                return (change(args[0]), *args[1:]), options
            name = next(iter(options))
            return args, options | {name: change(options[name])}

        return module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_: Any, _args: Any, out: Any) -> Any:
        return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

    return module.register_forward_hook(after)
