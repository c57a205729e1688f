"""What a job would take, before anything is sent.

    forecast = estimate([Stage("propose", calls=1000, examples=requests, reply_tokens=300)], load_prices())
    forecast.usd, forecast.most_usd

Input is counted as characters / 4, a rule of thumb for English that needs no tokeniser; real counts are often
a fifth off either way, and more for code, numbers and other languages. Nothing is assumed to be cached.
What is asked in batches is taken at their price, or at the full one where theirs is not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from exegete.errors import UsageError
from exegete.llm.llm import Request
from exegete.llm.prices import Prices
from exegete.llm.size import likely_tokens

METHOD = "characters / 4, nothing cached"
"""How input tokens are estimated, for a person to read."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of call of a job."""

    name: str
    calls: int
    """How many there will be."""
    examples: Sequence[Request]
    """Some of them as they would be sent; the others are taken to be like these. All to one model."""
    reply_tokens: int | None = None
    """Likely length of a reply; None: as long as it may be."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one stage, or a whole job, is likely to take."""

    name: str
    calls: int
    input_tokens: int
    output_tokens: int
    most_output_tokens: int
    """If every reply is as long as it may be."""
    usd: float | None
    """None when a price is not known."""
    most_usd: float | None
    """If every reply is as long as it may be; None when a price is not known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The forecast of a job."""

    stages: tuple[Forecast, ...]
    total: Forecast
    method: str
    """How tokens were estimated."""
    prices: str
    """Version of the price table."""


def estimate(stages: Sequence[Stage], prices: Prices, *, batch: bool = False) -> Estimate:
    """Forecast calls, tokens and dollars of a job.

    Args:
        stages: its kinds of calls.
        prices: what they cost.
        batch: are they asked by batch APIs?

    Raises:
        UsageError: a stage with calls has no example.
    """
    forecasts = tuple(_forecast(stage, prices, batch) for stage in stages)
    total = Forecast(
        "total",
        sum(one.calls for one in forecasts),
        sum(one.input_tokens for one in forecasts),
        sum(one.output_tokens for one in forecasts),
        sum(one.most_output_tokens for one in forecasts),
        _sum([one.usd for one in forecasts]),
        _sum([one.most_usd for one in forecasts]),
    )
    return Estimate(forecasts, total, METHOD, prices.version)


def _forecast(stage: Stage, prices: Prices, batch: bool) -> Forecast:
    """One stage."""
    if stage.calls == 0:
        return Forecast(stage.name, 0, 0, 0, 0, 0.0, 0.0)
    if not stage.examples:
        raise UsageError(f"no example of a call for {stage.name!r}: nothing can be estimated")
    share = stage.calls / len(stage.examples)
    sizes = [likely_tokens(request) for request in stage.examples]
    rooms = [request.max_tokens for request in stage.examples]
    replies = [room if stage.reply_tokens is None else min(room, stage.reply_tokens) for room in rooms]
    return Forecast(
        stage.name,
        stage.calls,
        round(share * sum(sizes)),
        round(share * sum(replies)),
        round(share * sum(rooms)),
        _usd(stage, prices, sizes, replies, share, batch),
        _usd(stage, prices, sizes, rooms, share, batch),
    )


def _usd(
    stage: Stage, prices: Prices, sizes: Sequence[int], replies: Sequence[int], share: float, batch: bool
) -> float | None:
    """Dollars of a stage, every example standing for `share` calls."""
    costs = []
    for request, size, reply in zip(stage.examples, sizes, replies, strict=True):
        row = prices.find(request.model, size)
        factor = share * row.batch if batch and row is not None and row.batch is not None else share
        costs.append(None if row is None else (size * row.input + reply * row.output) / 1e6 * factor)
    return _sum(costs)


def _sum(costs: Sequence[float | None]) -> float | None:
    """The sum, if all of it is known."""
    known = [cost for cost in costs if cost is not None]
    return math.fsum(known) if len(known) == len(costs) else None
