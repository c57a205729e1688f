"""The page of `exegete sql --ui`: what it answers, under which bounds, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from exegete.datastore.documented import documented_views
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.review.sql_page import create_sql_app, plain
from tests.datastore.labelled import LABELS, write_workspace

HERE = "http://127.0.0.1:8413"
LONG = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 5"


class Browser:
    """A visitor with cookies, who sends the token back that the page gave."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.csrf = str(re.search(r'name="csrf" value="([^"]+)"', client.get("/").text)[1])  # type: ignore[index]

    def post(self, path: str, **fields: str) -> tuple[int, str]:
        answer = self.client.post(path, data={"csrf": self.csrf, **fields}, headers={"origin": HERE})
        return answer.status_code, answer.text


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_workspace(tmp_path_factory.mktemp("page") / "w", evidence=False)


@pytest.fixture
def browser(space: Workspace) -> Iterator[Browser]:
    app = create_sql_app(space, limit=4, timeout_s=1.0)
    with TestClient(app, base_url=HERE, follow_redirects=False) as client:
        yield Browser(client)


class Cells(HTMLParser):
    """The texts of a page's table, and of anything that a browser would run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._in_cell = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def test_a_query_and_its_table(browser: Browser) -> None:
    """A POST runs the query: names and values as they are, missing ones as a dash, and the count."""
    status, html = browser.post("/", sql="SELECT feature_index, label, score FROM labels ORDER BY 1")
    assert status == 200
    page = Cells(html)
    assert page.rows[0] == ["feature_index", "label", "score"]
    assert page.rows[1] == ["0", LABELS[0][1], "–"]
    assert page.rows[2] == ["1", LABELS[1][1], "0.1"]
    assert len(page.rows) == 5
    assert "the first 4 of more" in html


def test_hostile_text_is_text(browser: Browser) -> None:
    """Neither labels nor the query itself become elements: the page's scripts are its own two and data."""
    query = (
        "SELECT label, '</script><img src=x onerror=alert(1)>' AS \"<b>\" FROM labels --</textarea><script>"
    )
    _, html = browser.post("/", sql=query)
    page = Cells(html)
    assert page.rows[1][1] == "</script><img src=x onerror=alert(1)>"
    assert "img" not in {tag for tag, _ in page.tags}
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert scripts == [
        {"src": "/static/sql.js", "defer": None},
        {"type": "application/json", "id": "result-data"},
    ]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name == "style"]


def test_data_for_plots(browser: Browser) -> None:
    """The page has the rows as JSON: what is missing and what is no number as null, long texts cut."""
    _, html = browser.post(
        "/", sql="SELECT NULL AS a, 'nan'::DOUBLE AS b, 1.5 AS c, repeat('x', 5000) AS d, [1, 2] AS e"
    )
    raw = re.search(r'<script type="application/json" id="result-data">(.*?)</script>', html, flags=re.S)
    assert raw is not None
    found = json.loads(raw[1])
    assert found["names"] == list("abcde")
    a, b, c, d, e = found["rows"][0]
    assert (a, b, c, e) == (None, None, 1.5, "[1, 2]")
    assert len(d) == 400


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC", "syntax error"),
        ("DELETE FROM store.calls", "a query only reads"),
        ("SELECT 1; SELECT 2", "give one SQL statement and not 2"),
        ("SELECT * FROM read_csv('/etc/hostname')", "the query can&#39;t be run"),
        (LONG, "took longer than 1 s"),
        ("", "give one SQL statement and not 0"),
    ],
)
def test_refused(browser: Browser, sql: str, said: str) -> None:
    """What can't be run is a sentence above the query, which is still there."""
    status, html = browser.post("/", sql=sql)
    assert status == 400
    alert = re.search(r'role="alert"[^>]*>([^<]*)<', html)
    assert alert is not None
    assert said in alert[1]
    assert re.search(r"<textarea[^>]*>(.*?)</textarea>", html, flags=re.S)[1].strip() != "" or not sql  # type: ignore[index]


def test_downloads(browser: Browser) -> None:
    """CSV and JSON have the rows whole; CSV has no formula in it."""
    sql = "SELECT label, score, reasons, labelled_at, polarity FROM labels WHERE feature_index = 0"
    _, text = browser.post("/download", form="csv", sql=sql)
    assert list(csv.reader(io.StringIO(text)))[1] == [
        '\'=HYPERLINK("http://x")',
        "",
        '["=reason"]',
        "2026-01-01T12:00:00",
        "+",
    ]
    _, text = browser.post("/download", form="json", sql=sql)
    assert json.loads(text) == [
        {
            "label": LABELS[0][1],
            "score": None,
            "reasons": ["=reason"],
            "labelled_at": "2026-01-01T12:00:00",
            "polarity": "+",
        }
    ]
    assert browser.post("/download", form="json", sql="DROP TABLE x")[0] == 400


def test_saved_queries(browser: Browser, space: Workspace) -> None:
    """A query is saved, listed, opened without being run, and forgotten; names that are none are refused."""
    assert browser.post("/save", name="low ones", sql="SELECT 7 AS seven")[0] == 200
    html = browser.client.get("/?saved_as=low%20ones").text
    assert "SELECT 7 AS seven" in html
    assert "<table>" not in html
    assert 'href="/?saved_as=low%20ones"' in html
    assert browser.post("/save", name="../x", sql="SELECT 1")[0] == 400
    assert browser.client.get("/?saved_as=nothing").status_code == 404
    assert browser.post("/forget", name="low ones")[0] == 303
    assert list((space.root / "queries").iterdir()) == []


def test_nothing_is_run_by_an_address(browser: Browser) -> None:
    """A link fills the query in and runs nothing; the other addresses answer no GET."""
    html = browser.client.get("/", params={"q": "SELECT 1 AS one"}).text
    assert "SELECT 1 AS one" in html
    assert "<table>" not in html
    for path in ("/download", "/save", "/forget"):
        assert browser.client.get(path).status_code == 405


def test_protected(browser: Browser) -> None:
    """Other names, other origins and forms without the token are refused; every answer has its policy."""
    assert browser.client.get("/", headers={"host": "evil.example"}).status_code == 421
    assert browser.client.post("/", data={"sql": "SELECT 1"}).status_code == 403
    other = {"csrf": browser.csrf, "sql": "SELECT 1"}
    assert browser.client.post("/", data=other, headers={"origin": "http://evil.example"}).status_code == 403
    for path in ("/", "/static/sql.js", "/static/plotly.min.js", "/nowhere"):
        answer = browser.client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert browser.client.get("/static/../templates/sql.html").status_code == 404
    assert browser.client.get("/docs").status_code == 404


def test_views_are_described(browser: Browser) -> None:
    """Every view and column stands at the side with its text."""
    html = browser.client.get("/").text
    for view in documented_views():
        assert f"<summary>{view.name}</summary>" in html
        assert all(f'data-word="{column.name}"' in html for column in view.columns)


def test_two_at_once_and_a_writer(browser: Browser, space: Workspace) -> None:
    """Two heavy queries at once are both cut off in time, and somebody who writes meanwhile gets a turn."""
    answers: list[int] = []

    def ask() -> None:
        answers.append(browser.post("/", sql=LONG)[0])

    began = time.monotonic()
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    Store(space.labels).insert({"calls": [{"key": "later", "model": "m", "finish": "stop"}]})
    for thread in threads:
        thread.join()
    assert answers == [400, 400]
    assert time.monotonic() - began < 30
    assert "<td" in browser.post("/", sql="SELECT key FROM calls WHERE key = 'later'")[1]


def test_plain_values(tmp_path: Path) -> None:
    """Values of every kind are JSON's."""
    found = plain({"a": [1, float("inf"), None, True, b"x"], 2: {"b": (1.5, "t")}})
    assert json.loads(json.dumps(found)) == {"a": [1, None, None, True, "b'x'"], "2": {"b": [1.5, "t"]}}
