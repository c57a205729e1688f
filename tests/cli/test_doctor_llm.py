"""`exegete doctor --llm`: what a model can do, in a table that fits a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exegete.datastore.workspace import Workspace
from exegete.llm.abilities import ABILITIES, USES
from exegete.llm.abilities_file import NAME, remembered
from tests.cli.conftest import Cli
from tests.llm import local
from tests.llm.test_prepare import obliging
from tests.provider import Act, ProviderServer
from tests.provider_abilities import KNOWS

KEY = "sk-should-not-be-seen-1234"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    """An able server, a terminal of 80 columns, and a key."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ProviderServer(obliging) as server:
        server.knows = KNOWS
        yield server


@pytest.fixture
def shell(cli: Cli, server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return cli


def words(text: str) -> str:
    """A text without its line breaks."""
    return re.sub(r"\s+", " ", text)


def test_the_table(shell: Cli, server: ProviderServer, workspace: Workspace) -> None:
    """Each ability with yes or no and what was seen; address, key, price, latency and what was used up."""
    name = f"openai:a-model-with-quite-a-long-name@{server.url}/v1"
    server.refuses = frozenset({"response_format"})
    shown = shell("doctor", "--llm", name)
    assert (shown.code, shown.err) == (0, "")
    assert max(len(line) for line in shown.out.splitlines()) <= 80
    text = words(shown.out)
    for said in (
        f"model {name}",
        f"address {server.url}/v1",
        "key OPENAI_API_KEY is set",
        "price no price known",
        "as a-model-with-quite-a-long-name-0001",
        f"asked {len(server.ledger)} calls, ",
        "temperature yes 0 is taken, -1 refused requests that set one",
        "logprobs of prompts yes they came back the logprob simulator",
    ):
        assert said in text
    assert re.search(r"answers after \d+\.\d\d s", text)
    table = shown.out.partition("ability ")[2].splitlines()
    (row,) = (line for line in table if line.startswith("structured output"))
    assert row.split()[:4] == ["structured", "output", "no", "refused:"]
    assert "Instead:" in text
    assert all(any(line.startswith(use.title.split(" chosen")[0]) for line in table) for use in USES.values())
    assert KEY not in shown.out
    assert NAME in words(shown.out).replace(" ", "")
    kept = remembered(workspace.root, name)
    assert [kept.of(ability).has for ability in ABILITIES] == [False, *[True] * 6]


def test_as_json(shell: Cli, server: ProviderServer, workspace: Workspace) -> None:
    """The same as JSON, with the same exit code."""
    name = f"openai:m@{server.url}/v1"
    facts = json.loads(shell("doctor", "--llm", name, "--json").out)
    assert facts["usable"] is True
    assert facts["key"] == {"variable": "OPENAI_API_KEY", "set": True}
    assert facts["price"] is None
    assert facts["latency_s"] > 0
    assert facts["spent"]["calls"] == len(server.ledger)
    assert set(facts["abilities"]) == set(ABILITIES)
    assert facts["abilities"]["structured_output"] == {"has": True, "seen": "a schema was kept to"}
    assert facts["remembered"] == str(workspace.root / NAME)


def test_it_asks_anew(shell: Cli, server: ProviderServer, workspace: Workspace) -> None:
    """The doctor does not answer from memory: it corrects it."""
    name = f"openai:m@{server.url}/v1"
    server.refuses = frozenset({"response_format"})
    shell("doctor", "--llm", name)
    server.refuses = frozenset()
    shell("doctor", "--llm", name)
    assert remembered(workspace.root, name).structured_output.has is True


def test_without_a_workspace(shell: Cli, server: ProviderServer, tmp_path: Path) -> None:
    """It needs no workspace, and makes none."""
    shown = shell("doctor", "--llm", f"openai:m@{server.url}/v1", "-w", tmp_path / "none")
    assert shown.code == 0
    assert NAME not in shown.out
    assert not (tmp_path / "none").exists()


def refused(server: ProviderServer) -> str:
    """A model whose server refuses the key, and echoes it."""
    server.acts += [Act(status=401, body={"error": {"message": f"bad key {KEY}"}})]
    return f"openai:m@{server.url}/v1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (lambda server: "openai:m@http://127.0.0.1:9/v1", "no server answers at http://127.0.0.1:9/v1"),
        (refused, "the key was refused"),
        (lambda server: "hf:org/model", "fetch the model first with `hf download org/model`"),
        (lambda server: "scripted:none.jsonl", "can't read the script none.jsonl"),
    ],
)
def test_a_model_that_can_not_be_used(shell: Cli, server: ProviderServer, name: Any, said: str) -> None:
    """Exit 1, with why, and what is known all the same; no table, no traceback, no key."""
    shown = shell("doctor", "--llm", name(server))
    assert (shown.code, shown.err) == (1, "")
    assert said in words(shown.out)
    assert "can't be used" in shown.out
    assert "ability" not in shown.out
    assert KEY not in shown.out
    assert json.loads(shell("doctor", "--llm", name(server), "--json").out)["usable"] is False


def test_no_key(shell: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider whose key is missing can't be used; its price and address are shown."""
    monkeypatch.delenv("OPENAI_API_KEY")
    shown = shell("doctor", "--llm", "openai:gpt-5-nano")
    assert shown.code == 1
    text = words(shown.out)
    assert "key OPENAI_API_KEY is not set price $0.05 in, $0.4 out per million tokens (https://" in text
    assert "address https://api.openai.com/v1" in text
    assert "set the environment variable OPENAI_API_KEY" in text


def test_no_model(shell: Cli) -> None:
    """What names no model is wrong use."""
    ended = shell("doctor", "--llm", "nonsense")
    assert ended.code == 2
    assert "names no model" in ended.complaint


def test_a_local_model(shell: Cli, tmp_path: Path, workspace: Workspace) -> None:
    """A local model is loaded and says something; its abilities are known from the code and not kept."""
    folder = local.save(tmp_path / "m", template=local.TEMPLATE)
    shown = shell("doctor", "--llm", f"hf:{folder}")
    assert (shown.code, shown.err) == (0, "")
    text = words(shown.out)
    assert "address none: it runs in this process price free: runs here answers after" in text
    assert "structured output no no grammar here" in text
    assert "logprobs of prompts yes read from its logits the logprob simulator" in text
    assert not (workspace.root / NAME).exists()


def test_a_hostile_server(shell: Cli, server: ProviderServer) -> None:
    """What a server says is shown as text: no escapes, no markup."""
    server.acts += [
        Act(),
        Act(status=400, body={"error": {"message": "\x1b[31mno [bold]schema[/bold]\u202e\nhere"}}),
    ]
    shown = shell("doctor", "--llm", f"openai:m@{server.url}/v1")
    assert shown.code == 0
    assert "\x1b" not in shown.out
    assert "\u202e" not in shown.out
    assert "[bold]schema[/bold]" in shown.out
