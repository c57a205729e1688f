"""The prompt of `exegete sql`: what is typed, what is answered, and what is remembered."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from exegete.cli.sql_prompt import HISTORY, new_session, run_prompt
from exegete.cli.sql_words import SqlCompleter
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from tests.cli.conftest import Cli

CALLS = [
    {"key": f"k{i:03}", "model": "\x1b[31mm" * 40, "finish": "stop", "input_tokens": i} for i in range(200)
]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace.open_or_create(tmp_path_factory.mktemp("prompt") / "w")
    Store(found.labels).insert({"calls": CALLS})
    return found


class Prompted:
    """Types into a prompt and hands back what it printed."""

    def __init__(self, space: Workspace, capture: pytest.CaptureFixture[str]) -> None:
        self._space, self._capture = space, capture

    def __call__(self, typed: str, limit: int = 1000) -> tuple[str, str]:
        self._capture.readouterr()
        with create_pipe_input() as pipe:
            pipe.send_text(typed + "\\q\r")
            session = new_session(self._space, input=pipe, output=DummyOutput())
            run_prompt(self._space, limit=limit, timeout_s=20, session=session)
        return self._capture.readouterr()


@pytest.fixture
def prompt(space: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Prompted:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    return Prompted(space, capsys)


def test_a_query_of_several_lines(prompt: Prompted) -> None:
    """Enter goes on until there is a semicolon, and the result is a table with its count."""
    out, err = prompt("SELECT input_tokens AS n\rFROM calls\rWHERE key = 'k007';\r")
    assert err == ""
    assert out.splitlines()[1:] == ["n", "7", "(1 row)"]


def test_a_table_is_cut_to_the_terminal(prompt: Prompted) -> None:
    """No line is wider than the terminal or obeyed by it, rows fit its height, what is left out is said."""
    out, _ = prompt("SELECT key, model, input_tokens FROM calls ORDER BY key;\r")
    lines = out.splitlines()[1:-1]
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out
    assert lines[1].startswith("k000")
    assert out.splitlines()[-1] == r"(200 rows, 182 rows more: \x shows and \csv FILE writes everything)"


def test_wide_results_lose_columns(prompt: Prompted) -> None:
    """Columns that there is no room for are counted, and the others can be read."""
    out, _ = prompt("SELECT * FROM labels, runs;\rSELECT 1 AS a, 2 AS b;\r")
    assert "columns more" in out
    assert out.splitlines()[-3:] == ["a  b", "1  2", "(1 row)"]


def test_what_did_not_fit(prompt: Prompted) -> None:
    r"""\x shows every value of the last result, each on a line of its own; a single row needs no asking."""
    wide = ", ".join(f"input_tokens + {i} AS quite_a_long_name_{i}" for i in range(9))
    out, _ = prompt(f"SELECT {wide} FROM calls WHERE input_tokens IN (100, 200, 300) ORDER BY 1;\r\\x\r")
    shown = [line.split() for line in out.splitlines() if line.startswith("quite_a_long_name")]
    assert shown[-9:] == [[f"quite_a_long_name_{i}", str(100 + i)] for i in range(9)]
    out, _ = prompt(f"SELECT {wide} FROM calls WHERE input_tokens < 2 ORDER BY 1;\r\\x\r")
    assert "columns more" in out
    shown = [line.split() for line in out.splitlines() if line.startswith("quite_a_long_name")]
    assert shown[-18:] == [[f"quite_a_long_name_{i}", str(of + i)] for of in (0, 1) for i in range(9)]


def test_the_whole_result(prompt: Prompted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON and CSV are of the last result, all its rows; a file is never replaced."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.csv").write_text("mine")
    out, err = prompt(
        "SELECT key FROM calls ORDER BY key;\r\\json\r\\csv new file.csv\r"
        "\\csv old.csv\r\\csv\r\\csv no/x.csv\r"
    )
    (found,) = [json.loads(line) for line in out.splitlines() if line.startswith("[")]
    assert [row["key"] for row in found] == [call["key"] for call in CALLS]
    assert (tmp_path / "new file.csv").read_text().split() == ["key", *(str(call["key"]) for call in CALLS)]
    assert (tmp_path / "old.csv").read_text() == "mine"
    assert err.splitlines() == [
        "exegete: old.csv is there already: name another file",
        r"exegete: \csv needs the name of a file: \csv result.csv",
        "exegete: no/x.csv can't be written (No such file or directory): name another file",
    ]


def test_views_and_columns(prompt: Prompted) -> None:
    r"""\d lists the views, and a view's columns with what they mean."""
    out, err = prompt("\\d\r\\d runs\r\\d nowhere\r\\?\r")
    names = [line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")]
    assert {"labels", "scores", "run", "parameters", "\\json"} <= set(names)
    assert err == "exegete: there is no view 'nowhere': \\d lists them\n"


def test_mistakes_are_sentences(prompt: Prompted) -> None:
    """Each mistake is one line, and the prompt goes on; nothing is written to the workspace."""
    out, err = prompt(
        "SELEC 1;\r\\nope\r\\json\rDELETE FROM store.calls;\rSELECT 1; SELECT 2;\rSELECT 42 AS x;\r"
    )
    assert err.count("\n") == err.count("exegete: ") == 5
    assert out.split()[-4:] == ["x", "42", "(1", "row)"]
    assert prompt("SELECT count(*) AS n FROM calls;\r")[0].splitlines()[2] == "200"


def test_keys(prompt: Prompted) -> None:
    """Ctrl-C clears what was being written, Ctrl-D on an empty line leaves, and empty lines say nothing."""
    out, err = prompt("SELECT nonsense\x03\r;\rSELECT 5 AS five;\r\x04")
    assert (out.splitlines()[1:], err) == (["five", "   5", "(1 row)"], "")


def test_rows_that_were_not_read(prompt: Prompted) -> None:
    """A result that is longer than the limit says so."""
    out, err = prompt("SELECT key FROM calls;\r", limit=3)
    assert out.splitlines()[-1] == "(3 rows)"
    assert err == "exegete: only the first 3 rows were read: leave, and raise --limit for more\n"


def test_history(prompt: Prompted, space: Workspace) -> None:
    """What was written is remembered in the workspace, for its owner's eyes only."""
    prompt("SELECT 'remember me';\r")
    path = space.root / HISTORY
    assert "remember me" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "remember me" in list(new_session(space).history.load_history_strings())[1]


def completed(text: str) -> list[str]:
    """What is offered at the end of a text."""
    offered = SqlCompleter().get_completions(Document(text), CompleteEvent(completion_requested=True))
    return [completion.text for completion in offered]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("SELECT feat", "feature_index"),
        ("SELECT fini FROM runs WHERE fini", "finished_at"),
        ("SELECT * FROM ex", "examples"),
        ("SEL", "SELECT"),
        ("SELECT median", "median("),
        (r"\d re", "reviews"),
        (r"\js", r"\json"),
    ],
)
def test_completion(text: str, first: str) -> None:
    """Columns of the views in the query come first, then views, then SQL's words; commands by themselves."""
    assert completed(text)[0] == first


def test_completion_offers_each_word_once() -> None:
    """A column of two views, or a name that is a keyword too, is offered once."""
    offered = completed("SELECT  FROM labels, scores WHERE ")
    assert len({word.lower() for word in offered}) == len(offered)


def test_a_query_from_a_pipe(cli: Cli, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal the query is what stands on stdin, in every form of output."""
    for words, start in (((), "n"), (("--json",), '[{"n"'), (("--csv",), "n")):
        monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT 1 AS n;\n"))
        ended = cli("sql", *words)
        assert ended.code == 0
        assert ended.out.startswith(start)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "give one SQL statement and not 0" in cli("sql").complaint


def test_ui_asks_in_the_browser(cli: Cli) -> None:
    """A query together with --ui is refused."""
    assert "--ui asks in the browser" in cli("sql", "--ui", "SELECT 1").complaint
