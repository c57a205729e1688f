"""Messages between processes arrive whole and in order, however the sockets cut them."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.agent.wire import Wire, settle

MESSAGES = st.lists(st.one_of(st.binary(max_size=400), st.text(max_size=80), st.tuples(st.integers())))


class _Kept(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.writes = b"", 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes += 1
        self.written += bytes(data)


@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 50), min_size=1))
def test_however_the_bytes_are_cut(messages: list[Any], cuts: list[int]) -> None:
    """What arrives is what was sent, though it comes in pieces of any size."""
    kept, got = _Kept(), list[Any]()
    sender = Wire(got.append, lambda: None)
    sender.connection_made(kept)

    async def send() -> None:
        for message in messages:
            sender.send(message)
        await asyncio.sleep(0)

    asyncio.run(send())
    assert kept.writes == min(len(messages), 1), "the other end is woken once"
    receiver, at, turn = Wire(got.append, lambda: None), 0, 0
    while at < len(kept.written):
        size = cuts[turn % len(cuts)]
        receiver.data_received(kept.written[at : at + size])
        at, turn = at + size, turn + 1
    assert got == messages


def test_an_answer_is_given_once() -> None:
    """Whoever waits gets the first answer, or has its error raised; whoever has left is let go."""

    async def main() -> None:
        new = asyncio.get_running_loop().create_future
        answered, failed, left = new(), new(), new()
        left.cancel()
        for waiting in (answered, failed, left, None):
            settle(waiting, KeyError("x") if waiting is failed else "first")
            settle(waiting, "second")
        assert (await answered, left.cancelled()) == ("first", True)
        with pytest.raises(KeyError, match="x"):
            await failed

    asyncio.run(main())


def test_both_ends_over_sockets() -> None:
    """Large messages cross in both directions at once, and each end learns that the other is gone."""
    large = [bytes([n]) * 3_000_000 for n in range(4)]

    async def main() -> list[list[Any]]:
        loop = asyncio.get_running_loop()
        gone, all_there = [asyncio.Event(), asyncio.Event()], asyncio.Event()
        got: list[list[Any]] = [[], []]

        def arrived(at: int, message: Any) -> None:
            got[at].append(message)
            if sum(map(len, got)) == 2 * len(large):
                all_there.set()

        wires = [Wire(partial(arrived, n), gone[n].set) for n in range(2)]
        for wire, sock in zip(wires, socket.socketpair(), strict=True):
            await loop.create_unix_connection(lambda wire=wire: wire, sock=sock)
        for message in large:
            for wire in wires:
                wire.send(message)
        await all_there.wait()
        wires[0].close()
        await asyncio.wait_for(asyncio.gather(*(end.wait() for end in gone)), 10)
        wires[1].send("to nobody")
        return got

    assert asyncio.run(asyncio.wait_for(main(), 60)) == [large, large]
