"""`exegete controls`, and `--with-controls`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exegete.subjects import minilm
from tests.cli.conftest import Cli


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages go into the test's own folder."""
    monkeypatch.chdir(tmp_path)


def test_controls_in_one_command(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a harvest's text: tables of 80 columns, the page, and then the same figures in JSON."""
    monkeypatch.setenv("COLUMNS", "80")
    told = cli("controls", "--harvest", "planted", "--n", "1", "--out", "page.html")
    assert told.code == 0, told.err
    for words in ("planted", "nothing to find", "right against wrong labels", "expected calibration error"):
        assert words in told.out
    tables = told.out[: told.out.index("confidence:")]
    assert max(map(len, tables.splitlines())) <= 80
    assert (tmp_path / "page.html").stat().st_size > 1_000_000
    found = cli("controls", "--harvest", "planted", "--n", "1", "--json")
    assert found.code == 0
    figures = json.loads(found.out)
    assert list(figures) == ["recovery", "false_accept_rate", "auroc", "ece"]
    assert figures["recovery"]["token"] == 1.0
    assert figures["false_accept_rate"]["random firing"] == 0.0
    assert {*figures["auroc"]} == {"simulation", "detection"}
    assert 0 <= figures["ece"] <= 1
    seen = cli("sql", "SELECT count(*) AS n FROM controls WHERE status IS NOT NULL", "--json")
    assert json.loads(seen.out)[0]["n"] > 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--harvest", "nothing"], "there is no harvest 'nothing'"),
        (["--corpus", "nowhere.txt", "-w", "new"], "there is no corpus 'nowhere.txt'"),
        (["--harvest", "planted", "--explainer", "magic"], "there is no explainer named 'magic'"),
        (["--harvest", "planted", "--explainer", "highlight"], "asks a language model: name one"),
    ],
)
def test_wrong_use_is_one_sentence(cli: Cli, words: list[str], said: str) -> None:
    """A harvest, corpus or method that is not there ends with code 2 and one sentence."""
    ended = cli("controls", *words)
    assert ended.code == 2
    assert said in ended.err


def test_too_little_text_is_one_sentence(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus of a few lines is refused."""
    monkeypatch.setattr(minilm, "wheel_folder", lambda: None)  # it would only cut the text
    (tmp_path / "little.txt").write_text("A few words, and no more of them. " * 30)
    ended = cli("controls", "--corpus", "little.txt", "-w", "new")
    assert ended.code == 2
    assert "too short to plant features on" in ended.err


def test_controls_among_the_features_of_a_job(cli: Cli) -> None:
    """Planted features are reported apart: in a sentence, in JSON, and in no count of the harvest's own."""
    words = ("label", "--with-controls", "8", "--nulls", "0", "--rounds", "0")
    told = cli(*words)
    assert told.code == 0, told.err
    assert "controls: " in told.out
    assert "of 6 planted features recovered" in told.out
    assert "of 2 with nothing to find accepted" in told.out
    assert ": 20 features: " in told.out
    again = json.loads(cli(*words, "--json").out)
    assert again["controls"]["planted"] == 6
    assert again["left"] == 0
    assert json.loads(cli("sql", "SELECT count(*) AS n FROM labels", "--json").out)[0]["n"] == 20
