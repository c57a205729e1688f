"""What a reviewer does on the page, by its forms alone, and what it leaves in the labels file."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import duckdb
import pytest

from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.datastore.workspace import Workspace
from exegete.review.desk import Desk
from exegete.review.keys import Key
from exegete.review.pages import room
from exegete.review.record import REASONS, Act, record
from tests.review.paged import rows, visiting

ALL = "/?which=all"


@pytest.fixture(scope="module")
def done(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which ten features are labelled, without an LLM; not to be written to."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("done") / "workspace")
    asyncio.run(Job(Workspace.open(root), JobSpec(features="0-9", name="first", nulls=0)).run())
    return root


@pytest.fixture
def workspace(done: Path, tmp_path: Path) -> Workspace:
    """One of the test's own."""
    return Workspace.open(shutil.copytree(done, tmp_path / "workspace"))


def harvest(workspace: Workspace) -> str:
    """Its only one."""
    return workspace.harvests()[0]


def card(workspace: Workspace, feature: str) -> str:
    """A card's address."""
    return f"/card/{harvest(workspace)}/{feature}?which=all"


def events(workspace: Workspace) -> list[tuple[object, ...]]:
    """What the file says was done, in order."""
    found = rows(
        workspace, "SELECT * FROM reviews WHERE decision NOT IN ('undo', 'redo') ORDER BY reviewed_at"
    )
    names = ("reviewer", "feature_index", "decision", "text", "reason", "comment", "blind_text")
    return [tuple(row[name] for name in names) for row in found]


@contextmanager
def held(workspace: Workspace) -> Iterator[None]:
    """Hold the labels file as another process does; the page may have it open for a moment first."""
    for attempt in range(100):
        try:
            con = duckdb.connect(str(workspace.labels))
            break
        except duckdb.Error:
            time.sleep(0.02 * (attempt < 99))
    try:
        yield
    finally:
        con.close()


def label(workspace: Workspace, index: int) -> tuple[str | None, str]:
    """What a feature's label is now, and its status."""
    (row,) = rows(workspace, "SELECT label, status FROM labels WHERE feature_index = ?", index)
    return row["label"], row["status"]


def test_accepting_one_card_after_the_other_without_a_script(workspace: Workspace) -> None:
    """Each answer is the next card, and what was done is said on it; at the end stands the queue."""
    with visiting(workspace) as ann:
        ann.get(ALL)
        (count,) = (int(word) for word in ann.page.one("count").text.split()[:1])
        ann.press("b-start")
        seen: list[str] = []
        while ann.page.has("card"):
            seen.append(ann.feature)
            ann.press("b-accept")
            assert f"Feature {seen[-1].rstrip('+')} accepted" in ann.page.one("said").text
    assert len(seen) == len(set(seen)) == count == 8
    assert [(e[0], f"{e[1]}+", e[2]) for e in events(workspace)] == [("ann", f, "accept") for f in seen]
    assert {label(workspace, int(f.rstrip("+")))[1] for f in seen} == {"accepted"}


def test_an_edit_is_the_label_from_then_on(workspace: Workspace) -> None:
    """The text is cleaned, recorded with the label it replaces, and on the card when one comes back."""
    before = label(workspace, 0)[0]
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        assert ann.page.one("edit-text").text == before
        ann.press("b-save", text="  the word\n of all words ")
        assert "edited and accepted: the word of all words" in ann.page.one("said").text
        ann.get(card(workspace, "0+"))
        assert ann.page.one("label").text == "the word of all words"
        assert "the word of all words" in ann.page.one("history").text
    assert label(workspace, 0) == ("the word of all words", "accepted")
    (row,) = rows(workspace, "SELECT label_before, text FROM reviews")
    assert (row["label_before"], row["text"]) == (before, "the word of all words")


def test_each_reason_has_its_button(workspace: Workspace) -> None:
    """The seven of the record, in the order of the keys, with words beside them."""
    features = [0, 1, 2, 3, 4, 5, 8]
    with visiting(workspace) as ann:
        for number, feature in enumerate(features, start=1):
            ann.get(card(workspace, f"{feature}+"))
            ann.press(f"b-reject-{number}", remark="see the quiet ones")
    assert events(workspace) == [
        ("ann", feature, "reject", "see the quiet ones", reason, None, None)
        for feature, reason in zip(features, REASONS, strict=True)
    ]
    assert {label(workspace, feature)[1] for feature in features} == {"rejected"}


def test_remarks_stay_on_the_card_and_decide_nothing(workspace: Workspace) -> None:
    """Flag, unflag and comment come back to the card; skip goes on; none changes the status."""
    before = label(workspace, 0)
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        ann.press("b-flag")
        assert ann.page.has("flagged")
        assert ann.feature == "0+"
        ann.press("b-save-comment", comment="what of plurals?")
        assert "what of plurals?" in ann.page.one("events").text
        ann.press("b-flag")
        assert not ann.page.has("flagged")
        ann.press("b-skip")
        assert ann.feature != "0+"
    assert [e[2] for e in events(workspace)] == ["flag", "comment", "unflag", "skip"]
    assert label(workspace, 0) == before


def test_undo_and_redo_survive_another_server(workspace: Workspace) -> None:
    """They lead back to the card they are about, whatever page they are asked from."""
    before = label(workspace, 0)
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        ann.press("b-save", text="another label")
    with visiting(workspace) as ann:
        ann.get("/work")
        ann.press("b-undo")
        assert ann.feature == "0+"
        assert label(workspace, 0) == before
        assert ann.page.one("label").text == before[0]
        ann.press("b-redo")
        assert ann.page.one("label").text == "another label"
        ann.press("b-redo")
        assert "nothing to take back" in ann.page.one("said").text
    assert label(workspace, 0) == ("another label", "accepted")


def test_a_label_that_changed_meanwhile_is_not_decided_about(workspace: Workspace) -> None:
    """Nothing is recorded, the new label is on the card, and what was typed is kept."""
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        key = Key(harvest(workspace), 0, "+")
        record(workspace, Act(key, "edit", "bob", label(workspace, 0)[0], text="what bob says"))
        ann.press("b-save", text="what ann says")
        assert ann.status == 409
        assert "Nothing was recorded" in ann.page.one("problem").text
        assert ann.page.one("label").text == "what bob says"
        assert ann.page.one("edit-text").text == "what ann says"
        ann.press("b-accept")
        assert ann.status == 200
    assert [e[:4] for e in events(workspace)] == [
        ("bob", 0, "edit", "what bob says"),
        ("ann", 0, "accept", None),
    ]


def test_two_reviewers_are_not_dealt_one_card(workspace: Workspace) -> None:
    """The second starts elsewhere; at the first one's card the page says whose it is, and records nothing."""
    with visiting(workspace, "ann") as ann, visiting(workspace, "bob") as bob:
        for visitor in (ann, bob):
            visitor.get(ALL)
            visitor.press("b-start")
        assert ann.feature != bob.feature
        bob.get(card(workspace, ann.feature))
        assert bob.page.one("holder").text == "ann"
        assert "hidden" not in bob.page.one("held").attributes
        bob.press("b-accept")
        assert "held" in str(bob.answer.url)
        assert events(workspace) == []
        ann.press("b-accept")
        assert ann.feature != bob.feature


def test_a_second_review_does_not_know_the_first(workspace: Workspace) -> None:
    """What others decided is on the card once one's own decision is, or to settle a disagreement."""
    record(
        workspace,
        Act(
            Key(harvest(workspace), 0, "+"),
            "reject",
            "bob",
            label(workspace, 0)[0],
            text="no",
            reason="wrong",
        ),
    )
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        assert ann.page.has("second")
        assert not ann.page.has("status")
        assert "bob" not in ann.page.one("card").text
        assert "bob" in ann.get(card(workspace, "0+").replace("all", "disagreements")).one("events").text
        ann.get(card(workspace, "0+"))
        ann.press("b-accept")
        assert "bob" in ann.get(card(workspace, "0+")).one("events").text


def test_a_draft_survives_the_server(workspace: Workspace) -> None:
    """It is there again in another browser, and gone once the card is decided."""
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        csrf = {"x-csrf-token": ann.page.elements("meta", name="csrf")[0].attributes["content"]}
        path = card(workspace, "0+").replace("?", "/draft?")
        assert ann.client.post(path, data={"text": "half a lab"}, headers=csrf).json() == {"saved": True}
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        assert ann.page.one("edit-text").text == "half a lab"
        assert "open" in ann.page.one("panel-edit").attributes
        ann.press("b-save")
        assert label(workspace, 0)[0] == "half a lab"
        ann.get(card(workspace, "0+"))
        assert "open" not in ann.page.one("panel-edit").attributes


def test_what_says_nothing_is_not_recorded(workspace: Workspace) -> None:
    """An empty label or comment is refused in a sentence, on the card."""
    with visiting(workspace) as ann:
        for button, field, why in (("b-save", "text", "label"), ("b-save-comment", "comment", "nothing")):
            ann.get(card(workspace, "0+"))
            ann.press(button, **{field: " \u200b "})
            assert ann.status == 400
            assert why in ann.page.one("problem").text
    assert events(workspace) == []


def test_how_long_it_took_is_kept_when_it_is_a_time(workspace: Workspace) -> None:
    """As the script says it; without one, or with nonsense, nothing is made up."""
    with visiting(workspace) as ann:
        for seconds in ("12.5", "", "nan", "-1", "1e99", "soon"):
            ann.get(card(workspace, "0+"))
            ann.press("b-skip", seconds=seconds)
    kept = [row["seconds"] for row in rows(workspace, "SELECT seconds FROM reviews ORDER BY reviewed_at")]
    assert kept == [12.5, None, None, None, None, None]


def test_work_is_queued_with_the_run_it_is_about(workspace: Workspace) -> None:
    """An edited label to be scored, and a hint; both stand on the card with how far they are."""
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        ann.press("b-rescore", text="a better label")
        ann.press("b-queue-rerun", hint="look at the endings")
        assert "a better label" in ann.page.one("work").text
        assert "look at the endings" in ann.get("/work").one("work").text
        states = ann.client.get("/work.json").json()
        assert [one["state"] for one in states] == ["queued", "queued"]
    queued = Desk(workspace).work()
    assert {(w.kind, w.text, w.run, w.reviewer) for w in queued} == {
        ("rescore", "a better label", "first", "ann"),
        ("rerun", "look at the endings", "first", "ann"),
    }


def test_blind_the_label_is_nowhere_until_one_is_written(workspace: Workspace) -> None:
    """Not in the queue, not in the card's markup; what was written first is kept with the decision."""
    hidden = label(workspace, 0)[0] or ""
    with visiting(workspace, blind=True) as ann:
        shown = ann.get(ALL).html + ann.get(card(workspace, "0+")).html
        assert hidden not in shown.replace("&#34;", '"')
        assert not ann.page.has("b-accept")
        assert "mistake" not in ann.page.one("examples").text
        ann.press("b-blind", blind_text="\u200b")
        assert ann.status == 400
        ann.press("b-blind", blind_text="mine")
        assert ann.page.one("label").text == hidden
        assert "You wrote: mine" in ann.page.one("yours").text
        ann.press("b-accept")
    assert events(workspace) == [("ann", 0, "accept", None, None, None, "mine")]


def test_blind_nothing_else_says_the_label(workspace: Workspace) -> None:
    """Not a flag, a comment or a skip of a hidden card, a neighbour's card, or what somebody else queued."""
    names = {text for i in range(1, 10) if (text := label(workspace, i)[0])}
    own = label(workspace, 0)[0] or ""
    Desk(workspace).add_work("rescore", Key(harvest(workspace), 1, "+"), "bob", "bob's label", "first")
    with visiting(workspace, blind=True) as ann:
        ann.get(card(workspace, "0+"))
        shown = ""
        for button, typed in (("b-flag", {}), ("b-save-comment", {"comment": "odd"}), ("b-skip", {})):
            shown += ann.press(button, **typed).html
        shown += ann.get("/work").html
        assert ann.page.has("work")
        assert own not in unescape(shown)
        ann.get(card(workspace, "0+"))
        shown += ann.press("b-blind", blind_text="mine").html
        assert ann.page.one("label").text == own
    assert not [name for name in (*names, "bob's label") if name in unescape(shown)]


def test_blind_what_was_seen_is_not_hidden_again(workspace: Workspace) -> None:
    """A decision that was taken back shows its card as it was, and the next one has the same first words."""
    with visiting(workspace, blind=True) as ann:
        ann.get(card(workspace, "0+"))
        ann.press("b-blind", blind_text="mine")
        ann.press("b-accept")
        ann.press("b-undo")
        assert "You wrote: mine" in ann.page.one("yours").text
        ann.press("b-reject-1")
        assert not ann.get(card(workspace, "0+")).has("blind")
    with visiting(workspace, blind=True, reviewer="bob") as bob:
        assert bob.get(card(workspace, "0+")).has("blind")
    assert [(event[2], event[6]) for event in events(workspace)] == [("accept", "mine"), ("reject", "mine")]


def test_a_busy_workspace_says_so_and_records_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page comes back by itself; a decision does not, and the same press works once the file is free."""
    monkeypatch.setattr(room, "PATIENCE_S", 0.05)
    monkeypatch.setattr("exegete.datastore.store.PATIENCE_S", 0.05)
    with visiting(workspace) as ann:
        ann.get(card(workspace, "0+"))
        before = ann.page
        with held(workspace):
            busy = ann.get(card(workspace, "5+"))  # 1 and 2 were made ahead
            assert ann.status == 503
            assert ann.answer.headers["retry-after"] == "2"
            assert busy.elements("meta", content="2")
        ann.page = before
        ann.press("b-accept")
        assert ann.status == 200
    assert [e[2] for e in events(workspace)] == ["accept"]


def test_a_threshold_is_looked_at_before_it_is_set(workspace: Workspace) -> None:
    """The page says what it would change and changes nothing; pressed, it does, and the cards' bar moves."""

    def accepted() -> int:
        return len(rows(workspace, "SELECT * FROM labels WHERE status = 'accepted'"))

    before = accepted()
    with visiting(workspace) as ann:
        assert not ann.get("/calibration").has("change")
        assert "too few" in ann.page.one("found").text or "needs" in ann.page.one("found").text
        change = ann.get("/calibration?run=first&threshold=0.99").one("change").text
        assert f"accepted{before}0" in "".join(change.split())
        assert accepted() == before > 0
        ann.press("b-apply")
        assert "is .99 now" in ann.page.one("applied").text
        assert accepted() == 0
        assert "to clear .99" in ann.get(card(workspace, "0+")).html
        ann.get("/calibration?threshold=nan")
        assert ann.status == 400


def test_an_address_that_leads_nowhere_ends_in_a_sentence(workspace: Workspace) -> None:
    """And in no traceback, whatever stands in it."""
    with visiting(workspace) as ann:
        for address in ("/card/none/0+", "/card/none/x", "/nothing", "/?which=other", "/?layer=x"):
            page = ann.get(address)
            assert ann.status in (400, 404)
            assert page.elements(role="alert")
            assert "Traceback" not in page.html
