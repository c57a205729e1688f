"""Keys out of texts: servers can echo the key they were sent, in an error or in a reply.

Error texts are for people, and a hole in them hurts nobody: whatever looks like a key goes, set in the
environment or not (`redact`). Replies are results. A label may well speak of "words such as sk-learn" or of
`api_key: x`, and a guess would change what it says; so only what is a key goes: values of this process's
environment, to the letter (`hide_keys`).
"""

from __future__ import annotations

import json
import os
import re
from functools import lru_cache

HIDDEN = "[hidden]"

_SECRET_NAME = re.compile(rb"(KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
_SENT_TO_SERVERS = re.compile(rb"(API_KEY|AUTH_TOKEN)$", re.IGNORECASE)
"""Variables that hold what models are called with. A server can echo no others: that a reply has the word
that is somebody's DB_PASSWORD is chance, and the word belongs to the label."""
_SHORTEST = 6
"""Values shorter than this ("EMPTY", "none") are no keys, and would blank out ordinary words."""

_LOOKS_LIKE_A_KEY = (
    re.compile(r"\b(?:sk|pk|rk|hf|gsk|xai|ghp|AIza)[-_][\w*.\-]{6,}"),
    re.compile(r"(?<=\bBearer )[^\s'\",;}]+", re.IGNORECASE),
    re.compile(r"(?<=\bBasic )[A-Za-z0-9+/=]{8,}"),
    re.compile(r"((?:x-)?api[-_]key['\"]?\s*[:=]\s*(?:b?['\"])?)[^\s'\",;}]+", re.IGNORECASE),
)


def redact(text: str) -> str:
    """The text without keys: neither those in the environment nor anything that looks like one.

    Args:
        text: anything but a reply that is about to be logged, raised or stored and came from a server or an
            SDK.
    """
    for value in _secrets(_settings()):
        text = text.replace(value, HIDDEN)
    *plain, named = _LOOKS_LIKE_A_KEY
    for pattern in plain:
        text = pattern.sub(HIDDEN, text)
    return named.sub(rf"\g<1>{HIDDEN}", text)


def hide_keys(*texts: str) -> tuple[str, ...]:
    """Texts of a reply without the keys in the environment; nothing else of them is changed.

    Of variables that are not sent to servers only those count whose value is not one plain word.
    """
    for value in _keys(_settings()):
        texts = tuple(text.replace(value, HIDDEN) for text in texts)
    return texts


Settings = tuple[tuple[bytes, bytes], ...]


def _settings() -> Settings:
    """Variables that are named like secrets, as they are now: a key can be set at any time."""
    environment = os.environb
    return tuple((name, environment.get(name, b"")) for name in _secret_names(tuple(environment)))


@lru_cache(maxsize=2)
def _secret_names(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Those names of variables that are secrets'. Remembered: replies come by the thousand."""
    return tuple(name for name in names if _SECRET_NAME.search(name))


@lru_cache(maxsize=2)
def _secrets(settings: Settings) -> tuple[str, ...]:
    """Values that are long enough to be secrets, longest first."""
    values = {os.fsdecode(value).strip() for _, value in settings}
    return tuple(sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True))


@lru_cache(maxsize=2)
def _keys(settings: Settings) -> tuple[str, ...]:
    """Those that are taken out of replies, as they are and as they stand in JSON, longest first."""
    sent = [(name, value) for name, value in settings if _SENT_TO_SERVERS.search(name)]
    own = [value for value in _secrets(settings) if not value.isalpha()]
    values = {*own, *_secrets(tuple(sent))}
    return tuple(sorted(values | {json.dumps(value)[1:-1] for value in values}, key=len, reverse=True))
