"""Options of `exegete label` that need the subject: they arrive, and misuse is a sentence."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Any

import pytest

from exegete.agent.spec import JobSpec
from tests.agent.harness import Runner
from tests.agent.test_falsification import FALSIFY
from tests.agent.test_leak import echoing
from tests.agent.trying import give_subject
from tests.cli.conftest import Cli


def test_all_options_arrive(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given on the command line is what the job is asked to do."""
    given: list[JobSpec] = []

    def keep(space: Any, spec: JobSpec, json: bool) -> int:
        given.append(spec)
        return 0

    monkeypatch.setattr("exegete.cli.label.run_label", keep)
    words = ("--falsify", "--tests", 9, "--rounds", 4, "--case-budget", "20k", "--effects")
    assert cli("label", *words, "--subject", "there", "--device", "cpu").code == 0
    assert cli("label", "--no-falsify", "--no-effects").code == 0
    first, second = given
    assert (first.falsify, first.tests, first.rounds, first.case_budget) == (True, 9, 4, 20_000)
    assert (first.effects, first.subject, first.device) == (True, "there", "cpu")
    assert second.frozen() == JobSpec().frozen()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--tests", "1"), "job parameter tests = 1 can't be used"),
        (("--case-budget", "plenty"), "--case-budget 'plenty' is no number of tokens"),
        (("--falsify", "--explainer", "highlight", "--llm", "scripted:x"), "it was imported"),
        (("--effects",), "it was imported"),
        (("--scorers", "simulation,generation", "--llm", "scripted:x"), "it was imported"),
    ],
)
def test_misuse(cli: Cli, words: tuple[str, ...], sentence: str) -> None:
    """One sentence, exit code 2, and no run."""
    ended = cli("label", *words)
    assert ended.code == 2
    assert sentence in ended.complaint


def test_what_it_took(run: Runner, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests, spared rounds and tokens by stage are said after a run, and are in its JSON."""
    give_subject(monkeypatch)
    run(echoing, features="0-3,6,8", **FALSIFY)
    words = ("label", "--explainer", "highlight", "--llm", "scripted:function", "--features", "0-3,6,8")
    job = {"top": 6, "per_decile": 1, "quiet": 8, "hard": 4, "candidates": 2, "seed": 3, "nulls": 0}
    file = Path(run.workspace.root / "job.toml")
    file.write_text("".join(f"{key} = {value}\n" for key, value in (job | {"stop_early": "false"}).items()))
    told = (*words, "--job", file, "--falsify", "--rounds", 3)
    ended = cli(*told)
    assert ended.code == 0
    effort = json_.loads(cli(*told, "--json").out)["effort"]
    assert (effort["tests"] > effort["tests_held"] > 0, effort["tried"]) == (True, 5)
    assert list(effort["tokens_by_stage"]) == ["propose", "trial", "falsify", "revise", "report"]
    assert f"tests: {effort['tests']:,} texts were run on the subject" in ended.out
    assert f"cleared early: {effort['cleared']:,} of 5 features took no further round" in ended.out
    assert f"tokens a feature: propose {effort['tokens_by_stage']['propose']:,}, trial" in ended.out
