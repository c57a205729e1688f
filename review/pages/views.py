"""What is shown: the queue, a card, queued work, the keys. Nothing here writes."""

from __future__ import annotations

from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from exegete.datastore.hashing import digest64
from exegete.datastore.records import Status
from exegete.review.believed import DECISIONS
from exegete.review.keys import Key
from exegete.review.pages.addresses import card_address, card_path, key_in, queue_address, wanted_in
from exegete.review.pages.blind import is_hidden, written_first
from exegete.review.pages.orders import Wanted
from exegete.review.pages.render import message, page
from exegete.review.pages.room import AHEAD, Card, Room
from exegete.review.pages.scores import score_table
from exegete.review.queue import Which
from exegete.review.record import REASONS
from exegete.scorers.triangulation import SENTENCES

router = APIRouter()

PER_PAGE = 50
QUEUES = {
    "review": "To review",
    "flagged": "Flagged",
    "disagreements": "Disagreements",
    "second": "Second reviews",
    "all": "All labels",
}
"""Queues that have a tab. The random slice is dealt among the others, and has none."""
PROBLEMS = {
    "stale": "The label has changed since you saw it, so nothing was recorded: look again and decide.",
    "held": "Somebody else has this card, so nothing was recorded: take the next one.",
    "nothing": "There was nothing to take back or to put back.",
}
"""What an address may say went wrong."""


@router.get("/")
def queue_page(request: Request) -> Response:
    """The queue: what waits, the look that is worth most first."""
    room: Room = request.app.state.room
    wanted = wanted_in(request.query_params)
    items = room.orders.of(wanted)
    pages = max(1, -(-len(items) // PER_PAGE))
    text = request.query_params.get("page", "1")
    number = min(max(int(text), 1), pages) if text.isdecimal() and len(text) < 7 else 1
    shown = items[(number - 1) * PER_PAGE : number * PER_PAGE]
    room.ahead(items[:AHEAD])
    others = room.desk.leased(room.reviewer)
    return page(
        request,
        "queue",
        wanted=wanted,
        queues={name: queue_address(Wanted(name)) for name in QUEUES},
        titles=QUEUES,
        counts=room.orders.counts(),
        saved={name: queue_address(Wanted(saved=name)) for name in room.desk.queues()},
        statuses=get_args(Status),
        reasons=tuple(SENTENCES),
        total=len(items),
        items=[(item, card_address(item.key, wanted), item.key in others) for item in shown],
        first=(number - 1) * PER_PAGE + 1,
        number=number,
        pages=pages,
        page_address=lambda n: _with(queue_address(wanted), f"page={n}"),
        said=room.said(request.query_params.get("after", "")),
        problem=PROBLEMS.get(request.query_params.get("problem", ""), ""),
        start=_with("/start", wanted.address),
    )


@router.get("/card/{harvest}/{feature}")
def card_page(request: Request, harvest: str, feature: str) -> Response:
    """One feature's card."""
    return show_card(request, key_in(harvest, feature), wanted_in(request.query_params))


def show_card(request: Request, key: Key, wanted: Wanted, problem: str = "", status: int = 200) -> Response:
    """A card, with what went wrong if something did."""
    room: Room = request.app.state.room
    desk = room.desk.of_card(key, room.reviewer)
    if desk.work:  # what it brought is not on a card that was made before
        room.forget(key)
    card = room.card(key)
    if card is None:
        words = f"Feature {key} of {key.harvest} has no result: it is not labelled, or not in this workspace."
        return message(request, 404, "There is no such card", words)
    after, before = room.orders.beside(wanted, key, 1), room.orders.beside(wanted, key, -1)
    room.ahead(after[:AHEAD])
    query = request.query_params
    return page(
        request,
        "card",
        status,
        card=card,
        facts=card.facts,
        row=card.facts.row,
        item=room.orders.item(wanted, key),
        wanted=wanted,
        here=card_path(key),
        query=f"?{wanted.address}" if wanted.address else "",
        queue=queue_address(wanted),
        left=len(after),
        next_address=card_address(after[0].key, wanted) if after else queue_address(wanted),
        previous_address=card_address(before[0].key, wanted) if before else queue_address(wanted),
        neighbours=_neighbours(card, wanted),
        scores=score_table(card.facts.scores, card.facts.row, card.facts.parameters, card.facts.threshold),
        holder=desk.holder,
        draft=desk.draft,
        hidden=is_hidden(room, card),
        second=wanted.which != "disagreements" and _is_second(card, room.reviewer),
        seen=seen_digest(card.facts.row["label"]),
        blind_text=written_first(room, card),
        work=desk.work,
        reject_reasons=REASONS,
        said=room.said(query.get("after", "")),
        problem=problem or PROBLEMS.get(query.get("problem", ""), ""),
    )


def seen_digest(label: str | None) -> str:
    """What a form says of the label on its card."""
    return "" if label is None else f"{digest64(label):016x}"


@router.get("/work")
def work_page(request: Request) -> Response:
    """Queued work and how far it is."""
    room: Room = request.app.state.room
    work = room.desk.work()
    return page(request, "work", work=[(one, card_path(one.key)) for one in work])


@router.get("/work.json")
def work_json(request: Request) -> Response:
    """The same for the script, which asks while something is under way."""
    room: Room = request.app.state.room
    return JSONResponse([{"id": w.id, "state": w.state, "progress": w.progress} for w in room.desk.work()])


@router.get("/keys")
def keys_page(request: Request) -> Response:
    """The list of keys."""
    return page(request, "keys")


def _is_second(card: Card, reviewer: str) -> bool:
    """Whether others have decided about a card and this reviewer has not: what they said is not shown yet."""
    who = {e["reviewer"] for e in card.facts.events if e["stands"] and e["decision"] in DECISIONS}
    return bool(who) and reviewer not in who


def _neighbours(card: Card, wanted: Wanted) -> list[tuple[dict[str, Any], str]]:
    """Neighbouring features with their cards' addresses."""
    return [
        (row, card_address(Key(card.key.harvest, row["feature_index"], row["polarity"]), wanted))
        for row in card.facts.neighbours
    ]


def _with(address: str, query: str) -> str:
    if not query:
        return address
    return f"{address}{'&' if '?' in address else '?'}{query}"


assert set(QUEUES) < set(get_args(Which))
