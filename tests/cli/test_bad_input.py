"""A person's mistake ends in one sentence on stderr, the right exit code, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exegete.datastore.workspace import Workspace
from tests.agent import planted
from tests.agent.processes import held_open
from tests.cli.conftest import Cli
from tests.provider import Act, ProviderServer

KEY = "sk-canary-1234567890"
LABEL = ("label", "--explainer", "highlight")


@pytest.mark.slow
def test_harvest(cli: Cli, tmp_path: Path) -> None:
    """No such model, site or feature; a corpus that is not there, empty, too short or not UTF-8."""
    from tests.subjects import tiny

    model = tiny.save("gpt2", tmp_path / "model")
    files = {"empty.txt": b"", "short.txt": b"three short words", "latin.txt": b"caf\xe9 au lait"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "file.pdf").write_bytes(b"%PDF")
    site = ("--subject", model, "--context", 32, "--site", "h.1.mlp.act")
    few = (*site, "--features", "0-3", "--corpus")
    cases: list[tuple[tuple[object, ...], str]] = [
        (("--site", "x", "--subject", tmp_path / "none"), "there is no model folder"),
        (("--site", "x", "--subject", tmp_path), "config.json"),
        (("--site", "nowhere", "--subject", model, "--context", 32), "the model has no module 'nowhere'"),
        ((*site, "--features", "0-99999"), "feature 24 is out of range"),
        ((*site, "--features", "one"), "--features 'one' can't be read"),
        ((*site, "--polarity", "up"), "--polarity 'up'"),
        ((*site, "--tokens", "lots"), "--tokens 'lots' is no number of tokens"),
        ((*site, "--dictionary", "none"), "none"),
        ((*site, "--context", 128), "--context 128 does not fit"),
        ((*few, tmp_path / "none.txt"), "there is no corpus"),
        ((*few, tmp_path / "file.pdf"), "has no file that ends in"),
        ((*few, tmp_path / "empty.txt"), "less than one context"),
        ((*few, tmp_path / "short.txt"), "less than one context"),
        ((*few, tmp_path / "latin.txt"), "latin.txt is not UTF-8"),
    ]
    for words, sentence in cases:
        ended = cli("harvest", *words)
        assert ended.code == 2, words
        assert sentence in ended.complaint


def broken(column: str, change: Callable[[pa.Array], pa.Array]) -> Callable[[Path], None]:
    """Change one column of the activations."""

    def apply(folder: Path) -> None:
        path = folder / "activations.parquet"
        table = pq.read_table(path)
        at = table.column_names.index(column)
        changed = change(table.column(column).combine_chunks())
        pq.write_table(table.set_column(at, column, changed), path)

    return apply


def without(name: str, column: str) -> Callable[[Path], None]:
    """Drop a column of a file."""

    def apply(folder: Path) -> None:
        pq.write_table(pq.read_table(folder / name).drop_columns([column]), folder / name)

    return apply


def first(value: float) -> Callable[[pa.Array], pa.Array]:
    """Replace the first value of a column."""
    return lambda array: pa.concat_arrays([pa.array([value], array.type), array[1:]])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without("activations.parquet", "position"), "lacks the column position"),
        (without("contexts.parquet", "tokens"), "lacks the column tokens"),
        (lambda folder: (folder / "contexts.parquet").unlink(), "has no contexts.parquet"),
        (shutil.rmtree, "has no contexts.parquet"),
        (lambda folder: (folder / "contexts.parquet").write_text("text"), "is not a Parquet file"),
        (broken("activation", first(float("nan"))), "missing, NaN or infinite"),
        (broken("activation", first(-1.0)), "at or below 0"),
        (broken("position", first(4000)), "position 4000 in context"),
        (broken("context_id", first(12345)), "names context 12345"),
    ],
    ids=["column", "tokens", "file", "folder", "not parquet", "nan", "negative", "position", "context"],
)
def test_import(
    cli: Cli, template: Path, tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    """What would make wrong evidence is named, with its file; no evidence is made of it."""
    folder = shutil.copytree(template.parent / "planted", tmp_path / "mine")
    damage(folder)
    ended = cli("import", "parquet", folder, "-w", tmp_path / "new")
    assert ended.code == 2
    assert sentence in ended.complaint
    assert not list((tmp_path / "new").rglob("*.duckdb"))


def test_label(cli: Cli, run: object, tmp_path: Path) -> None:
    """Unknown parts, keys and values; no key; a model that is none; features that are not there."""
    file, wrong, none = tmp_path / "job.toml", tmp_path / "wrong.toml", tmp_path / "none.toml"
    file.write_text("treshold = 1\n")
    wrong.write_text("threshold = \n")
    cases: list[tuple[tuple[object, ...], str]] = [
        (("label", "--job", file), "unknown key 'treshold'"),
        (("label", "--job", wrong), "is not TOML"),
        (("label", "--job", none), "can't be read"),
        (("label", "--threshold", "1.5"), "threshold = 1.5 can't be used"),
        (("label", "--name", "a/b"), "name = 'a/b' can't be used"),
        (("label", "--features", "0-99"), "feature 20 is not in harvest"),
        (("label", "--features", "x"), "--features 'x' can't be read"),
        (("label", "--harvest", "none"), "there is no harvest 'none'"),
        (("label", "--explainer", "none"), "there is no explainer named 'none'"),
        (("label", "--simulator", "none"), "none"),
        (("label", "--scorers", "none"), "there is no scorer 'none'"),
        (("label", "--scorers", ""), "there is no scorer ''"),
        (("label", "--budget", "-1"), "budget = -1.0 can't be used"),
        (("label", "--budget-tokens", "many"), "--budget-tokens 'many' is no number of tokens"),
        (("label", "--until", "late"), "until = 'late' can't be used: write a time of day such as 07:00"),
        (("label", "--prices", tmp_path / "none"), "can't read the prices"),
        ((*LABEL, "--llm", f"scripted:{file}", "--dry-run", "--prices", wrong), "are no TOML"),
        (
            (*LABEL, "--llm", "openai:m@http://127.0.0.1:1/v1", "--budget", 1),
            "no price is known for openai:m",
        ),
        (LABEL, "asks a language model"),
        ((*LABEL, "--llm", "openai:m"), "OPENAI_API_KEY"),
        ((*LABEL, "--llm", "anthropic:m"), "ANTHROPIC_API_KEY"),
        ((*LABEL, "--llm", "m"), "'m' names no model"),
        ((*LABEL, "--llm", "openai:m@localhost:80"), "has to start with http://"),
        ((*LABEL, "--llm", f"scripted:{tmp_path / 'none'}"), "can't read the script"),
        (("score", "--feature", "99", "--label", "x"), "feature 99 is not in harvest"),
        (("score", "--feature", "8", "--label", ""), "can't be scored"),
        (("score", "--feature", "8", "--label", "x", "--split", "explain"), "neither report nor refine"),
        (("score", "--feature", "8", "--label", "x", "--polarity", "up"), "neither + nor -"),
        (("score", "--feature", "8", "--label", "x", "--polarity", "-"), "is not in harvest"),
    ]
    for words, sentence in cases:
        ended = cli(*words)
        assert ended.code == 2, words
        assert sentence in ended.complaint


def test_a_changed_job(cli: Cli) -> None:
    """The sentence names what changed."""
    assert cli("label", "--features", "6", "--name", "night").code == 0
    ended = cli("label", "--features", "6", "--name", "night", "--threshold", "0.6")
    assert ended.code == 2
    assert "'night' was started with other parameters (threshold changed)" in ended.complaint


def test_a_server_that_is_not_there(cli: Cli) -> None:
    """Exit 1, with its address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and not listening
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        ended = cli(*LABEL, "--llm", f"openai:m@{url}")
    assert ended.code == 1
    assert f"no server answers at {url}" in ended.complaint


def test_a_key_that_is_refused(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1 at once, and the key, which the server repeats, is not printed."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ProviderServer() as server:
        server.acts += [Act(status=401, body={"error": {"message": f"Incorrect key {KEY}"}})] * 50
        ended = cli(*LABEL, "--llm", f"openai:m@{server.url}/v1", "--concurrency", "2")
        assert len(server.asked) <= 2
    assert ended.code == 1
    assert "the key was refused" in ended.complaint
    assert KEY not in ended.err


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("label",),
    ("score", "--feature", "8", "--label", "x"),
    ("sql", "SELECT 1"),
    ("status",),
    ("review", "list"),
    ("review", "accept", "8"),
)


def test_no_workspace(cli: Cli, tmp_path: Path) -> None:
    """A path that is not there, a file, a folder of something else: none is changed."""
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_text("text")
    other.mkdir()
    (other / "mine.txt").write_text("text")
    for command in COMMANDS:
        for path, what in ((tmp_path / "none", "does not exist"), (file, "is a file"), (other, "holds no")):
            ended = cli(*command, "-w", path)
            assert ended.code == 1, command
            assert f"{path} {what}" in ended.complaint
    for path in (file, other):
        ended = cli("import", "parquet", tmp_path, "-w", path)
        assert ended.code == 1
        assert "no workspace" in ended.complaint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other", "workspace"]
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


def test_a_newer_workspace(cli: Cli, workspace: Workspace) -> None:
    """Said as such, and left alone: the folder's layout, and the labels file's schema."""
    marker = workspace.root / "workspace.json"
    whole = marker.read_text()
    marker.write_text(json.dumps({"exegete": "workspace", "format": 99}))
    for command in COMMANDS:
        ended = cli(*command)
        assert ended.code == 1
        assert "was made by a newer exegete" in ended.complaint
    marker.write_text("{")
    assert "can't be read" in cli("status").complaint
    marker.write_text(whole)


def test_a_newer_labels_file(run: object, cli: Cli, workspace: Workspace) -> None:
    """Upgrading is the advice, and nothing is migrated back."""
    from exegete.datastore.store import Store

    Store(workspace.labels).write(lambda con: con.execute("UPDATE schema_version SET version = 99"))
    for command in COMMANDS:
        ended = cli(*command)
        assert ended.code == 1
        assert "written by a newer exegete (schema 99" in ended.complaint


def test_damaged_files(cli: Cli, workspace: Workspace) -> None:
    """A labels file or an evidence file that is none is named; neither is overwritten."""
    assert cli("label", "--features", "6").code == 0
    (evidence,) = workspace.evidence.glob("*.duckdb")
    for path, command in ((workspace.labels, ("sql", "SELECT 1")), (evidence, ("label",))):
        whole = path.read_bytes()
        path.write_bytes(b"no database " * 2000)
        ended = cli(*command)
        assert ended.code == 1
        assert path.name in ended.complaint
        assert path.read_bytes() == b"no database " * 2000
        path.write_bytes(whole)
        assert cli(*command).code == 0


def test_review(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature without a result or label, a name that is none, an edit that says nothing."""
    assert cli("label", "--features", f"8,{planted.DEAD}").code == 0
    cases: list[tuple[tuple[object, ...], str]] = [
        (("accept", "9"), "feature 9 has no result yet"),
        (("accept", planted.DEAD), "has no label to accept"),
        (("accept", "eight"), "'eight' is no feature"),
        (("accept", "²"), "is no feature"),
        (("accept", "9" * 30), "has no result yet"),
        (("edit", "8", "--text", " "), "can't be used"),
        (("accept", "8", "--harvest", "none"), "has no result yet"),
    ]
    for words, sentence in cases:
        ended = cli("review", *words)
        assert ended.code == 2, words
        assert sentence in ended.complaint

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert "say who decides with --reviewer" in cli("review", "accept", "8").complaint


def test_sql(cli: Cli, workspace: Workspace, tmp_path: Path) -> None:
    """Wrong SQL, two statements, none, what writes or looks elsewhere, and what takes too long."""
    assert cli("label", "--features", "6").code == 0
    before = workspace.labels.read_bytes()
    cases = [
        ("SELEC 1", "can't be run"),
        ("SELECT disk FROM labels", "disk"),
        ("SELECT 1; SELECT 2", "one SQL statement and not 2"),
        ("", "one SQL statement and not 0"),
        ("DELETE FROM store.runs", ""),
        ("CREATE TABLE mine AS SELECT 1", ""),
        ("CREATE TEMP TABLE mine AS SELECT 1", ""),
        (f"COPY (SELECT 1) TO '{tmp_path}/mine.csv'", ""),
        ("SELECT * FROM read_csv('/etc/passwd')", ""),
        (f"ATTACH '{tmp_path}/other.duckdb'", ""),
        ("SET memory_limit = '99GB'", ""),
        ("INSTALL httpfs", ""),
        ("SELECT 1 AS \x1b[31m", ""),
    ]
    for statement, sentence in cases:
        ended = cli("sql", statement)
        assert ended.code == 2, statement
        assert sentence in ended.complaint
    slow = cli(
        "sql", "SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b", "--timeout", 0.2
    )
    assert (slow.code, slow.complaint.startswith("the query took longer than 0.2 s")) == (2, True)
    assert workspace.labels.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["workspace"]
    both = cli("sql", "SELECT 1", "--json", "--csv")
    assert (both.code, both.complaint) == (2, "choose one of --json and --csv")


def test_a_busy_workspace(cli: Cli, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second job, and a labels file that somebody holds: exit 1, and whose process it is."""
    monkeypatch.setattr("exegete.datastore.store.Store.__init__.__defaults__", (0.2,), raising=False)
    assert cli("label", "--features", "6").code == 0
    with workspace.job_lock():
        ended = cli("label")
        assert ended.code == 1
        assert f"another job is running in {workspace.root} (process {os.getpid()})" in ended.complaint
    with held_open(workspace.labels, "writing") as holder:
        ended = cli("sql", "SELECT 1")
        assert ended.code == 1
        assert f"held open by process {holder.pid}" in ended.complaint


def test_wrong_options(cli: Cli) -> None:
    """typer's own complaints: exit 2, nothing on stdout, no traceback."""
    for words in (("label", "--nonsense"), ("label", "--rounds", "many"), ("export",), ("nonsense",)):
        ended = cli(*words)
        assert (ended.code, ended.out) == (2, "")
        assert "Traceback" not in ended.err
        assert "Error" in ended.err


def test_ctrl_c_outside_of_a_job(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence and exit code 130, whichever command it was, and wherever it was."""

    def interrupt(root: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("exegete.datastore.workspace.Workspace.open", interrupt)
    for words in (("status",), ("label",), ("review",)):
        ended = cli(*words)
        assert (ended.code, ended.complaint) == (130, "interrupted: run the same command to go on")
