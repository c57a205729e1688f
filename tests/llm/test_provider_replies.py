"""What is read of bodies that servers send in the place of a reply, or around one."""

from __future__ import annotations

from typing import Any

import pytest

from exegete.llm.anthropic import read_message
from exegete.llm.failure import CallFailed
from exegete.llm.openai import read_chat, read_response


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (read_chat, {"error": {"message": "upstream", "code": 502}}),
        (read_chat, {"choices": []}),
        (read_chat, {"choices": [{"message": None}]}),
        (read_chat, {"choices": "x"}),
        (read_chat, {"choices": [{"message": {"content": "x"}, "finish_reason": "error"}]}),
        (read_chat, {"choices": [{"message": {"content": "x"}, "finish_reason": "abort"}]}),
        (read_response, {"status": "failed", "error": {"code": "server_error", "message": "x"}}),
        (read_response, {"status": "completed"}),
        (read_response, {"output": None}),
        (read_message, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}),
        (read_message, {"content": None}),
    ],
)
def test_bodies_that_are_no_reply(read: Any, body: dict[str, Any]) -> None:
    """A body that holds an error, or nothing, is a failure: never an empty reply."""
    with pytest.raises(CallFailed):
        read(body, "m")


@pytest.mark.parametrize(
    ("read", "body", "text"),
    [
        (read_chat, {"choices": [{"message": {"content": None, "reasoning": "hm"}}]}, ""),
        (
            read_chat,
            {"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "x"}]}}]},
            "a",
        ),
        (read_chat, {"choices": [{"message": {"content": 7}}], "usage": {"prompt_tokens": "7"}}, ""),
        (read_chat, {"choices": [{"message": {"content": "\ud800x"}}], "usage": {"prompt_tokens": -1}}, "?x"),
        (read_response, {"output": [{"type": "reasoning"}, "?", {"type": "message"}]}, ""),
        (read_response, {"output": [{"type": "message", "content": [{"type": "output_text"}, 3]}]}, ""),
        (
            read_message,
            {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]},
            "a",
        ),
        (read_message, {"content": [], "usage": {"input_tokens": True}}, ""),
    ],
)
def test_odd_bodies(read: Any, body: dict[str, Any], text: str) -> None:
    """Whatever else a body holds, only its text is text, and only counts are counts."""
    reply = read(body, "m")
    assert (reply.text, reply.finish, reply.input_tokens, reply.served_by) == (text, "stop", None, "m")


def test_policies() -> None:
    """A response stopped for a policy is filtered; a spent rate in a body is retried like a 429."""
    stopped = {"status": "failed", "error": {"code": "bio_policy", "message": "no"}, "output": []}
    assert read_response(stopped, "m").finish == "filtered"
    with pytest.raises(CallFailed) as error:
        read_response({"error": {"code": "rate_limit_exceeded", "message": "slow"}}, "m")
    assert error.value.status == 429


def test_anthropic_counts_its_cache_apart() -> None:
    """Tokens written to and read from the cache are input tokens too."""
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 200,
        "cache_read_input_tokens": 3000,
        "output_tokens": 1,
    }
    reply = read_message({"content": [], "usage": usage, "stop_reason": "model_context_window_exceeded"}, "m")
    assert (reply.input_tokens, reply.cached_tokens, reply.finish) == (3210, 3000, "length")
