"""Keys out of texts: error messages of servers can echo the key that was refused."""

from __future__ import annotations

import os
import re

HIDDEN = "[hidden]"

_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
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
        text: anything that is about to be logged, raised or stored and came from a server or an SDK.
    """
    for value in _secrets():
        text = text.replace(value, HIDDEN)
    *plain, named = _LOOKS_LIKE_A_KEY
    for pattern in plain:
        text = pattern.sub(HIDDEN, text)
    return named.sub(rf"\g<1>{HIDDEN}", text)


def _secrets() -> list[str]:
    """Values of environment variables that are named like secrets, longest first.

    Read at each call: a key can be set after import, and failures are rare enough for it not to matter.
    """
    values = {value.strip() for name, value in os.environ.items() if _SECRET_NAME.search(name.upper())}
    return sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)
