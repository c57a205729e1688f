"""Reviewing blind: a label is hidden until the reviewer has written one, and is no secret from then on."""

from __future__ import annotations

from exegete.review.believed import DECISIONS, Row
from exegete.review.pages.room import Card, Room


def is_hidden(room: Room, card: Card) -> bool:
    """Whether a card's label is to be hidden from the reviewer."""
    if not room.blind or card.facts.row["label"] is None:
        return False
    return room.blind_text(card.key) is None and _decision(room, card) is None


def written_first(room: Room, card: Card) -> str | None:
    """What the reviewer wrote before seeing the label; None where that was not blind, or is to come.

    A decision that was taken back keeps it: a label that has been seen can't be written about blindly again.
    """
    if not room.blind:
        return None
    decision = _decision(room, card)
    return room.blind_text(card.key) or (decision["blind_text"] if decision else None)


def _decision(room: Room, card: Card) -> Row | None:
    """The reviewer's latest decision about this very label, taken back or not."""
    label = card.facts.row["label"]
    own = (e for e in card.facts.events if e["reviewer"] == room.reviewer and e["decision"] in DECISIONS)
    return next((e for e in own if label in (e["label_before"], e["text"])), None)
