"""In which order cards come, over queues that are built anew while they are worked on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exegete.datastore.store import Store
from exegete.review.keys import Key
from exegete.review.pages import orders
from exegete.review.pages.orders import Orders, Wanted
from exegete.review.queue import Item


def item(index: int) -> Item:
    """A card."""
    return Item(
        key=Key("h", index, "+"),
        label=f"label {index}",
        status="review",
        score=0.5,
        low=0.4,
        high=0.6,
        confidence=0.5,
        reasons=(),
        worth=1.0,
        audit=False,
    )


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the next queue will hold."""
    held = [0, 1, 2, 3]

    def queue(*_: Any, **__: Any) -> list[Item]:
        return [item(index) for index in held]

    monkeypatch.setattr(orders, "queue", queue)
    monkeypatch.setattr(orders, "stamp", lambda _: (0, 0))
    return held


def after(some: Orders, index: int, step: int = 1) -> list[int]:
    """Cards after one."""
    return [found.key.index for found in some.beside(Wanted(), Key("h", index, "+"), step)]


def test_a_skipped_card_comes_last(built: list[int], tmp_path: Path) -> None:
    """Also where a queue that was built since has it right behind the card that is open."""
    some = Orders(Store(tmp_path / "labels.duckdb"), "ada", lambda _: None)
    assert after(some, 1) == [2, 3, 0]
    some.done(Key("h", 2, "+"), skipped=True)
    assert after(some, 1) == [3, 0]
    built[:] = [0, 1, 3, 2]
    some.forget_all()
    assert after(some, 3) == [0, 1, 2], "unseen ones in front of it come before it"
    assert after(some, 3, -1) == [1, 0, 2], "going back is going back"
    some.undone(Key("h", 2, "+"))
    assert after(some, 3) == [2, 0, 1]


def test_a_decided_card_is_left_out_until_a_queue_is_built(built: list[int], tmp_path: Path) -> None:
    """What was decided here is not dealt from a queue that is older than the decision."""
    some = Orders(Store(tmp_path / "labels.duckdb"), "ada", lambda _: None)
    assert [found.key.index for found in some.of(Wanted())] == built
    some.done(Key("h", 1, "+"))
    assert [found.key.index for found in some.of(Wanted())] == [0, 2, 3]
    assert after(some, 1) == [2, 3, 0]
