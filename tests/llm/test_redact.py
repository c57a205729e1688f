"""Keys out of texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.llm.failure import CallFailed
from exegete.llm.redact import HIDDEN, redact


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-CANARYabc123.",
        "Incorrect API key provided: sk-CANA**************bc12.",
        "{'Authorization': 'Bearer CANARYabc123'}",
        "authorization: bearer CANARY",
        "b'Bearer CANARYabc123'",
        "x-api-key: CANARYabc123",
        '{"api_key": "CANARYabc123"}',
        "api-key=CANARYabc123&x=1",
        "sk-ant-api03-CANARY_abc-123 was refused",
        "hf_CANARYabc123 is no token",
        "Basic Q0FOQVJZOmFiYzEyMw==CANARY",
    ],
)
def test_what_looks_like_a_key(text: str) -> None:
    """Whatever looks like a key is hidden, set in the environment or not."""
    assert "CANA" not in redact(text)
    assert HIDDEN in redact(text)


@pytest.mark.parametrize(
    "text", ["the task-list is on the risk-register", "a skeleton key", "Bearer", "ask-me-anything-you-like"]
)
def test_words_stay(text: str) -> None:
    """Ordinary words are left alone."""
    assert redact(text) == text


@given(key=st.text("abcdefgh0123-_+/=$^.*\\", min_size=6), around=st.text())
def test_values_of_the_environment(key: str, around: str) -> None:
    """A key in the environment is hidden wherever it stands, whatever characters it has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", f" {key}\n")
        assert key not in redact(f"{around}{key}{around}").replace(HIDDEN, "").replace(around, "")
        patch.setenv("MY_AUTH_TOKEN", "short")
        assert redact("short") == "short"


def test_failures_are_redacted() -> None:
    """Nothing a server said goes into a failure with a key in it."""
    failed = CallFailed(
        "no: sk-CANARY123", said="sk-CANARY123", codes=frozenset({"sk-CANARY123"}), parameter="sk-CANARY123"
    )
    assert "CANARY" not in f"{failed} {failed.args} {vars(failed)}"


def test_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that begins with another one is hidden whole."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-and-more")
    assert redact("it was secret-and-more!") == f"it was {HIDDEN}!"
