"""A sparse coder: a linear encoder with a nonlinearity over it, in chunks of tokens.

1. x: the site's channels in float32 (one head's, if it reads one), less their mean over channels if its
   inputs were centred, then scaled as its training scaled them (`Scaling`), then less its input bias.
2. p = W x + b.
3. The nonlinearity (nonlinearity.py).

Everything is computed in float32, whatever the activations come in, on the device they come on. At no time
are more than CHUNK pre-activations held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from exegete.errors import SubjectError
from exegete.subjects.nonlinearity import Nonlinearity, Pointwise, with_tensors
from exegete.subjects.origin import Origin

if TYPE_CHECKING:
    import torch

CHUNK = 1 << 25
"""Pre-activations computed at once: 128 MiB of float32."""

Scaling = Literal["none", "layer_norm", "constant_norm_rescale"]
"""none; (x - mean) / (standard deviation + 1e-5); x·√d / ‖x‖."""


class Fired(NamedTuple):
    """What is above 0, in order of token, then feature."""

    token: torch.Tensor
    """(n,) rows of the activations that were given."""
    feature: torch.Tensor
    """(n,) feature indices."""
    value: torch.Tensor
    """(n,) activations, float32, above 0."""


def check_finite(name: str, *tensors: torch.Tensor) -> None:
    """Look for NaN, which compares as silent: what overflowed would be missing and pass for zero.

    Raises:
        SubjectError: one of the tensors is not finite.
    """
    import torch

    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors):
        raise SubjectError(
            f"activations that {name} was given, or gave, are not finite: the model's weights hold NaN or "
            "infinity, or overflow; check them"
        )


@dataclass(frozen=True, slots=True)
class Encoder:
    """The linear half."""

    weight: torch.Tensor
    """(F, d)"""
    bias: torch.Tensor
    """(F,)"""
    input_bias: torch.Tensor | None = None
    """(d,) taken off the input."""
    scaling: Scaling = "none"


class SparseCoder:
    """A sparse autoencoder's or transcoder's features."""

    sparse = True

    def __init__(
        self,
        name: str,
        origin: Origin,
        encoder: Encoder,
        nonlinearity: Nonlinearity,
        decoder_FD: torch.Tensor | None,
    ) -> None:
        """Put a coder together.

        Args:
            name: with a digest.
            origin: where it belongs; `head` and `needs.centred` are acted upon.
            encoder: W (F, d) and the rest.
            nonlinearity: what stands over it.
            decoder_FD: (F, d_out) each feature's direction in the output, or None.
        """
        self.name, self.origin = name, origin
        self.n_features, self._d = encoder.weight.shape
        self._encoder, self._nonlinearity, self._decoder_FD = encoder, nonlinearity, decoder_FD

    @property
    def width(self) -> int:
        """Channels it reads; of a coder of one attention head, that head's."""
        return int(self._d)

    def encode(self, acts: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """(…, n) activations of the wanted features; see `Dictionary.encode`."""
        import torch

        self._follow(acts.device)
        features = features.to(acts.device)
        acts_ND = acts.reshape(-1, acts.shape[-1])
        out_Nn = torch.empty((len(acts_ND), len(features)), dtype=torch.float32, device=acts.device)
        over, encoder = self._nonlinearity, self._encoder
        if isinstance(over, Pointwise):
            some = with_tensors(over, lambda parameter_F: parameter_F[features])
            W_nd, b_n = encoder.weight[features], encoder.bias[features]
            for start, x_Nd in self._chunks(acts_ND, len(features)):
                out_Nn[start : start + len(x_Nd)] = some(torch.addmm(b_n, x_Nd, W_nd.T))
        else:
            for start, x_Nd in self._chunks(acts_ND, self.n_features):
                winners = over.winners(torch.addmm(encoder.bias, x_Nd, encoder.weight.T))
                acts_NF = x_Nd.new_zeros((len(x_Nd), self.n_features))
                acts_NF.scatter_(-1, winners.features, winners.values)
                out_Nn[start : start + len(x_Nd)] = acts_NF[:, features]
        return out_Nn.reshape(*acts.shape[:-1], len(features))

    def fire(self, acts_ND: torch.Tensor) -> Fired:
        """Everything that fires; see `Dictionary.fire`."""
        import torch

        self._follow(acts_ND.device)
        parts: list[Fired] = []
        for start, x_Nd in self._chunks(acts_ND, self.n_features):
            part = self._fired(x_Nd)
            check_finite(self.name, x_Nd, part.value)
            parts.append(Fired(part.token + start, part.feature, part.value))
        if not parts:
            nothing = torch.empty(0, dtype=torch.long, device=acts_ND.device)
            return Fired(nothing, nothing, nothing.float())
        return Fired(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def decode_rows(self, features: torch.Tensor) -> torch.Tensor | None:
        """(n, d_out) what one unit of each feature adds to the output; see `Dictionary.decode_rows`."""
        return None if self._decoder_FD is None else self._decoder_FD[features.to(self._decoder_FD.device)]

    def scale(self, acts: torch.Tensor) -> torch.Tensor | float:
        """(…,) what its inputs were divided by; see `Dictionary.scale`."""
        if self._encoder.scaling == "none":
            return 1.0
        head, d = self.origin.head, self._d
        x = (acts if head is None else acts[..., head * d : (head + 1) * d]).float()
        if self.origin.needs.centred:
            x = x - x.mean(-1, keepdim=True)
        if self._encoder.scaling == "layer_norm":
            deviation: torch.Tensor = x.std(-1) + 1e-5
            return deviation
        norm: torch.Tensor = x.norm(dim=-1) / d**0.5
        return norm

    def _fired(self, x_Nd: torch.Tensor) -> Fired:
        import torch

        over, pre_NF = self._nonlinearity, torch.addmm(self._encoder.bias, x_Nd, self._encoder.weight.T)
        if isinstance(over, Pointwise):
            flat, values = over.fired(pre_NF)
            return Fired(flat // self.n_features, flat % self.n_features, values)
        winners = over.winners(pre_NF)
        token, rank = winners.values.nonzero(as_tuple=True)
        return Fired(token, winners.features[token, rank], winners.values[token, rank])

    def _chunks(self, acts_ND: torch.Tensor, n_computed: int) -> Iterator[tuple[int, torch.Tensor]]:
        """(first token, prepared inputs) of consecutive tokens, so few that CHUNK holds."""
        step = max(1, CHUNK // max(n_computed, self._d))
        for start in range(0, len(acts_ND), step):
            yield start, self._prepared(acts_ND[start : start + step])

    def _prepared(self, acts_ND: torch.Tensor) -> torch.Tensor:
        head, d = self.origin.head, self._d
        if (acts_ND.shape[-1] != d) if head is None else (acts_ND.shape[-1] < (head + 1) * d):
            what = f"{d} channels" if head is None else f"head {head} of {d} channels"
            raise SubjectError(f"{self.name} reads {what} and was given {acts_ND.shape[-1]}")
        x_Nd = (acts_ND if head is None else acts_ND[:, head * d : (head + 1) * d]).float()
        if self.origin.needs.centred:
            x_Nd = x_Nd - x_Nd.mean(-1, keepdim=True)
        if self._encoder.scaling == "layer_norm":
            x_Nd = x_Nd - x_Nd.mean(-1, keepdim=True)
            x_Nd = x_Nd / (x_Nd.std(-1, keepdim=True) + 1e-5)
        elif self._encoder.scaling == "constant_norm_rescale":
            x_Nd = x_Nd * (d**0.5 / x_Nd.norm(dim=-1, keepdim=True))
        bias_d = self._encoder.input_bias
        return x_Nd if bias_d is None else x_Nd - bias_d

    def _follow(self, device: torch.device) -> None:
        """Follow the activations: which device they come on is known only now."""
        if self._encoder.weight.device != device:
            self._encoder = with_tensors(self._encoder, lambda t: t.to(device))
            self._nonlinearity = with_tensors(self._nonlinearity, lambda t: t.to(device))
