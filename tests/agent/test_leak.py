"""Nothing up to the frozen label depends on the report split: change it, and nothing moves before that."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exegete.datastore.workspace import Workspace
from exegete.llm import Request
from tests.agent import competent, planted
from tests.agent.harness import FunctionLLM, Runner, competently, first, purpose, rows
from tests.agent.trying import give_subject

JOB: dict[str, Any] = {"falsify": True, "rounds": 3, "candidates": 2, "features": "0-5,8,9", "name": "night"}
AFTER = ("report", "null")
"""Stages of calls that see the report split, once the label is frozen."""
CHOSEN = (
    "SELECT feature_index, label, author, refine_score, rounds, candidates, tests, tests_held, tokens_spent "
    "FROM outcomes ORDER BY feature_index",
    "SELECT * EXCLUDE (tried_at) FROM experiments ORDER BY feature_index, round, number",
    # How much there is to score on decides, with all splits alike, whether a feature is labelled at all.
    "SELECT * EXCLUDE (decided_at) FROM decisions WHERE step != 'recall' ORDER BY feature_index, number",
    "SELECT feature_index, label, value FROM scores WHERE split = 'refine' ORDER BY ALL",
    "SELECT * FROM examples ORDER BY feature_index, rank",
)
"""All that a run knows of its features before their labels are examined."""


def echoing(request: Request) -> str:
    """A model whose labels and tests depend on every character it is shown; its simulations are faithful.

    Its labels name a right word, and numbers that a hash of the prompt draws: they are too broad, and
    whatever moves in a prompt moves what is said next.
    """
    prompt = first(request)
    if purpose(request) in ("simulate", "falsify"):
        return competently(request)
    truth = competent.explain(prompt)
    at = int(sha256(prompt.encode()).hexdigest(), 16)
    known = planted.VOCABULARY
    found = re.findall(r'"([^"]+)"', truth)[0]
    broad = f'words ending in "{found}", "{at % 10}", "{at // 10 % 10}"'
    return json.dumps(competent.proposals(broad, f'the word "{known[at // 7 % len(known)]}"'))


def changed(workspace: Workspace) -> None:
    """Replace all that the evidence file has of the report split, and what is counted over all splits."""
    (path,) = workspace.evidence.glob("*.duckdb")
    with duckdb.connect(str(path)) as con:
        words = "list_transform(tokens, lambda x: ' other' || length(x)::VARCHAR)"
        con.execute(f"UPDATE contexts SET tokens = {words} WHERE split = 'report'")
        con.execute(
            "UPDATE examples SET peak = 7 * peak, "
            "activations = list_transform(activations, lambda x: 7 * x), "
            "positions = list_transform(positions, lambda x: (x + 3) % 40) WHERE split = 'report'"
        )
        con.execute(
            "UPDATE quiet_activations SET activations = list_transform(activations, lambda x: 9 * x) "
            "WHERE context_id IN (SELECT context_id FROM contexts WHERE split = 'report')"
        )
        con.execute(
            "UPDATE features SET fired_contexts_report = 2 * fired_contexts_report, fired = fired + 9, "
            "density = density * 1.5, maximum = maximum * 7 WHERE fired > 0"
        )


def labelled(
    template: Path, root: Path, patch: pytest.MonkeyPatch, change: Callable[[Workspace], None]
) -> Runner:
    """A finished job on evidence that was changed before."""
    run = Runner(Workspace.open(shutil.copytree(template, root)), patch)
    change(run.workspace)
    give_subject(patch)
    run(echoing, **JOB)
    return run


def test_nothing_depends_on_the_report_split(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every prompt before the frozen label is the same to the byte, and so are labels, tests and decisions.

    The prompts after it are all other ones, so the split was changed where it is looked at.
    """
    as_it_is = labelled(template, tmp_path / "a", monkeypatch, lambda workspace: None)
    otherwise = labelled(template, tmp_path / "b", monkeypatch, changed)
    before = prompts(as_it_is.llm, examined=False)
    assert before == prompts(otherwise.llm, examined=False)
    assert len(before) > 50
    after = prompts(as_it_is.llm, examined=True)
    assert after
    assert not set(after) & set(prompts(otherwise.llm, examined=True))
    assert {purpose(request) for request in as_it_is.llm.asked} == {
        "propose",
        "falsify",
        "revise",
        "simulate",
    }
    tested = rows(
        as_it_is.workspace, "SELECT DISTINCT feature_index FROM experiments WHERE verdict = 'failed'"
    )
    assert len(tested) >= 4
    for sql in CHOSEN:
        found = [[repr(row) for row in rows(run.workspace, sql)] for run in (as_it_is, otherwise)]
        assert found[0] == found[1]
        assert found[0]


def prompts(llm: FunctionLLM, examined: bool) -> list[str]:
    """What a model was asked up to the frozen labels, or after that: all of each request, sorted."""
    return sorted(
        json.dumps([r.system, [[m.role, m.text] for m in r.messages], r.sample])
        for r in llm.asked
        if (r.tags["stage"] in AFTER) == examined
    )
