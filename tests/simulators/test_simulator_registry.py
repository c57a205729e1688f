"""Simulators by name."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from exegete import simulators
from exegete.errors import UsageError
from exegete.simulators.sparse import SparseSimulator
from tests.simulators.sparse_fakes import FakeLLM


class FromElsewhere:
    """A simulator of another package, which asks nobody."""


def test_ours() -> None:
    """Our methods are found by their names and given the model they ask."""
    assert simulators.names()[:3] == ("lexical", "logprob", "sparse")
    made = simulators.build("sparse", FakeLLM(""), "m")
    assert isinstance(made, SparseSimulator)
    assert made.name.startswith("sparse@2/m@")
    assert simulators.one_of("logprob") == ("prompt_logprobs", "token_id_logprobs")
    assert simulators.one_of("sparse") == simulators.one_of("lexical") == ()


def test_a_model_is_asked_for() -> None:
    """A method that asks a model needs one; an unknown name is answered with the known ones."""
    with pytest.raises(UsageError, match="asks a language model"):
        simulators.build("sparse")
    with pytest.raises(UsageError, match="no simulator named 'no-such': choose one of lexical, logprob"):
        simulators.build("no-such")


def test_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package adds methods by entry points, and can't put its own in the place of ours."""
    points = [EntryPoint(name, f"{__name__}:FromElsewhere", simulators.GROUP) for name in ("mine", "sparse")]
    monkeypatch.setattr(simulators, "entry_points", lambda group: points if group == simulators.GROUP else [])
    assert simulators.names()[-1] == "mine"
    assert type(simulators.build("mine")).__name__ == "FromElsewhere"
    assert isinstance(simulators.build("sparse", FakeLLM(""), "m"), SparseSimulator)


def test_methods_are_imported_when_asked_for() -> None:
    """Listing names imports no method."""
    code = "import sys, exegete.simulators as s; s.names(); print(s.__name__ + '.sparse' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
