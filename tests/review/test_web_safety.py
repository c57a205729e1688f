"""What stands before every page: names, origins, tokens, bodies and headers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from exegete.errors import UsageError
from exegete.review.web_safety import BODY_BYTES, CSP, csrf_token, is_loopback, protect

HERE = "http://127.0.0.1:8412"


def page(token: str | None = None, host_names: tuple[str, ...] = ("127.0.0.1", "localhost")) -> FastAPI:
    """A page that gives its CSRF token and counts what is posted."""
    app = FastAPI()
    app.state.posted = []
    protect(app, host_names=host_names, token=token)

    @app.get("/{path:path}")
    def show(request: Request) -> PlainTextResponse:
        return PlainTextResponse(csrf_token(request))

    @app.post("/{path:path}")
    async def post(request: Request) -> PlainTextResponse:
        app.state.posted.append(await request.body())
        return PlainTextResponse("done")

    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    """A browser at the page."""
    with TestClient(page(), base_url=HERE) as client:
        yield client


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8412", "127.0.0.1.evil.example", "", "[::"])
def test_a_name_that_is_not_the_pages_is_refused(client: TestClient, host: str) -> None:
    """A site that resolves its own name to loopback reads nothing."""
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8412", "localhost:8412", "LOCALHOST", "127.0.0.1"])
def test_the_pages_own_names_are_answered_on_any_port(client: TestClient, host: str) -> None:
    """A forwarded port changes the port in the Host, and not the name."""
    assert client.get("/", headers={"host": host}).status_code == 200


def test_a_post_needs_the_token_that_only_the_page_can_read(client: TestClient) -> None:
    """By form or by header; without, with another one, or without the cookie, nothing is done."""
    token = client.get("/").text
    assert client.post("/", data={"csrf": token, "a": "b"}).status_code == 200
    assert client.post("/", headers={"x-csrf-token": token}).status_code == 200
    assert client.post("/", data={"a": "b"}).status_code == 403
    assert client.post("/", data={"csrf": token[:-1] + "?"}).status_code == 403
    assert client.post("/", json={"csrf": token}).status_code == 403
    assert client.post("/", files={"csrf": token.encode()}).status_code == 403
    client.cookies.clear()
    assert client.post("/", data={"csrf": token}).status_code == 403
    assert len(client.app.state.posted) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "http://127.0.0.1:9999",
        "http://127.0.0.1",
        "http://127.0.0.1:8412.evil",
    ],
)
def test_a_post_from_another_origin_is_refused_even_with_the_token(client: TestClient, origin: str) -> None:
    """Another port of this machine is another page too."""
    token = client.get("/").text
    answer = client.post("/", headers={"x-csrf-token": token, "origin": origin})
    assert answer.status_code == 403
    assert client.post("/", headers={"x-csrf-token": token, "origin": HERE}).status_code == 200


def test_another_sites_scripts_and_images_get_nothing_and_its_links_do(client: TestClient) -> None:
    """A deep link in a chat works; the page can't be probed as an image or a script."""
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/", headers=embedded).status_code == 403
    assert client.get("/", headers=embedded | {"sec-fetch-mode": "navigate"}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(client: TestClient, method: str) -> None:
    """Nothing here is written in another way than by POST."""
    assert client.request(method, "/").status_code == 405


def test_bodies_are_bounded(client: TestClient) -> None:
    """One byte more than the largest body is refused before the application sees any of it."""
    token = {"x-csrf-token": client.get("/").text}
    assert client.post("/", content=b"x" * BODY_BYTES, headers=token).status_code == 200
    assert client.post("/", content=b"x" * (BODY_BYTES + 1), headers=token).status_code == 413
    assert [len(body) for body in client.app.state.posted] == [BODY_BYTES]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/", "/static/review.css"])
def test_every_answer_says_what_a_browser_may_do_with_it(client: TestClient, path: str) -> None:
    """Refusals too; pages are kept nowhere, static files are asked about again."""
    for host in ("127.0.0.1:8412", "evil.example"):
        answer = client.get(path, headers={"host": host})
        assert answer.headers["content-security-policy"] == CSP
        assert "unsafe" not in CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == ("no-store" if path == "/" else "no-cache")


def test_a_token_opens_the_page_once_and_is_taken_out_of_the_address() -> None:
    """Without it nothing is answered; with it a cookie is, and the rest of the address is kept."""
    with TestClient(page("se-cret"), base_url=HERE) as client:
        assert client.get("/").status_code == 401
        assert client.get("/?token=other").status_code == 401
        assert client.post("/?token=se-cret").status_code == 401
        answer = client.get("/card/h/12+?token=se-cret&show=all", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/card/h/12%2B?show=all")
        assert "se-cret" not in answer.headers["set-cookie"]
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/%5Cevil.example", "/%5C/evil.example"])
def test_a_token_never_sends_a_visitor_to_another_host(path: str) -> None:
    """Two slashes, or a slash and a backslash, would be a host to a browser."""
    with TestClient(page("se-cret"), base_url=HERE) as client:
        answer = client.get(f"{HERE}{path}?token=se-cret", follow_redirects=False)
        assert answer.headers["location"].startswith("/evil.example")


def test_beyond_loopback_there_is_no_page_without_a_token() -> None:
    """It is refused before anything listens, and says what to do."""
    with pytest.raises(UsageError, match="--token"):
        page(host_names=("127.0.0.1", "lab.example"))
    page("se-cret", host_names=("127.0.0.1", "lab.example"))


@pytest.mark.parametrize(
    ("host", "own"),
    [("localhost", True), ("127.8.9.1", True), ("[::1]", True), ("0.0.0.0", False), ("lab", False)],
)
def test_what_loopback_is(host: str, own: bool) -> None:
    """All of 127/8 and ::1; "every address" is not."""
    assert is_loopback(host) is own
