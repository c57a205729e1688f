"""One simulation for all who ask for it: recent ones are remembered, and those under way are shared.

    >>> simulator = Remembered(SparseSimulator(...))     # the same protocol, wrapped
    >>> simulation = SimulationScorer(simulator, ...)
    >>> detection = DetectionScorer(simulator, ...)      # reads the same reply

What could not be read stays missing in what is remembered: two scorers see the same. A call that raised is
not remembered.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from exegete.datastore.records import Context
from exegete.simulators.simulator import Simulation, Simulator

Key = tuple[str, tuple[tuple[int, int, int], ...]]
"""A label, and the (id, start, hash of words) of every context, in the order it was asked about."""


@dataclass(slots=True)
class _Call:
    """A call under way."""

    task: asyncio.Task[Simulation]
    waiting: int = 0
    """Callers that still want its result."""


class Remembered:
    """A simulator that asks another one, once for the same label and contexts.

    Args:
        simulator: the one that is asked.
        size: simulations remembered; the one not used for longest is forgotten first. One of 60 excerpts
            takes some 20 kB.

    One object belongs to one event loop at a time.
    """

    def __init__(self, simulator: Simulator, size: int = 256) -> None:
        if size < 1:
            raise ValueError("a simulator that remembers needs room for one simulation or more")
        self._simulator = simulator
        self._size = size
        self._done: OrderedDict[Key, Simulation] = OrderedDict()
        self._under_way: dict[Key, _Call] = {}

    @property
    def name(self) -> str:
        """The name of the simulator that is asked: remembering changes no value."""
        return self._simulator.name

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """Predict a level for every word of every context, or recall what was predicted.

        Args:
            label: the statement to simulate from.
            contexts: passages; the same ones in another order are asked about again.

        Returns:
            A simulation aligned with `contexts`, possibly one that others hold too.

        Raises:
            LLMError: no model could be reached at all.
        """
        key = (label, tuple((c.id, c.start, hash(c.tokens)) for c in contexts))
        if key in self._done:
            self._done.move_to_end(key)
            return self._done[key]
        call = self._under_way.get(key)
        if call is None:
            call = self._start(key, label, tuple(contexts))
        call.waiting += 1
        try:
            # Shielded: a caller that is cancelled must not take the others' reply with it.
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if not call.waiting and not call.task.done():
                call.task.cancel()
                self._drop(key, call)

    def _start(self, key: Key, label: str, contexts: tuple[Context, ...]) -> _Call:
        """Ask, and see to it that the end of the call is noted whoever is still waiting for it."""
        call = _Call(asyncio.ensure_future(self._simulator.simulate(label, contexts)))

        def ended(task: asyncio.Task[Simulation]) -> None:
            self._drop(key, call)
            # Asking for the exception also tells asyncio that a call nobody waits for any more may fail.
            if not task.cancelled() and task.exception() is None:
                self._remember(key, task.result())

        call.task.add_done_callback(ended)
        self._under_way[key] = call
        return call

    def _remember(self, key: Key, simulation: Simulation) -> None:
        self._done[key] = simulation
        self._done.move_to_end(key)
        if len(self._done) > self._size:
            self._done.popitem(last=False)

    def _drop(self, key: Key, call: _Call) -> None:
        """Note that a call is no longer under way; a later one for the same key is another call."""
        if self._under_way.get(key) is call:
            del self._under_way[key]
