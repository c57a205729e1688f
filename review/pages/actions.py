"""What a person does: every POST of the page. Each answers with a redirect to what is to be seen next."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from exegete.errors import UsageError
from exegete.explainers.hygiene import clean, why_refused
from exegete.review.believed import DECISIONS
from exegete.review.keys import Key, key_of
from exegete.review.pages.addresses import card_address, key_in, queue_address, wanted_in
from exegete.review.pages.blind import written_first
from exegete.review.pages.orders import Wanted
from exegete.review.pages.room import Room
from exegete.review.pages.texts import visible
from exegete.review.pages.views import seen_digest, show_card
from exegete.review.record import Act, Done, Kind, Stale, record, redo, undo

router = APIRouter()

LEAVING = ("accept", "edit", "reject", "skip")
"""Acts after which the next card comes."""
_WORDS: Mapping[Kind, str] = {
    "accept": "accepted",
    "edit": "edited and accepted",
    "reject": "rejected",
    "skip": "skipped",
    "flag": "flagged",
    "unflag": "no longer flagged",
    "comment": "commented on",
}
_LONGEST_LOOK_S = 86_400.0
_SHORT = 80


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


Fields = Annotated[dict[str, str], Depends(form_fields)]


@router.post("/start")
def start(request: Request) -> Response:
    """Take the first card of a queue that nobody else has."""
    room: Room = request.app.state.room
    wanted = wanted_in(request.query_params)
    key = room.take_next(wanted, None)
    return _to(card_address(key, wanted) if key else queue_address(wanted))


@router.post("/undo")
def take_back(request: Request) -> Response:
    """Take back the latest thing done."""
    return _taken(request, "undo")


@router.post("/redo")
def put_back(request: Request) -> Response:
    """Put back what was taken back last."""
    return _taken(request, "redo")


@router.post("/queues")
def save_queue(request: Request, fields: Fields) -> Response:
    """Save a SELECT as a queue, or forget one."""
    room: Room = request.app.state.room
    name = clean(fields.get("name", ""))[:_SHORT]
    if fields.get("forget"):
        room.desk.drop_queue(name)
        return _to("/")
    wanted = Wanted(saved=name)
    room.desk.save_queue(name, fields.get("sql", ""), room.reviewer)
    room.orders.forget(wanted)
    try:
        room.orders.of(wanted)
    except UsageError:
        room.desk.drop_queue(name)  # it can't be used, and says why
        raise
    return _to(queue_address(wanted))


@router.post("/card/{harvest}/{feature}/look")
def look(request: Request, harvest: str, feature: str) -> Response:
    """Keep a card while it is looked at, and say who has it."""
    room: Room = request.app.state.room
    return JSONResponse({"holder": room.desk.lease(key_in(harvest, feature), room.reviewer)})


@router.post("/card/{harvest}/{feature}/draft")
def draft(request: Request, harvest: str, feature: str, fields: Fields) -> Response:
    """Keep what is typed."""
    room: Room = request.app.state.room
    key, text = key_in(harvest, feature), fields.get("text", "")
    if text.strip():
        room.desk.save_draft(key, room.reviewer, text)
    else:
        room.desk.drop_draft(key, room.reviewer)
    return JSONResponse({"saved": bool(text.strip())})


@router.post("/card/{harvest}/{feature}/blind")
def blind(request: Request, harvest: str, feature: str, fields: Fields) -> Response:
    """Write a label of one's own, and see the job's."""
    room: Room = request.app.state.room
    key, wanted = key_in(harvest, feature), wanted_in(request.query_params)
    text = clean(fields.get("blind_text", ""))
    if refused := why_refused(text):
        why = f"Your label can't be used ({refused}): say in a sentence what makes the feature fire."
        return show_card(request, key, wanted, why, 400)
    room.keep_blind_text(key, text)
    return _to(card_address(key, wanted))


@router.post("/card/{harvest}/{feature}/{kind}")
def act(
    request: Request,
    harvest: str,
    feature: str,
    kind: Literal["accept", "edit", "reject", "skip", "flag", "unflag", "comment"],
    fields: Fields,
) -> Response:
    """Decide about a card, or remark on it."""
    room: Room = request.app.state.room
    key, wanted = key_in(harvest, feature), wanted_in(request.query_params)
    if kind in LEAVING and room.desk.lease(key, room.reviewer) is not None:
        return _to(_problem(card_address(key, wanted), "held"))
    try:
        done = record(room.workspace, _act(room, key, wanted, kind, fields))
    except UsageError as error:
        if kind == "edit" and fields.get("text", "").strip():
            room.desk.save_draft(key, room.reviewer, fields["text"])
        room.forget(key)
        stale = isinstance(error, Stale)
        return show_card(request, key, wanted, f"Nothing was recorded: {error}", 409 if stale else 400)
    _tell(room, done, _WORDS[kind])
    if kind not in LEAVING:
        return _to(card_address(key, wanted, done.event))
    room.orders.done(key, skipped=kind == "skip")
    room.finish(key)
    following = room.take_next(wanted, key)
    return _to(
        card_address(following, wanted, done.event) if following else queue_address(wanted, done.event)
    )


@router.post("/card/{harvest}/{feature}/work/{kind}")
def work(
    request: Request, harvest: str, feature: str, kind: Literal["rescore", "rerun"], fields: Fields
) -> Response:
    """Queue the scoring of an edited label, or another run with a hint."""
    room: Room = request.app.state.room
    key, wanted = key_in(harvest, feature), wanted_in(request.query_params)
    text = clean(fields.get("text" if kind == "rescore" else "hint", ""))
    if refused := why_refused(text):
        return show_card(request, key, wanted, f"Nothing was queued: {refused}.", 400)
    card = room.card(key)
    room.desk.add_work(kind, key, room.reviewer, text, card.facts.row["run"] if card else None)
    return _to(card_address(key, wanted) + "#work")


def _act(room: Room, key: Key, wanted: Wanted, kind: Kind, fields: Mapping[str, str]) -> Act:
    """What the form says, as an act."""
    card = room.card(key)
    label, run = (card.facts.row["label"], card.facts.row["run"]) if card else (None, "")
    # A form can't carry every text through unchanged, so it carries a digest of the label that was seen.
    seen = label if kind not in DECISIONS or fields.get("seen") == seen_digest(label) else ""
    return Act(
        key,
        kind,
        room.reviewer,
        seen,
        text={"edit": fields.get("text"), "reject": fields.get("remark")}.get(kind) or None,
        reason=fields.get("reason") or None if kind == "reject" else None,
        comment=fields.get("comment") or None if kind == "comment" else None,
        seconds=_seconds(fields.get("seconds", "")),
        audit=room.is_audit(wanted, key, run),
        blind_text=written_first(room, card) if card else None,
    )


def _seconds(text: str) -> float | None:
    """How long a card was looked at; None where the script did not say, or not a time."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) and 0 <= value <= _LONGEST_LOOK_S else None


def _taken(request: Request, what: Literal["undo", "redo"]) -> Response:
    room: Room = request.app.state.room
    wanted = wanted_in(request.query_params)
    done = (undo if what == "undo" else redo)(room.workspace, room.reviewer)
    if done is None:
        return _to(_problem(queue_address(wanted), "nothing"))
    key = key_of(done.row)
    room.orders.undone(key)
    room.desk.lease(key, room.reviewer)
    _tell(room, done, "as it was before" if what == "undo" else "as it was before you took it back")
    return _to(card_address(key, wanted, done.event))


def _tell(room: Room, done: Done, what: str) -> None:
    """Remember what happened for the next page, and forget the card as it was."""
    key = key_of(done.row)
    room.forget(key)
    if room.blind:  # a card that is hidden can be skipped and flagged
        room.say(done.event, f"Feature {key} {what}")
        return
    label = done.row["label"] or "no label"
    short = visible(label if len(label) <= _SHORT else label[:_SHORT] + " …")
    room.say(done.event, f"Feature {key} {what}: {short} ({done.row['status']})")


def _problem(address: str, name: str) -> str:
    return f"{address}{'&' if '?' in address else '?'}problem={name}"


def _to(address: str) -> Response:
    return RedirectResponse(address, status_code=303)
