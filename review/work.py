"""Whoever does the queued work: an edited label scored, a feature labelled again with a hint.

Work is taken up one piece at a time, and its progress is said on the desk (`exegete.review.desk`), where any
page can read it. What a piece needs may be in use, the journal or the whole workspace by a running job: then
it waits, behind the others, and is tried again. A worker that is stopped puts its piece back; one that is
killed is noticed by its silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from exegete.agent.person import score_person
from exegete.agent.rerun import rerun
from exegete.agent.runs import frozen_spec
from exegete.agent.spec import JobSpec
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError, UsageError, WorkspaceBusy
from exegete.review.desk import CLAIM_S, Desk, Work
from exegete.review.keys import Key

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How often the desk is looked at for work."""
AGAIN_S = 5.0
"""How long a worker rests after what it needed was in use."""
_HEARTBEAT_S = CLAIM_S / 4

_OUTCOME = ("label", "status", "score", "low", "high", "chance", "p_value", "why", "run")


class Worker:
    """Does the work of one workspace's desk, until told to stop."""

    def __init__(self, workspace: Workspace, desk: Desk, name: str | None = None) -> None:
        """Prepare.

        Args:
            workspace: where labels and evidence are.
            desk: where work is queued.
            name: what the worker signs with; None: machine and process.
        """
        self._workspace, self._desk = workspace, desk
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"

    async def run(self, stop: asyncio.Event) -> None:
        """Take up work until `stop` is set; what is under way then is put back."""
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            doing = asyncio.create_task(self._next())
            await asyncio.wait({doing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                doing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await doing
                return
            await asyncio.wait({stopped}, timeout=doing.result())

    async def _next(self) -> float:
        """Do what is next; seconds to rest afterwards."""
        try:
            done = await self.once()
        except WorkspaceBusy:  # the desk itself: look again
            return POLL_S
        return {True: 0.0, False: AGAIN_S, None: POLL_S}[done]

    async def once(self) -> bool | None:
        """Do the next piece of work.

        Returns:
            True when it was done or has failed, False when it waits for something, None when there was none.
        """
        work = await asyncio.to_thread(self._desk.next_work, self._name)
        if work is None:
            return None
        doing = asyncio.create_task(self._do(work))
        beating = asyncio.create_task(self._beat(work, doing))
        try:
            result = await doing
        except WorkspaceBusy as error:
            self._desk.put_back(work.id, self._name, f"waits: {error}")
            return False
        except ExegeteError as error:
            self._desk.finish_work(work.id, self._name, "failed", str(error))
        except asyncio.CancelledError:
            self._desk.put_back(work.id, self._name, "waits: its server was stopped")
            raise
        except Exception as error:
            log.exception("work %d failed", work.id)
            self._desk.finish_work(work.id, self._name, "failed", f"{type(error).__name__}: {error}")
        else:
            self._desk.finish_work(work.id, self._name, "done", _in_words(result), result)
        finally:
            beating.cancel()
        return True

    async def _beat(self, work: Work, doing: asyncio.Task[Any]) -> None:
        """Say now and then that the work goes on; end it when another worker has taken it over."""
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            with contextlib.suppress(WorkspaceBusy):
                if not await asyncio.to_thread(self._desk.say, work.id, self._name):
                    doing.cancel()
                    return

    async def _do(self, work: Work) -> dict[str, Any]:
        spec = await asyncio.to_thread(self._spec, work)
        if work.kind == "rescore":
            return await self._rescore(work, spec)
        return await self._rerun(work, spec)

    async def _rescore(self, work: Work, spec: JobSpec) -> dict[str, Any]:
        """Score a label as `exegete score` does, with the run's own parameters."""
        self._say(work)("is scored on the report split")
        key = work.key
        found = await score_person(self._workspace, spec, key.index, key.polarity, work.text, "report")
        primary = found.scores[0]
        return {
            "label": found.label.text,
            "status": found.verdict.status,
            "score": primary.value,
            "low": primary.low,
            "high": primary.high,
            "chance": primary.chance,
            "p_value": primary.p_value,
            "why": found.verdict.why,
            "looks": found.looks,
        }

    async def _rerun(self, work: Work, spec: JobSpec) -> dict[str, Any]:
        """Label the feature again with a hint; its row of `labels` by then."""
        key = work.key
        run = await rerun(self._workspace, spec, key.index, key.polarity, work.text, self._say(work))
        row = await asyncio.to_thread(self._outcome, run, key)
        return {name: row[name] for name in _OUTCOME}

    def _say(self, work: Work) -> Callable[[str], None]:
        return lambda words: _ignoring(lambda: self._desk.say(work.id, self._name, words))

    def _spec(self, work: Work) -> JobSpec:
        """The parameters of the run whose label the work is about."""
        run = work.run or self._current_run(work.key)
        found = Store(self._workspace.labels).read(
            "SELECT parameters FROM store.runs WHERE run = ? AND kind = 'job'", [run]
        )
        if not found:
            raise UsageError(f"there is no run {run!r} any more: label the feature first")
        return frozen_spec(json.loads(found[0]["parameters"])).model_copy(update={"hint": None})

    def _current_run(self, key: Key) -> str:
        rows = Store(self._workspace.labels).read(
            "SELECT run FROM labels WHERE harvest = ? AND feature_index = ? AND polarity = ?",
            [key.harvest, key.index, key.polarity],
        )
        if not rows:
            raise UsageError(f"feature {key} of {key.harvest} has no result yet: label it first")
        return str(rows[0]["run"])

    def _outcome(self, run: str, key: Key) -> Mapping[str, Any]:
        (row,) = Store(self._workspace.labels).read(
            "SELECT * FROM outcomes WHERE run = ? AND harvest = ? AND feature_index = ? AND polarity = ?",
            [run, key.harvest, key.index, key.polarity],
        )
        return row


def _in_words(result: Mapping[str, Any]) -> str:
    return f"{result['status']}: {result['why']}"


def _ignoring(say: Callable[[], object]) -> None:
    """Progress that can't be written now is not worth failing for."""
    with contextlib.suppress(WorkspaceBusy):
        say()
