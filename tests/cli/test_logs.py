"""The log: what it says, where, and what it never holds."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from exegete.cli import logs
from exegete.cli.logs import FILE_BYTES, FILES, LOGGER, close_log, open_log
from exegete.datastore.workspace import Workspace
from tests.agent import competent, planted
from tests.agent.processes import competent_server, words
from tests.cli.conftest import Cli
from tests.provider import Act, Asked, ProviderServer

KEY = "sk-canary-0123456789"


@pytest.fixture
def log(workspace: Workspace) -> Any:
    """A log of the workspace, as a command opens it."""
    logs.say_warnings()
    open_log(workspace.root)
    yield logging.getLogger("exegete.somewhere")
    close_log()


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait for milliseconds."""
    monkeypatch.setattr("exegete.llm.retry._LONGEST_BACKOFF_S", 0.001)


class Broken:
    """A value that can't be told."""

    def __str__(self) -> str:
        raise TypeError


def lines(workspace: Workspace) -> list[dict[str, Any]]:
    """The lines of a workspace's log, oldest file first."""
    files = sorted((workspace.root / "logs").glob("exegete.log*"), reverse=True)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_line(log: logging.Logger, workspace: Workspace) -> None:
    """One JSON object: when (UTC), how grave, who, what, and whatever else was given by name."""
    log.info("attempt %d failed", 2, extra={"feature": "8+", "wait_s": 1.23456789, "status": None})
    log.debug("not at this level")
    (line,) = lines(workspace)
    at = datetime.fromisoformat(line.pop("time"))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert line == {
        "level": "INFO",
        "logger": "exegete.somewhere",
        "process": os.getpid(),
        "message": "attempt 2 failed",
        "feature": "8+",
        "wait_s": 1.23457,
        "status": None,
    }


def test_hostile_values(
    log: logging.Logger, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Line ends, escapes, keys and things that are no JSON: always one line, never a key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    log.info("one\ntwo \x1b[31m %s", KEY, extra={"path": Path("a\u202eb"), "far": float("inf"), "key": KEY})
    log.info("a bug", extra={"broken": Broken()})
    text = (workspace.root / "logs/exegete.log").read_bytes().decode()
    assert text.count("\n") == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", text)
    (line,) = lines(workspace)
    assert line["message"] == "one\ntwo \x1b[31m [hidden]"
    assert (line["path"], line["far"], line["key"]) == ("a\u202eb", "inf", "[hidden]")
    assert capsys.readouterr().err.count("can't be written (TypeError)") == 1


def test_exceptions(log: logging.Logger, workspace: Workspace) -> None:
    """Their type and place are in the log, their words, which can be anybody's, only with -vv."""

    def fails() -> None:
        raise KeyError("a word of the corpus")

    for verbose in (0, 2):
        close_log()
        open_log(workspace.root, verbose)
        try:
            fails()
        except KeyError:
            log.exception("a feature failed")
    short, full = (line["exception"] for line in lines(workspace))
    assert short[0] == "KeyError"
    assert re.fullmatch(r"test_logs\.py:\d+ in fails", short[-1])
    assert "KeyError: 'a word of the corpus'" in full


def test_five_files(log: logging.Logger, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never takes more than five files of 5 MB, and the newest lines are there."""
    assert FILES * FILE_BYTES == 25_000_000
    (handler,) = (one for one in LOGGER.handlers if isinstance(one, logs.LogFile))
    assert (handler.maxBytes, handler.backupCount) == (FILE_BYTES, FILES - 1)
    monkeypatch.setattr(handler, "maxBytes", 2_000)
    for number in range(200):
        log.info("line %d", number)
    files = list((workspace.root / "logs").iterdir())
    assert len(files) == FILES
    assert all(file.stat().st_size <= 2_000 for file in files)
    numbers = [int(line["message"].split()[1]) for line in lines(workspace)]
    assert numbers == list(range(numbers[0], 200))


def test_threads_and_tasks(log: logging.Logger, workspace: Workspace) -> None:
    """Lines of many threads and tasks at once, over several files, are all there and whole."""

    def many(who: int) -> None:
        for number in range(200):
            log.info("%d %d", who, number)

    async def task(who: int) -> None:
        await asyncio.to_thread(many, who)

    async def main() -> None:
        await asyncio.gather(*(task(who) for who in range(4)))

    threads = [threading.Thread(target=many, args=(who,)) for who in range(4, 8)]
    for thread in threads:
        thread.start()
    asyncio.run(main())
    for thread in threads:
        thread.join()
    said = [line["message"] for line in lines(workspace)]
    assert sorted(said) == sorted(f"{who} {number}" for who in range(8) for number in range(200))


@pytest.mark.usefixtures("_at_once")
def test_a_folder_that_can_not_be_written(cli: Cli, workspace: Workspace) -> None:
    """Said once, and the job is done all the same."""
    (workspace.root / "logs").write_text("a file where the folder should be")
    with competent_server() as server:
        server.acts += [Act(status=500)] * 3
        ended = cli(*words(workspace, server.url, features="8-10"))
    assert ended.code == 0
    assert "3 accepted" in ended.out
    assert ended.err.count("can't be written (File exists): going on without it") == 1


def test_a_disk_that_fills_up(log: logging.Logger, workspace: Workspace, capsys: Any) -> None:
    """The first line that can't be written is said; the others cost nothing, and none is half written."""
    log.info("before")
    (handler,) = (one for one in LOGGER.handlers if isinstance(one, logs.LogFile))
    handler.stream.close()
    handler.stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 (the handler closes it)
    handler.maxBytes = 0
    for _ in range(3):
        log.info("after")
    assert [line["message"] for line in lines(workspace)] == ["before"]
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_no_log_where_there_is_no_workspace(cli: Cli, tmp_path: Path) -> None:
    """A mistyped path gets no folder of logs; nor does the library write any."""
    (tmp_path / "other").mkdir()
    for path in ("none", "other"):
        assert cli("label", "-w", tmp_path / path).code == 1
    assert list(tmp_path.rglob("logs")) == []
    program = (
        "import logging, exegete.cli, exegete.agent.job; assert not logging.getLogger('exegete').handlers"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_short_commands_keep_none(cli: Cli, workspace: Workspace) -> None:
    """A look at a workspace leaves no trace in it."""
    for command in (("status",), ("doctor",), ("review", "list")):
        assert cli(*command).code == 0
    assert not (workspace.root / "logs").exists()


@pytest.mark.parametrize("option", ["", "-v", "-vv"])
@pytest.mark.usefixtures("_at_once")
def test_verbose(option: str, cli: Cli, workspace: Workspace) -> None:
    """-v says on stderr what the file holds, -vv more; without it stderr is quiet, and stdout always."""
    with competent_server() as server:
        server.acts += [Act(status=500, body={"error": {"message": "the server's own words"}})] * 3
        given = words(workspace, server.url, name="night", features="8")
        ended = cli(*given, "-w", workspace.root, *([option] if option else []))
    assert ended.code == 0
    assert "answered 500" not in ended.out
    assert ended.err.count("answered 500: attempt ") == (3 if option else 0)
    own = ended.err.count("the server's own words") == 3
    assert own == (option == "-vv")
    retries = [line for line in lines(workspace) if line["logger"] == "exegete.llm.retry"]
    assert len(retries) == (6 if option == "-vv" else 3)
    for line in retries:
        assert (line["status"], line["run"], line["feature"]) == (500, "night", "8")
        assert line["model"] == f"openai:m@{server.url}/v1"
    assert ended.err.count("judges labels that it wrote itself") == 1, "said above the bar, or by the log"
    assert LOGGER.handlers == [], "nothing of it outlives the command"


def test_a_storm(cli: Cli, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 429 is said with what follows from it: the cut, the pause, the retry, and growth afterwards."""
    monkeypatch.setattr("exegete.llm.account._PAUSE_S", 0.01)
    with competent_server() as server:
        server.acts += [Act(status=429, headers={"retry-after-ms": "10"})]
        assert cli(*words(workspace, server.url, features="8-12", concurrency=8), "-v").code == 0
    found = lines(workspace)
    (cut,) = (line for line in found if "cut to" in line["message"])
    assert (cut["status"], cut["limit"], cut["wait_s"]) == (429, 3, 0.01)
    (retry,) = (line for line in found if line["logger"] == "exegete.llm.retry")
    assert (retry["attempt"], retry["status"]) == (1, 429)
    assert any(line.get("limit", 0) > 3 for line in found if line["message"].startswith("up to"))


def test_growth_is_said_no_more_than_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """However fast it grows."""
    from exegete.llm import Account

    async def main() -> None:
        now = 0.0
        account = Account(4096, clock=lambda: now)
        for _ in range(12):
            for _ in range(account.limit):
                await account.enter()
            attempts = [await account.begin("m", {}) for _ in range(account.limit)]
            for attempt in attempts:
                account.answered(attempt, {}, None)
                account.leave()
            now += 0.3
        assert account.limit == 4096

    with caplog.at_level(logging.INFO, "exegete"):
        asyncio.run(main())
    assert [getattr(record, "limit", None) for record in caplog.records] == [8, 128, 2048]


def everything(root: Path) -> dict[Path, bytes]:
    """All files below a folder."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("status", [401, 500, 400, 504])
def test_canaries(cli: Cli, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """A server that repeats key and prompt in its errors, and answers with rubbish made of both.

    The key is in no file of the workspace and in nothing that is printed; no word of the corpus, of which the
    labels are made too, is in the log or on stderr.
    """
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    kinds = cycle(range(4))

    def answer(asked: Asked) -> Any:
        good = competent.answer(asked.turns[0][1])
        torn = f"{good[:-3]} {asked.text}"
        return (good, torn, good, good)[next(kinds)]

    with ProviderServer(answer) as server:
        real = server.handle
        every = {500: 3, 504: 3, 400: 29, 401: 29}[status]  # a feature of which a call is refused has failed

        async def handle(asked: Asked, *rest: Any) -> None:
            if len(server.asked) % every == every - 1:
                echo = {"error": {"message": f"{KEY}: {asked.text}", "type": KEY, "code": asked.text[:80]}}
                server.acts.append(Act(status=status, body=echo, headers={"retry-after-ms": "1"}))
            await real(asked, *rest)

        monkeypatch.setattr(server, "handle", handle)
        ended = cli(*words(workspace, server.url, features="0-11", concurrency=4), "-v")
    assert ended.code == (1 if status == 401 else 0)
    for path, content in everything(workspace.root).items():
        assert KEY.encode() not in content, path
    assert KEY not in ended.out + ended.err
    # The sentence a command ends with may hold the server's words: it is for the person who sees it.
    shown = ended.err.rpartition("\nexegete:")[0] if ended.code else ended.err
    text = (workspace.root / "logs/exegete.log").read_text() + shown
    assert str(status) in text or status in (400, 401), "failures that are tried again are logged"
    corpus = {word for word in planted.VOCABULARY if re.search(rf"\b{word}\b", text)}
    assert not corpus, "words of the corpus, of which labels are made too"
    assert not planted.MARK.search(text)
    assert planted.VOCABULARY[0] in b"".join(everything(workspace.root / "evidence").values()).decode(
        errors="ignore"
    ), "the canary words are in the evidence"
