"""The page of `exegete sql --ui`: queries over the public views, their results, and plots of them.

It is an application of its own beside the review page, behind the same protections (web_safety.py). Queries
run under the rules of `exegete sql` (datastore/query.py): one statement that only reads, bounded in rows
and in time. A query is only ever run by a POST; an address can bring one (`/?q=…`, `/?saved=…`), and a
person then runs it.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined

from exegete.datastore.documented import documented_views
from exegete.datastore.query import Answer, query
from exegete.datastore.saved_queries import SavedQueries
from exegete.datastore.spreadsheet import harmless
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError
from exegete.review.web_safety import csrf_token, protect

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CELL = 400
"""Characters of a text that a table or a plot shows; downloads have all of it."""
_FIRST = "SELECT feature_index, label, score, density\nFROM labels\nORDER BY score DESC NULLS LAST"


@dataclass(frozen=True, slots=True)
class Result:
    """What a query gave, for the page."""

    answer: Answer
    seconds: float

    @property
    def cells(self) -> list[list[str]]:
        """As texts of a table."""
        return [[_cell(value) for value in row] for row in self.answer.rows]

    @property
    def numeric(self) -> list[bool]:
        """Which columns are of numbers: they stand to the right."""
        columns = zip(*self.answer.rows, strict=True) if self.answer.rows else ([] for _ in self.answer.names)
        return [all(isinstance(v, int | float | Decimal) or v is None for v in column) for column in columns]

    @property
    def data(self) -> dict[str, Any]:
        """As JSON values for plots."""
        rows = [[_shortened(plain(value)) for value in row] for row in self.answer.rows]
        return {"names": list(self.answer.names), "rows": rows}


def create_sql_app(
    space: Workspace,
    *,
    limit: int,
    timeout_s: float,
    host_names: Sequence[str] = LOOPBACK,
    token: str | None = None,
) -> FastAPI:
    """The application.

    Args:
        space: the workspace.
        limit: rows of a result at most.
        timeout_s: seconds a query may take; a running job waits no longer than that to write.
        host_names: names that the page may be asked for by.
        token: what a visitor has to bring; needed beyond loopback.

    Raises:
        UsageError: a name is not loopback's and there is no token.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    protect(app, host_names=host_names, token=token)
    saved = SavedQueries(space.root)
    page = _Page(space, saved, limit)
    _answer_queries(app, page, _Asker(space, limit, timeout_s))
    _keep_queries(app, page, saved)

    @app.get("/static/plotly.min.js")
    def plotly() -> Response:
        place = Path(str(files("plotly") / "package_data" / "plotly.min.js"))
        return FileResponse(place, media_type="text/javascript")

    app.mount("/static", StaticFiles(directory=str(files("exegete.review") / "static")), name="static")
    return app


def _answer_queries(app: FastAPI, page: _Page, ask: _Asker) -> None:
    """Run a query: to look at, or to take along."""

    @app.post("/", response_class=HTMLResponse)
    def run(request: Request, sql: Annotated[str, Form()] = "") -> Response:
        try:
            return page.answer(request, sql, ask(sql))
        except ExegeteError as error:
            return page.answer(request, sql, error=str(error), status=400)

    @app.post("/download")
    def download(
        request: Request, form: Annotated[str, Form()], sql: Annotated[str, Form()] = ""
    ) -> Response:
        try:
            found = ask(sql).answer
        except ExegeteError as error:
            return page.answer(request, sql, error=str(error), status=400)
        text, kind = (_as_csv(found), "csv") if form == "csv" else (_as_json(found), "json")
        headers = {"Content-Disposition": f'attachment; filename="result.{kind}"'}
        media = {"csv": "text/csv", "json": "application/json"}[kind]
        return Response(text, media_type=f"{media}; charset=utf-8", headers=headers)


def _keep_queries(app: FastAPI, page: _Page, saved: SavedQueries) -> None:
    """Begin with a query that an address or a saved one brings; save one, and forget it."""

    @app.get("/", response_class=HTMLResponse)
    def start(request: Request, q: str | None = None, saved_as: str | None = None) -> Response:
        try:
            text = saved.text(saved_as) if saved_as is not None else q
        except ExegeteError as error:
            return page.answer(request, q or "", error=str(error), status=404)
        return page.answer(request, _FIRST if text is None else text)

    @app.post("/save")
    def save(
        request: Request, name: Annotated[str, Form()] = "", sql: Annotated[str, Form()] = ""
    ) -> Response:
        try:
            saved.save(name.strip(), sql)
        except ExegeteError as error:
            return page.answer(request, sql, error=str(error), status=400)
        return page.answer(request, sql, said=f"saved as {name.strip()}")

    @app.post("/forget")
    def forget(request: Request, name: Annotated[str, Form()]) -> Response:
        try:
            saved.drop(name)
        except ExegeteError as error:
            return page.answer(request, _FIRST, error=str(error), status=400)
        return RedirectResponse("/", status_code=303)


class _Asker:
    """Runs queries."""

    def __init__(self, space: Workspace, limit: int, timeout_s: float) -> None:
        self._space, self._limit, self._timeout_s = space, limit, timeout_s

    def __call__(self, sql: str) -> Result:
        began = time.monotonic()
        answer = query(self._space.labels, sql, self._limit, self._timeout_s)
        return Result(answer, time.monotonic() - began)


class _Page:
    """Renders the page."""

    def __init__(self, space: Workspace, saved: SavedQueries, limit: int) -> None:
        loader = PackageLoader("exegete.review", "templates")
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
        self._template = environment.get_template("sql.html")
        self._name, self._saved, self._limit = space.root.resolve().name, saved, limit

    def answer(
        self,
        request: Request,
        sql: str,
        result: Result | None = None,
        *,
        error: str | None = None,
        said: str | None = None,
        status: int = 200,
    ) -> HTMLResponse:
        text = self._template.render(
            workspace=self._name,
            csrf=csrf_token(request),
            sql=sql,
            result=result,
            error=error,
            said=said,
            saved=self._saved.names(),
            views=documented_views(),
            limit=self._limit,
        )
        return HTMLResponse(text, status_code=status)


def plain(value: Any) -> Any:
    """A value of DuckDB's as JSON has it: times as ISO 8601, and what is no number as null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return str(value)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | Decimal):
        return f"{value:.4g}"
    if isinstance(value, list | dict):
        return str(_shortened(json.dumps(plain(value), ensure_ascii=False)))
    return str(_shortened(str(plain(value))))


def _shortened(value: Any) -> Any:
    if isinstance(value, list | dict):
        return _shortened(json.dumps(value, ensure_ascii=False))
    return f"{value[: _CELL - 1]}…" if isinstance(value, str) and len(value) > _CELL else value


def _as_json(found: Answer) -> str:
    rows = [dict(zip(found.names, map(plain, row), strict=True)) for row in found.rows]
    return json.dumps(rows, ensure_ascii=False)


def _as_csv(found: Answer) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([harmless(name) for name in found.names])
    for row in found.rows:
        cells = [plain(value) for value in row]
        texts = [json.dumps(c, ensure_ascii=False) if isinstance(c, list | dict) else c for c in cells]
        writer.writerow([harmless(text) if isinstance(text, str) else text for text in texts])
    return file.getvalue()
