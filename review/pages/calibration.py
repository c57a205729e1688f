"""What decisions about random cards say of scores, and another threshold: looked at before it is set."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from exegete.agent.rethreshold import set_threshold
from exegete.errors import UsageError
from exegete.review.calibrating import Band, accept_rates, audited, preview, threshold_for
from exegete.review.pages.actions import form_fields
from exegete.review.pages.addresses import with_query
from exegete.review.pages.drawings import Scale
from exegete.review.pages.render import page
from exegete.review.pages.room import Room

router = APIRouter()


@router.get("/calibration")
def calibration_page(request: Request) -> Response:
    """Accept rate by band of score, the threshold for 95%, and what another one would change."""
    room: Room = request.app.state.room
    runs = [row["run"] for row in room.store.read(_RUNS)]
    if not runs:
        raise UsageError("nothing is labelled yet: run `exegete label` first")
    run = request.query_params.get("run") or runs[0]
    cards = audited(room.store, run)
    found = threshold_for(cards)
    given = request.query_params.get("threshold", "")
    threshold = _threshold(given) if given else found.value
    return page(
        request,
        "calibration",
        runs=runs,
        run=run,
        bands=[(band, _places(band)) for band in accept_rates(cards)],
        maps=room.store.read(_MAPS, [run]),
        found=found,
        threshold=threshold,
        change=None if threshold is None else preview(room.store, run, threshold),
        applied=bool(request.query_params.get("applied")),
    )


@router.post("/calibration")
def apply(request: Request, fields: Annotated[dict[str, str], Depends(form_fields)]) -> Response:
    """Set the threshold that was looked at."""
    room: Room = request.app.state.room
    run, threshold = fields.get("run", ""), _threshold(fields.get("threshold", ""))
    set_threshold(room.store, run, threshold, room.reviewer)
    room.forget_all()
    return RedirectResponse(with_query("/calibration", run=run, threshold=f"{threshold:g}", applied="1"), 303)


_MAPS = "SELECT source, n, n_right, ece_raw, ece FROM calibrations WHERE run = ? AND used"
_RUNS = "SELECT run FROM store.runs WHERE kind = 'job' GROUP BY run ORDER BY max(made_at) DESC"


def _places(band: Band) -> list[float | None]:
    """Where a rate and the ends of its interval are drawn, from 0 to 1."""
    scale = Scale(0.0)
    return [scale.place(x) for x in (band.rate_low, band.rate, band.rate_high)]


def _threshold(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -1 < value < 1:
        raise UsageError(f"{text!r} is no threshold: write a number between -1 and 1, such as 0.5")
    return value
