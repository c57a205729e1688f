"""Explainers by name."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from exegete import explainers
from exegete.errors import UsageError
from exegete.explainers.highlight import Highlight
from exegete.explainers.token_activation import TokenActivation
from tests.explainers.explainer_fakes import FakeLLM


class FromElsewhere:
    """An explainer of another package, which asks nobody."""


def test_ours() -> None:
    """Our methods are found by their names and given the model they ask."""
    assert explainers.names()[:3] == ("lexical", "token-activation", "highlight")
    llm = FakeLLM("")
    assert isinstance(explainers.build("token-activation", llm, "m"), TokenActivation)
    made = explainers.build("highlight", llm, "m")
    assert isinstance(made, Highlight)
    assert made.name.startswith("highlight/m@")


def test_a_model_is_asked_for() -> None:
    """A method that asks a model needs one; an unknown name is answered with the known ones."""
    with pytest.raises(UsageError, match="asks a language model"):
        explainers.build("highlight")
    with pytest.raises(
        UsageError, match="no explainer named 'no-such': choose one of lexical, token-activation"
    ):
        explainers.build("no-such")


def test_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package adds methods by entry points, and can't put its own in the place of ours."""
    points = [
        EntryPoint(name, f"{__name__}:FromElsewhere", explainers.GROUP) for name in ("mine", "highlight")
    ]
    monkeypatch.setattr(explainers, "entry_points", lambda group: points if group == explainers.GROUP else [])
    assert explainers.names()[-1] == "mine"
    assert type(explainers.build("mine")).__name__ == "FromElsewhere"
    assert isinstance(explainers.build("highlight", FakeLLM(""), "m"), Highlight)


def test_methods_are_imported_when_asked_for() -> None:
    """Listing names imports no method."""
    code = (
        "import sys, exegete.explainers as e; e.names(); print('exegete.explainers.highlight' in sys.modules)"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
