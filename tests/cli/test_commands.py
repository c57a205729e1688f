"""Every command on its happy path: what it prints for people, and the same as JSON."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.cli import demo as demo_module
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.llm.size import likely_tokens
from tests.agent import planted
from tests.agent.harness import Runner
from tests.agent.planted import DEAD, TRUTH
from tests.cli.conftest import Cli, Ended

FEATURES = "0-9"


@pytest.fixture(scope="module")
def done(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which ten features are labelled, without an LLM; not to be written to."""
    root = shutil.copytree(template, tmp_path_factory.mktemp("done") / "workspace")
    spec = JobSpec(features=FEATURES, name="first")
    asyncio.run(Job(Workspace.open(root), spec).run())
    return root


@pytest.fixture
def labelled(done: Path, workspace: Workspace, cli: Cli) -> Cli:
    """The command line on such a workspace."""
    shutil.copytree(done, workspace.root, dirs_exist_ok=True)
    return cli


def facts(ended: Ended, warned: str = "") -> Any:
    """What a command printed with --json: one line, and nothing on stderr but what it had to warn of."""
    assert ended.code == 0
    assert warned in ended.err if warned else ended.err == ""
    assert ended.out.count("\n") == 1
    return json.loads(ended.out)


def test_import(cli: Cli, tmp_path: Path) -> None:
    """Made once, found the second time; the counts are those of the folder."""
    folder, new = planted.write_folder(tmp_path / "mine"), tmp_path / "new"
    made = facts(cli("import", "parquet", folder, "-w", new, "--json"))
    assert (made["made_now"], made["features"], made["dead"]) == (True, len(planted.FEATURES), 1)
    assert made["tokens"] == planted.DOCUMENTS * planted.WORDS
    assert sum(made["contexts"].values()) == planted.DOCUMENTS
    assert Path(made["path"]).is_file()
    again = cli("import", "parquet", folder, "-w", new)
    assert (again.code, again.err) == (0, "")
    assert "already there: harvest mine-" in again.out
    assert "20 features, 1 dead" in again.out


def test_label_for_people(cli: Cli) -> None:
    """A table, best first, with intervals, and counts by status; the planted truth is in it."""
    ended = cli("label", "--features", FEATURES, "--name", "first")
    assert (ended.code, ended.err) == (0, "")
    head, *rest = ended.out.splitlines()
    assert head.split() == ["feature", "label", "score", "[95%]", "chance", "q", "status"]
    scores = [float(line.split("[")[0].split()[-1]) for line in rest if "accepted" in line and "[" in line]
    assert scores == sorted(scores, reverse=True)
    assert f'the word "{planted.WORD}"' in ended.out
    assert "run first: 10 features: " in ended.out
    assert "1 dead" in ended.out
    said = chance_said(ended.out)
    assert (said["n"], said["accepted"]) == ("8", "0")
    assert float(said["p95"]) < 0.3
    assert re.search(
        r"\njudged on \d+ excerpts of the report split, none missing; 2 of 10 features", ended.out
    )
    assert chance_said(cli("status").out) == said
    again = cli("label", "--features", FEATURES, "--name", "first")
    assert "nothing was left to do: 10 features were labelled before" in again.out


def chance_said(printed: str) -> dict[str, str]:
    """The figures of the sentence on nulls of a job that asks no model."""
    found = re.search(
        r"chance: another feature's label reaches (?P<mean>-?\.\d\d) on average "
        r"\(95% below (?P<p95>-?\.\d\d); (?P<accepted>\d+) of (?P<n>\d+) would have been accepted\), "
        r"the empty label has no score\n",
        printed,
    )
    assert found is not None, printed
    return found.groupdict()


def test_label_as_json(run: Runner, cli: Cli) -> None:
    """With an LLM: what was done, by status, and what it used; again, all comes from the journal."""
    run(features=str(DEAD))  # puts the model in its place
    words = [
        "label",
        "--explainer",
        "highlight",
        "--llm",
        "scripted:function",
        "--features",
        "7-10",
        "--no-stop-early",
        "--json",
    ]
    circular = "scripted:function judges labels that it wrote itself"
    first = facts(cli(*words, "--limit", 3), circular)
    assert (first["done"], first["before"], first["left"], first["interrupted"]) == (3, 0, 1, False)
    assert first["by_status"]["accepted"] == 2
    assert first["by_status"]["unscorable"] == 1
    assert first["spent"]["calls"] == len(run.llm.asked) > 0
    assert first["spent"]["input_tokens"] == sum(likely_tokens(asked) for asked in run.llm.asked)
    assert (first["independence"], first["nulls_left"]) == ("same model", 0)
    assert (first["chance"]["attempted"], first["chance"]["nulls_wanted"]) == (3, None)
    second = facts(cli(*words), circular)
    assert (second["run"], second["done"], second["before"], second["left"]) == (first["run"], 1, 3, 0)
    other = facts(cli(*words, "--name", "other", "--threshold", "0.4"), circular)
    assert other["spent"]["calls"] == 0
    assert other["spent"]["from_journal"] == len(run.llm.asked)


def test_a_job_file(cli: Cli, tmp_path: Path) -> None:
    """Options from a file, some overridden on the command line; all of them end up in the run."""
    file = tmp_path / "job.toml"
    file.write_text('name = "filed"\nfeatures = "8,9"\nthreshold = 0.9\nseed = 5\nscorers = ["simulation"]\n')
    assert facts(cli("label", "--job", file, "--seed", "6", "--json"))["run"] == "filed"
    (row,) = facts(cli("sql", "--json", "SELECT parameters FROM runs"))
    parameters = json.loads(row["parameters"])
    assert (parameters["threshold"], parameters["seed"], parameters["scorers"]) == (0.9, 6, ["simulation"])


def test_sql(labelled: Cli) -> None:
    """The same rows as a table, as JSON and as CSV; a limit is said on stderr."""
    question = "SELECT feature_index, polarity, label, score, words FROM labels JOIN examples USING "
    question += "(feature_index, polarity) WHERE rank = 0 ORDER BY feature_index"
    rows = facts(labelled("sql", question, "--json"))
    assert [row["feature_index"] for row in rows] == [f for f in range(10) if f != DEAD]
    assert isinstance(rows[0]["words"], list)
    printed = list(csv.DictReader(io.StringIO(labelled("sql", question, "--csv").out)))
    assert [row["label"] for row in printed] == [row["label"] or "" for row in rows]
    assert [json.loads(row["words"]) for row in printed] == [row["words"] for row in rows]
    assert {row["polarity"] for row in printed} == {"+"}
    assert [float(row["score"]) if row["score"] else None for row in printed] == [r["score"] for r in rows]
    table = labelled("sql", question)
    assert f"({len(rows)} rows)" in table.out
    cut = labelled("sql", "SELECT range FROM range(5)", "--limit", 2)
    assert (cut.code, cut.err) == (0, "exegete: only the first 2 rows are shown: raise --limit for more\n")
    assert "(2 rows)" in cut.out


def test_sql_prints_every_type(cli: Cli) -> None:
    """Dates, decimals, NaN, infinities, structs, maps, blobs and NULL: always JSON, and never a traceback."""
    question = (
        "SELECT 'nan'::DOUBLE a, 'inf'::FLOAT b, NULL c, DATE '2026-01-02' d, 1.5::DECIMAL(4,2) f, true k,"
        " TIMESTAMP '2026-01-02 03:04:05' e, {'x': 'nan'::DOUBLE} g, MAP {1: 'one'} h,"
        " [1.5, 'nan'::DOUBLE] i, 2::HUGEINT j, '\\xAA'::BLOB l, INTERVAL 1 DAY m"
    )
    (row,) = facts(cli("sql", "--json", question))
    assert (row["a"], row["b"], row["c"], row["g"], row["i"]) == (None, None, None, {"x": None}, [1.5, None])
    assert (row["e"], row["h"], row["j"], row["k"]) == ("2026-01-02T03:04:05", {"1": "one"}, 2, True)
    for words in ((), ("--csv",)):
        assert cli("sql", question, *words).code == 0


def test_score(labelled: Cli) -> None:
    """A person's label with its interval, chance and looks; --split refine counts none."""
    words = ["score", "--feature", 8, "--label", TRUTH[8]]
    found = facts(labelled(*words, "--json"))
    assert (found["verdict"], found["looks"], found["label"]) == ("accepted", 2, TRUTH[8])
    assert [score["scorer"].split("@")[0] for score in found["scores"]] == ["simulation", "detection"]
    assert found["scores"][0]["value"] > 0.9
    assert found["scores"][0]["chance"] < 0.2
    ended = labelled("score", "--feature", 8, "--label", TRUTH[9])
    assert (ended.code, ended.err) == (0, "")
    assert "rejected: " in ended.out
    assert "the report split of feature 8 has now been looked at 3 times" in ended.out
    refine = labelled(*words, "--split", "refine")
    assert "looked at" not in refine.out
    assert "simulation" in refine.out


def test_review(labelled: Cli) -> None:
    """The queue holds what waits, what is worth most first; accept, edit and reject take effect at once."""
    labelled("label", "--features", FEATURES, "--name", "second", "--threshold", "0.995")
    waiting = facts(labelled("review", "list", "--json"))
    assert waiting, "a bar within the intervals"
    worths = [row["worth"] for row in waiting if row["status"] == "review"]
    assert worths == sorted(worths, reverse=True)
    listed = labelled("review", "list")
    assert f"{len(waiting)} wait" in listed.out
    first = waiting[0]["feature_index"]
    accepted = labelled("review", "accept", first, "--reviewer", "ada")
    assert (accepted.code, accepted.err) == (0, "")
    assert accepted.out.startswith(f"feature {first}: accepted, ")
    edited = labelled("review", "edit", 8, "--text", "a better label")
    assert edited.out.startswith("feature 8: accepted, a better label\n")
    assert "exegete score --feature 8 --label" in edited.out
    rejected = labelled("review", "reject", 9, "--reason", "too broad")
    assert rejected.out.startswith("feature 9: rejected, ")
    assert len(facts(labelled("review", "list", "--json"))) == len(waiting) - len(
        {first, 8, 9} & {row["feature_index"] for row in waiting}
    )
    reviews = facts(labelled("sql", "--json", "SELECT * FROM reviews ORDER BY reviewed_at"))
    assert [row["decision"] for row in reviews] == ["accept", "edit", "reject"]
    assert reviews[0]["reviewer"] == "ada"


def test_nothing_to_review(cli: Cli) -> None:
    """An empty queue says so."""
    assert cli("review", "list").out == "nothing waits for review\n"
    assert facts(cli("review", "list", "--json")) == []


def test_status(labelled: Cli, workspace: Workspace) -> None:
    """Harvests, runs by status, who scored what, and who runs."""
    labelled("score", "--feature", 8, "--label", TRUTH[8])
    found = facts(labelled("status", "--json"))
    assert found["harvests"] == workspace.harvests()
    assert {row["run"]: row["kind"] for row in found["runs"]}["first"] == "job"
    (job,) = (row for row in found["runs"] if row["kind"] == "job")
    assert (job["attempted"], job["dead"], job["unscorable"], job["failed"]) == (10, 1, 1, 0)
    assert found["running_process"] is None
    shown = labelled("status").out
    assert "run first: 10 features: " in shown
    assert "1 set of labels scored by a person" in shown
    assert "no job is running" in shown
    with workspace.job_lock():
        assert f"running: process {os.getpid()}" in labelled("status").out


def test_dry_run(cli: Cli, workspace: Workspace) -> None:
    """A table by stage with two totals, that fits 80 columns; the same as JSON; no model is needed for it."""
    words = ("label", "--explainer", "highlight", "--llm", "openai:gpt-5-nano", "--dry-run")
    shown = cli(*words)
    assert (shown.code, shown.err) == (0, "")
    assert "total with all 2 revisions" in shown.out
    assert shown.out.splitlines()[-1] == "nothing was sent"
    table = [line for line in shown.out.splitlines() if not line.startswith(("dry run", "tokens "))]
    assert max(map(len, table)) <= 80
    found = facts(cli(*words, "--json"))
    assert 0 < found["without_revisions"]["total"]["usd"] < found["with_all_revisions"]["total"]["usd"]
    assert "no call would be made" in cli("label", "--dry-run").out
    assert not workspace.labels.exists()


def test_status_says_what_was_asked_and_how_it_ended(cli: Cli, run: Runner, workspace: Workspace) -> None:
    """Per run and model: calls, tokens, cache share, dollars; and what is never read as a score."""
    run(name="night", features="8")
    (row,) = facts(cli("status", "--json"))["calls"]
    assert (row["calls"], row["refusal"], row["ambiguous"], row["usd"]) == (row["calls"], 0, 0, 0.0)
    made_up = {"run": "night", "model": "m", "usd": None, "most_usd": None}
    states = [
        made_up | {"key": "1", "finish": "refusal", "input_tokens": 10, "cached_tokens": 5},
        made_up | {"key": "2", "finish": "filtered", "input_tokens": 10, "cached_tokens": 0},
        made_up | {"key": "3", "finish": "length", "input_tokens": None, "cached_tokens": None},
        made_up
        | {"key": "4@1", "finish": "ambiguous", "most_usd": 0.5}
        | dict.fromkeys(("input_tokens", "cached_tokens")),
    ]
    Store(workspace.labels).insert({"calls": states})
    shown = cli("status").out
    assert "  m: 3 calls, 20 tokens in (25% from cache), 0 out, 3 without a known price" in shown
    assert "of them not read: 1 cut at their room, 1 refused, 1 stopped by a content filter" in shown
    assert "1 ambiguous: sent, maybe billed (up to $0.50), never answered" in shown
    (night,) = facts(cli("sql", "SELECT * FROM runs", "--json"))
    assert night["ambiguous"] == 1


def test_status_of_a_new_workspace(cli: Cli) -> None:
    """It says what to do next."""
    ended = cli("status")
    assert "no run yet: exegete label" in ended.out
    assert ended.code == 0


def test_doctor(labelled: Cli, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Well: exit 0; damaged: exit 1 and which; a key is said to be there and never shown."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-1234567890")
    well = facts(labelled("doctor", "--json"))
    assert all(finding["ok"] for finding in well)
    assert {"exegete", "torch", "openai", "disk", "workspace", "evidence", "labels", "journal"} <= {
        finding["what"] for finding in well
    }
    shown = labelled("doctor")
    assert "OPENAI_API_KEY is set" in shown.out
    assert "ANTHROPIC_API_KEY is not set" in shown.out
    assert "sk-canary" not in shown.out + shown.err
    workspace.labels.write_bytes(b"nothing")
    broken = labelled("doctor")
    assert broken.code == 1
    bad = [line.split()[1] for line in broken.out.splitlines() if line.startswith("BAD")]
    assert bad == ["labels"]
    assert labelled("doctor", "-w", tmp_path / "none").code == 0


def test_demo(cli: Cli, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's own part: harvest, label, and commands to go on with, the first of which works."""

    def ready(space: Workspace, *_: object) -> Any:
        return import_parquet(template.parent / "planted", ImportSpec(quiet=300), space.evidence)

    monkeypatch.setattr(demo_module, "run_harvest", ready)
    monkeypatch.chdir(tmp_path)
    ended = cli("demo", "-w", "here")
    assert (ended.code, ended.err) == (0, "")
    assert "run demo: 20 features: " in ended.out
    (line,) = (line for line in ended.out.splitlines() if line.startswith("  ask"))
    question = line.split('"')[1]
    assert "-w here" in line
    accepted = sum(
        " accepted" in row for row in ended.out.splitlines() if not row.startswith(("run ", "chance: "))
    )
    assert f"({accepted} rows)" in cli("sql", "-w", "here", question).out
    assert cli("review", "list", "-w", "here").code == 0
    again = cli("demo", "-w", "here")
    assert "nothing was left to do" in again.out


@pytest.mark.slow
def test_harvest(cli: Cli, tmp_path: Path) -> None:
    """A model's folder and a folder of text: made once, found again, and ready to be labelled."""
    from tests.subjects import tiny

    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, text in planted.documents()[:60]:
        (corpus / f"{name}.txt").write_text(" ".join(text))
    words: list[object] = [
        "harvest",
        "--subject",
        tiny.save("gpt2", tmp_path / "model"),
        "--site",
        "h.1.mlp.act",
    ]
    words += ["--features", "0-7", "--corpus", corpus, "--context", 16, "-w", tmp_path / "new"]
    made = facts(cli(*words, "--json"))
    assert (made["made_now"], made["features"]) == (True, 8)
    assert sum(made["contexts"].values()) > 100
    again = cli(*words)
    assert (again.code, again.err) == (0, "")
    assert "already there" in again.out
    assert cli("label", "-w", tmp_path / "new", "--limit", 2).code == 0


def test_help_is_there_for_every_command(cli: Cli) -> None:
    """--help of each, and of the whole, ends well and names its options."""
    for words in (
        [],
        ["demo"],
        ["report"],
        ["trace"],
        ["harvest"],
        ["import", "parquet"],
        ["label"],
        ["score"],
        ["sql"],
        ["find"],
        ["export"],
        ["snapshot"],
        ["status"],
        ["review"],
        ["review", "edit"],
        ["doctor"],
    ):
        ended = cli(*words, "--help")
        assert (ended.code, ended.err) == (0, "")
        usage = ended.out.partition("\n")[0]  # begins with the program's name, which is pytest's here
        assert usage.startswith("Usage: ")
        assert f" {' '.join([*words, '[OPTIONS]'])}" in usage
