"""Every action of the review page, by its key and by its button, and what it leaves in the view `reviews`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from exegete.review.desk import Desk
from exegete.review.record import REASONS
from tests.browser.serving import Served, events, feature_of, hostile_workspace
from tests.review.labelled import row_of
from tests.review.paged import rows

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
BY = pytest.mark.parametrize("by", ["key", "button"])


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page of a workspace with evidence."""
    served = Served(hostile_workspace(tmp_path_factory.mktemp("keys")), "ann")
    yield served
    served.end()


def do(page: Page, by: str, key: str, button: str) -> None:
    """Press the one or the other, and wait for the page it leads to."""
    with page.expect_navigation():
        page.keyboard.press(key) if by == "key" else page.click(button)


def reach(page: Page, by: str, key: str, button: str, field: str, text: str = "") -> None:
    """Open a panel, and type over what is in its field."""
    page.keyboard.press(key) if by == "key" else page.click(button)
    expect(page.locator(f"#{field}")).to_be_focused()
    if text:
        page.keyboard.press("Control+A")
        page.keyboard.type(text)


@BY
def test_decisions(page: Page, ann: Served, by: str) -> None:
    """Accept, edit, skip, reject with each reason: an event and the next card each; undo goes back."""
    before = len(events(ann.space))
    page.goto(f"{ann.address}/?which=all&search=word")
    do(page, by, "j", "#b-start")
    labels = {row["feature_index"]: row["label"] for row in rows(ann.space, "SELECT * FROM labels")}
    done: list[tuple[Any, ...]] = []
    for number, reason in enumerate((None, None, None, *REASONS)):
        feature = feature_of(page)
        if number == 0:
            do(page, by, "a", "#b-accept")
            done.append((feature, "accept", None, None, labels[feature]))
        elif number == 1:
            reach(page, by, "e", "#b-edit", "edit-text", "the word & no <other>")
            do(page, by, "Control+Enter", "#b-save")
            done.append((feature, "edit", "the word & no <other>", None, labels[feature]))
        elif number == 2:
            do(page, by, " ", "#b-skip")
            done.append((feature, "skip", None, None, labels[feature]))
        else:
            page.keyboard.press("x") if by == "key" else page.click("#b-reject")
            do(page, by, str(number - 2), f"#b-reject-{number - 2}")
            done.append((feature, "reject", None, reason, labels[feature]))
        assert feature_of(page) != feature
        expect(page.locator("#said")).to_contain_text(f"Feature {feature} ")
    found = events(ann.space, before)
    names = ("feature_index", "decision", "text", "reason", "label_before")
    assert [tuple(event[name] for name in names) for event in found] == done
    assert {event["reviewer"] for event in found} == {"ann"}
    assert all(event["seconds"] >= 0 for event in found)
    for feature, *_ in reversed(done):
        do(page, by, "u", "#b-undo")
        assert feature_of(page) == feature
    assert labels == {row["feature_index"]: row["label"] for row in rows(ann.space, "SELECT * FROM labels")}


@BY
def test_remarks(page: Page, ann: Served, by: str) -> None:
    """Flag, unflag and comment are events that keep the card open."""
    before = len(events(ann.space))
    page.goto(ann.card(10))
    do(page, by, "f", "#b-flag")
    assert page.is_visible("#flagged")
    do(page, by, "f", "#b-flag")
    assert not page.is_visible("#flagged")
    reach(page, by, "c", "#b-comment", "comment", "seen before")
    do(page, by, "Control+Enter", "#b-save-comment")
    assert feature_of(page) == 10
    assert "seen before" in page.inner_text("#events")
    found = [(e["decision"], e["comment"]) for e in events(ann.space, before)]
    assert found == [("flag", None), ("unflag", None), ("comment", "seen before")]


@BY
def test_undo_and_redo_across_reloads(page: Page, ann: Served, by: str) -> None:
    """What was done is taken back and put back after a reload, and from a window that did not do it."""
    page.goto(ann.card(11))
    do(page, by, "a", "#b-accept")
    page.reload()
    do(page, by, "u", "#b-undo")
    assert (feature_of(page), row_of(ann.space, 11)["author"]) == (11, "lexical@1")
    page.reload()
    page.goto(f"{ann.address}/?which=all")
    do(page, by, "U", "#b-redo")
    assert feature_of(page) == 11
    assert row_of(ann.space, 11)["status"] == "accepted"
    assert [e["decision"] for e in events(ann.space)[-3:]] == ["accept", "undo", "redo"]
    do(page, by, "u", "#b-undo")


@BY
def test_finding_the_way(page: Page, ann: Served, by: str) -> None:
    """Next, previous, neighbours, the list of keys and search, none of which writes anything."""
    before = events(ann.space)
    page.goto(f"{ann.address}/?which=all")
    do(page, by, "j", "#b-start")
    first = feature_of(page)
    do(page, by, "j", "#b-next")
    second = feature_of(page)
    assert second != first
    do(page, by, "k", "#b-previous")
    assert feature_of(page) == first
    page.keyboard.press("n") if by == "key" else page.click("#b-neighbours")
    expect(page.locator("#neighbours-title")).to_be_in_viewport()
    do(page, by, "?", "#b-help")
    assert page.inner_text("h1") == "Keys"
    page.keyboard.press("/") if by == "key" else page.click("#search")
    page.keyboard.type("the word")
    do(page, by, "Enter", "#b-search")
    assert page.input_value("#search") == "the word"
    labels = page.locator("#items .label").all_inner_texts()
    assert labels
    assert all("the word" in label for label in labels)
    assert events(ann.space) == before


@BY
def test_tabs_and_the_simulated_levels(page: Page, ann: Served, by: str) -> None:
    """Tabs go round, and levels go and come; both are as they were left on the next card."""
    page.goto(ann.card(12))
    tabs = page.locator("[role=tab]")
    names = [tabs.nth(i).get_attribute("data-tab") for i in range(tabs.count())]
    seen = []
    for _ in range(len(names) + 1):
        seen.append(page.locator("[role=tab][aria-selected=true]").get_attribute("data-tab"))
        page.keyboard.press("t") if by == "key" else page.click("#b-tabs")
        assert page.locator("[role=tabpanel]:visible").count() == 1
    assert sorted(seen[:-1], key=str) == sorted(names, key=str)
    assert seen[-1] == seen[0]
    simulated = page.locator(".heat.sim")
    assert simulated.count()
    page.keyboard.press("s") if by == "key" else page.click("#b-simulated")
    assert page.locator(".heat.sim:visible").count() == 0
    chosen = page.locator("[role=tab][aria-selected=true]").get_attribute("data-tab")
    page.goto(ann.card(13))
    assert page.locator(".heat.sim:visible").count() == 0
    assert page.locator("[role=tab][aria-selected=true]").get_attribute("data-tab") == chosen
    page.keyboard.press("s") if by == "key" else page.click("#b-simulated")
    assert page.locator("#b-simulated").get_attribute("aria-pressed") == "true"


@BY
def test_queued_work(page: Page, ann: Served, by: str) -> None:
    """Another run with a hint, and the score of an edited label, are queued, and are seen to be done."""
    page.goto(ann.card(0))
    work = page.locator("[data-work][data-state=done]")
    had = work.count()
    reach(page, by, "r", "#b-rerun", "hint", "look at the ending")
    do(page, by, "Control+Enter", "#b-queue-rerun")
    assert feature_of(page) == 0
    expect(work).to_have_count(had + 1, timeout=60_000)
    reach(page, by, "e", "#b-edit", "edit-text", f'the word "queued {by}"')
    do(page, "button", "", "#b-rescore")
    expect(work).to_have_count(had + 2, timeout=60_000)
    found = Desk(ann.space).work()[:2]
    assert [(one.kind, one.state) for one in found] == [("rescore", "done"), ("rerun", "done")]
    assert (found[0].text, found[1].text) == (f'the word "queued {by}"', "look at the ending")
    page.keyboard.press("Escape")


def test_keys_are_off_while_one_types(page: Page, ann: Served) -> None:
    """Every key that acts is a letter in a field, and does nothing with Ctrl, Alt or Meta held."""
    before = events(ann.space)
    keys = "aex1234567 uUfcrjktsn/?"
    page.goto(ann.card(8))
    for key, button, field in (
        ("e", "#b-edit", "edit-text"),
        ("c", "#b-comment", "comment"),
        ("r", "#b-rerun", "hint"),
        ("/", "#search", "search"),
    ):
        reach(page, "key", key, button, field, keys)
        assert page.input_value(f"#{field}") == keys
        page.keyboard.press("Escape")
    for key in ("a", "f", "u", "j"):
        for held in ("Alt", "Meta"):
            page.keyboard.press(f"{held}+{key}")
    assert feature_of(page) == 8
    assert events(ann.space) == before


def test_escape_gives_the_label_back(page: Page, ann: Served) -> None:
    """An edit that is cancelled leaves neither a draft nor an event, and keys work again."""
    before = events(ann.space)
    page.goto(ann.card(8))
    label = page.inner_text("#label")
    reach(page, "key", "e", "#b-edit", "edit-text", "half a thought")
    expect(page.locator("#draft-state")).to_have_text("draft saved")
    page.keyboard.press("Escape")
    expect(page.locator("#draft-state")).to_have_text("")
    assert not page.is_visible("#edit-text")
    page.reload()
    assert page.input_value("#edit-text") == label
    assert events(ann.space) == before
    page.keyboard.press("e")
    assert page.is_visible("#edit-text")
    page.click("#b-cancel")
    assert not page.is_visible("#edit-text")


def test_two_presses_are_one_answer(page: Page, ann: Served) -> None:
    """A key pressed twice before the next card is there decides about one card."""
    before = len(events(ann.space))
    page.goto(ann.card(9))
    with page.expect_navigation():
        page.evaluate(
            "for (let i = 0; i < 2; i++) document.body.dispatchEvent("
            "new KeyboardEvent('keydown', { key: ' ', bubbles: true, cancelable: true }))"
        )
    assert [e["decision"] for e in events(ann.space, before)] == ["skip"]
