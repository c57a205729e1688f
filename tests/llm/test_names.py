"""Names of models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.errors import UsageError
from exegete.llm.names import ModelName, parse


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("openai:gpt-x", ModelName("openai", "gpt-x")),
        (" openai:gpt-x ", ModelName("openai", "gpt-x")),
        (
            "openai:org/model:7b@http://localhost:8000/v1/",
            ModelName("openai", "org/model:7b", "http://localhost:8000/v1"),
        ),
        ("openai:m@2024@https://a.example/v1", ModelName("openai", "m@2024", "https://a.example/v1")),
        ("openai:m@20240229", ModelName("openai", "m@20240229")),
        ("openai:m@http://[::1]:8000/v1", ModelName("openai", "m", "http://[::1]:8000/v1")),
        ("anthropic:claude-x", ModelName("anthropic", "claude-x")),
        ("anthropic:x@https://proxy.example", ModelName("anthropic", "x", "https://proxy.example")),
        ("hf:org/model", ModelName("hf", "org/model")),
        ("hf:no/such/folder#0123abcd", ModelName("hf", "no/such/folder", digest="0123abcd")),
        ("scripted:replies with spaces@home.jsonl", ModelName("scripted", "replies with spaces@home.jsonl")),
    ],
)
def test_forms(spec: str, expected: ModelName) -> None:
    """Every form is read, and its canonical name reads back as the same model."""
    assert parse(spec) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "gpt-x",
        "openai",
        "openai:",
        "openai: ",
        "lexical",
        "nobody:m",
        "OPENAI:m",
        "openai:two words",
        "openai:m\x1b[31m",
        "openai:m@",
        "openai:m@http://",
        "openai:m@http://host:port/v1",
        "openai:m@http://host:0/v1",
        "openai:m@http://host :1/v1",
        "openai:m@localhost:8000",
        "openai:@http://host/v1",
    ],
)
def test_wrong_names(spec: str) -> None:
    """What names no model is refused in one sentence that shows the forms or what is wrong with the URL."""
    with pytest.raises(UsageError) as error:
        parse(spec)
    text = str(error.value)
    assert "openai:NAME" in text or "http://" in text
    assert "\n" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter22@host/v1",
        "https://host/v1?key=hunter22",
        "me:hunter22@host:80",
        "https://host/#hunter22",
    ],
)
def test_urls_hold_no_secrets(url: str) -> None:
    """A URL with what could be a key is refused, and the key is not repeated: names are stored with calls."""
    with pytest.raises(UsageError) as error:
        parse(f"openai:m@{url}")
    assert "hunter22" not in str(error.value)


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is either a name that reads back as itself or a UsageError."""
    try:
        name = parse(text)
    except UsageError:
        return
    assert parse(str(name)) == name
