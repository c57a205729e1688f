"""Keys and tags of requests."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exegete.llm import Message, Request
from exegete.llm.slots import Slots

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCHEMAS = st.dictionaries(WORDS, st.recursive(WORDS | st.none(), st.lists, max_leaves=4), max_size=3)
REQUESTS = st.builds(
    Request,
    model=WORDS,
    system=WORDS,
    messages=st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), WORDS), max_size=3).map(
        tuple
    ),
    schema=st.none() | SCHEMAS,
    max_tokens=st.integers(1, 10**6),
    temperature=st.none() | st.integers(0, 2) | st.floats(0, 2),
    sample=st.integers(0, 5),
    prompt_version=WORDS,
    slots=st.none() | st.just(Slots(("0", "1"))),
)


@given(REQUESTS)
def test_the_key_is_the_digest_of_one_json_object(request: Request) -> None:
    """Journals that were written by any version answer the same requests: json.dumps is the oracle."""
    facts: dict[str, Any] = {
        name: getattr(request, name) for name in ("model", "system", "schema", "max_tokens")
    }
    facts |= {name: getattr(request, name) for name in ("temperature", "sample", "prompt_version")}
    facts["messages"] = [[message.role, message.text] for message in request.messages]
    if request.slots is not None:
        facts["slots"] = request.slots.facts
    canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert request.key == hashlib.sha256(canonical.encode()).hexdigest()


@given(REQUESTS, st.dictionaries(WORDS, WORDS, max_size=2))
def test_tags_change_nothing_else(request: Request, tags: dict[str, str]) -> None:
    """A tagged request is the one that `replace` makes, and leaves the untagged one as it was."""
    before = dict(request.tags)
    tagged = request.tagged(tags)
    assert tagged == request
    assert tagged.key == replace(request, tags=tags).key
    assert (tagged.tags, request.tags) == (tags, before)


@given(REQUESTS)
def test_equal_schemas_are_one(request: Request) -> None:
    """A schema with its forms is equal to the mapping it came as, and shared by requests that have it."""
    again = replace(
        request, schema=None if request.schema is None else json.loads(json.dumps(request.schema))
    )
    assert again == request
    assert again.schema is request.schema


@given(REQUESTS)
def test_sent_to_another_process(request: Request) -> None:
    """A request arrives equal, with its key; its schema arrives as the one that is known there."""
    sent = pickle.loads(pickle.dumps(request.tagged({"stage": "trial"})))  # noqa: S301 (made right here)
    assert (sent, sent.tags) == (request, {"stage": "trial"})
    assert vars(sent)["key"] == request.key
    assert sent.schema is request.schema
