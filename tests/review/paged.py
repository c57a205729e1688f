"""A visitor of the review page without JavaScript: what a page holds, and its forms as browsers send them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from httpx import Response
from starlette.testclient import TestClient

from exegete.datastore.workspace import Workspace
from exegete.review.app import create_app
from tests.agent.harness import store_at

HERE = "http://127.0.0.1:8765"
_VOID = {"meta", "link", "input", "br", "rect", "line", "img"}


@dataclass
class Element:
    """One element of a page."""

    tag: str
    attributes: dict[str, str]
    inside: Element | None
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self) -> Iterator[Element]:
        """It and what is in it, in the order of the page."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.all()


class Page(HTMLParser):
    """A page that was read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.root = Element("", {}, None)
        self._at = self.root
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        element = Element(tag, {name: value or "" for name, value in attrs}, self._at)
        self._at.children.append(element)
        if tag not in _VOID:
            self._at = element

    def handle_endtag(self, tag: str) -> None:
        """End it; every element of our pages is ended, and in its turn."""
        if tag in _VOID:
            return
        assert self._at.tag == tag, f"<{self._at.tag}> is ended by </{tag}>"
        assert self._at.inside is not None
        self._at = self._at.inside

    def handle_data(self, data: str) -> None:
        """Text."""
        self._at.children.append(data)

    def elements(self, tag: str = "", **attributes: str) -> list[Element]:
        """Elements by tag and attributes."""
        return [
            element
            for element in self.root.all()
            if (not tag or element.tag == tag)
            and all(element.attributes.get(name) == value for name, value in attributes.items())
        ]

    def one(self, id: str) -> Element:
        """The element of an id."""
        (found,) = self.elements(id=id)
        return found

    def has(self, id: str) -> bool:
        """Whether there is one."""
        return bool(self.elements(id=id))


class Visitor:
    """A reviewer at the page of a workspace."""

    def __init__(self, client: TestClient, workspace: Workspace, reviewer: str) -> None:
        self.client, self.workspace, self.reviewer = client, workspace, reviewer
        self.answer: Response | Any = None
        self.page = Page("")

    def get(self, address: str) -> Page:
        """Open an address."""
        self.answer = self.client.get(address)
        self.page = Page(self.answer.text)
        return self.page

    def press(self, id: str, **typed: str) -> Page:
        """Press a button of the page, with something typed into its form."""
        button = self.page.one(id)
        form = button
        while form.tag != "form":
            assert form.inside is not None, f"{id} is in no form"
            form = form.inside
        fields = {}
        for element in form.all():
            if element.tag == "input" and "name" in element.attributes:
                fields[element.attributes["name"]] = element.attributes.get("value", "")
            elif element.tag == "textarea":
                fields[element.attributes["name"]] = element.text
        assert set(typed) <= set(fields), f"there is no field {set(typed) - set(fields)}"
        fields |= typed
        if "name" in button.attributes:
            fields[button.attributes["name"]] = button.attributes["value"]
        action = button.attributes.get("formaction", form.attributes["action"])
        self.answer = self.client.post(action, data=fields, headers={"origin": HERE})
        self.page = Page(self.answer.text)
        return self.page

    @property
    def feature(self) -> str:
        """Of the card that is open."""
        return self.page.one("card").attributes["data-feature"]

    @property
    def status(self) -> int:
        """Of the last answer."""
        return int(self.answer.status_code)


@contextmanager
def visiting(workspace: Workspace, reviewer: str = "ann", *, blind: bool = False) -> Iterator[Visitor]:
    """Serve the page and visit it."""
    app = create_app(workspace, reviewer=reviewer, blind=blind)
    with TestClient(app, base_url=HERE) as client:
        yield Visitor(client, workspace, reviewer)


def rows(workspace: Workspace, sql: str, *known: Any) -> list[dict[str, Any]]:
    """What the labels file says."""
    return store_at(workspace.labels).read(sql, known)
