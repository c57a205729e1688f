"""What the tests of the agent share: a model that is a function, small jobs, looks into the labels file."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exegete import llm
from exegete.agent.job import Job, JobReport, Progress
from exegete.agent.spec import JobSpec
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm import Reply, Request
from exegete.llm.abilities import Abilities, Ability
from exegete.llm.abilities_file import remember
from exegete.llm.size import likely_tokens
from tests.agent import competent
from tests.agent.planted import TRUTH
from tests.provider import Said

Answer = Callable[[Request], str | Said]

SMALL: dict[str, Any] = {
    "explainer": "highlight",
    "llm": "scripted:function",
    "top": 6,
    "per_decile": 1,
    "quiet": 8,
    "hard": 4,
    "candidates": 2,
    "rounds": 1,
    "seed": 3,
    "nulls": 0,
    "stop_early": False,
}
"""Parameters of a job of some seven calls a feature."""

LOOKED_AT = (
    *("outcomes", "labels", "scores", "q_values", "examples", "nulls", "null_plans"),
    *("experiments", "decisions", "outputs"),
)
"""Tables that hold results."""


def competently(request: Request) -> str:
    """Answer as a competent model does."""
    return competent.answer(first(request))


def first(request: Request) -> str:
    """The first turn: what is asked, whatever complaints follow."""
    return request.messages[0].text


def purpose(request: Request) -> str:
    """propose, falsify, revise or simulate."""
    return competent.purpose_of(first(request))


def about(request: Request) -> int:
    """The feature a competent model's label says a request is about; -1 for a label of none."""
    prompt = first(request)
    label = competent.label_of(prompt) if purpose(request) == "simulate" else competent.explain(prompt)
    return {label: feature for feature, label in TRUTH.items()}.get(label, -1)


class FunctionLLM:
    """A provider that answers by a function, and keeps what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        await asyncio.sleep(0)
        said = self.answer(request)
        if isinstance(said, str):
            said = Said(said)
        return Reply(said.text, said.finish, "function", likely_tokens(request), len(said.text) // 4, 0, 0.0)

    async def close(self) -> None:
        """Nothing is open."""

    def count(self, wanted: str) -> int:
        """How many calls there were for a purpose."""
        return sum(purpose(request) == wanted for request in self.asked)


class Runner:
    """Runs small jobs in one workspace against a model that is a function."""

    def __init__(self, workspace: Workspace, patch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self.llm = FunctionLLM(competently)
        self.messages: list[str] = []
        self.heard: Callable[[str], None] = lambda message: None
        """Called with every new message of a job."""
        patch.setattr(os, "fsync", lambda file: None)  # most of a small job's time; nothing is killed here
        self._patch = patch

    def __call__(self, answer: Answer | None = None, **parameters: Any) -> JobReport:
        """Run a job; parameters override those of SMALL."""
        if answer is not None:
            self.llm = FunctionLLM(answer)
        self._patch.setitem(llm.PROVIDERS, "scripted", lambda name: self.llm)
        return run_job(self.workspace, self._listen, **parameters)

    def _listen(self, progress: Progress) -> None:
        if progress.message and progress.message not in self.messages:
            self.messages.append(progress.message)
            self.heard(progress.message)

    def outcome(self, feature: int) -> dict[str, Any]:
        """The row of one feature in the view `labels`."""
        (row,) = rows(self.workspace, f"SELECT * FROM labels WHERE feature_index = {feature}")
        return row

    def scores(self, feature: int, split: str = "report") -> dict[str, dict[str, Any]]:
        """Rows of the view `scores` of the one label scored on a split, by scorer."""
        found = rows(
            self.workspace, f"SELECT * FROM scores WHERE feature_index = {feature} AND split = '{split}'"
        )
        assert len({row["label"] for row in found}) == 1
        return {row["scorer"].partition("@")[0]: row for row in found}

    def trials(self, feature: int, split: str = "refine", scorer: str = "simulation") -> dict[str, Any]:
        """Values by label, as scored on a split."""
        found = rows(
            self.workspace,
            f"SELECT label, value FROM scores WHERE feature_index = {feature} AND split = '{split}' "
            f"AND scorer LIKE '{scorer}%'",
        )
        return {row["label"]: row["value"] for row in found}


def run_job(
    workspace: Workspace, on_progress: Callable[[Progress], None] = lambda _: None, **parameters: Any
) -> JobReport:
    """Run a job to its end."""
    spec = JobSpec(**(SMALL | parameters))
    known_to_be_able(workspace, spec.llm)
    return asyncio.run(Job(workspace, spec, on_progress).run())


def known_to_be_able(workspace: Workspace, model: str | None) -> None:
    """Remember that a model takes schemas, so that a job makes no call but its own."""
    if model is not None:
        remember(workspace.root, Abilities(model, structured_output=Ability(True, "a test says so")))


def rows(workspace: Workspace, sql: str) -> list[dict[str, Any]]:
    """Rows of a query."""
    return store_at(workspace.labels).read(sql)


@functools.lru_cache(maxsize=2)
def store_at(path: Path) -> Store:
    """A labels file, its schema looked at once; DuckDB, whose start takes longer than a read, stays up."""
    return Store(path, often=True)


atexit.register(store_at.cache_clear)  # a DuckDB that is up when Python ends complains


def statuses(workspace: Workspace) -> Counter[str]:
    """How many features have each status."""
    return Counter(row["status"] for row in rows(workspace, "SELECT status FROM store.outcomes"))


def results(workspace: Workspace) -> dict[str, list[str]]:
    """All results without their times, in an order of their own: equal for equal jobs."""

    def read(con: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
        found = {}
        for table in LOOKED_AT:
            timed = ("outcomes", "labels", "scores", "nulls", "experiments", "decisions", "outputs")
            columns = "* EXCLUDE (made_at)" if table in timed else "*"
            cursor = con.execute(f"SELECT {columns} FROM store.{table}")
            names = [column[0] for column in cursor.description]
            found[table] = sorted(repr(dict(zip(names, row, strict=True))) for row in cursor.fetchall())
        return found

    return store_at(workspace.labels).reading(read)
