"""Names of models, as written on the command line.

openai:NAME             OpenAI itself
openai:NAME@URL         any server that speaks its chat completions (vLLM, Ollama, llama.cpp, …)
anthropic:NAME          Anthropic itself
anthropic:NAME@URL      any server that speaks its messages
hf:FOLDER               a local model of transformers, in a folder
hf:NAME, hf:NAME@REV    one of the hub's that is on this machine
scripted:FILE           replies read from a file: for tests and demonstrations
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from exegete.datastore.installed import entry_points
from exegete.errors import UsageError
from exegete.llm import hf_files

FORMS = (
    "openai:NAME, openai:NAME@http://HOST:PORT/v1, anthropic:NAME, anthropic:NAME@http://HOST:PORT, "
    "hf:NAME_OR_FOLDER or scripted:FILE"
)
BUILT_IN = frozenset({"openai", "anthropic", "hf", "scripted"})
ENTRY_POINTS = "exegete.llms"
"""Entry point group by which other packages add providers: name = provider, value = ModelName -> LLM."""

_WITH_URL = re.compile(r"(?P<name>.+?)@(?P<url>https?://.*)", re.IGNORECASE)
_FORGOT_SCHEME = re.compile(r"@[^@]*[:/]")


@dataclass(frozen=True, slots=True)
class ModelName:
    """Which model, at which server. `str()` of it is the canonical name, fit for `Request.model`."""

    provider: str
    name: str
    """The model as its server calls it, its folder, its name and commit in the hub, or a script's path."""
    url: str | None = None
    """Base URL of a compatible server, without a trailing slash; None for the provider itself."""
    digest: str | None = None
    """Of a script or a model's folder: an edited one is another model, and its journal is stale."""

    def __str__(self) -> str:
        return f"{self.provider}:{self.name}" + (
            f"@{self.url}" if self.url else f"#{self.digest}" if self.digest else ""
        )


def parse(spec: str) -> ModelName:
    """Read a model name.

    Args:
        spec: for example "openai:NAME@http://localhost:8000/v1".

    Raises:
        UsageError: it has none of the forms above, its URL carries what could be a key, or a folder holds
            another model than its digest says.
    """
    provider, colon, rest = spec.strip().partition(":")
    rest = rest.strip()
    there = provider in BUILT_IN or provider in providers()  # looking for other packages' takes milliseconds
    if not colon or not rest or not rest.isprintable() or not there:
        raise UsageError(f"{spec!r} names no model: write {FORMS}")
    if provider == "hf":
        name, digest = hf_files.resolve(rest)
        return ModelName(provider, name, digest=digest)
    if provider == "scripted":
        return ModelName(provider, rest, digest=_digest(Path(rest)))
    return _with_url(spec, provider, rest)


def providers() -> frozenset[str]:
    """Names of all providers: those built in, and those other packages add."""
    return BUILT_IN | {point.name for point in entry_points(group=ENTRY_POINTS)}


def _digest(path: Path) -> str | None:
    """8 hex digits of a file's sha256; None when it can't be read, which opening it will say."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    except OSError:
        return None


def _with_url(spec: str, provider: str, rest: str) -> ModelName:
    """Split NAME@URL, and refuse URLs that can't be meant."""
    found = _WITH_URL.fullmatch(rest)
    if found is None:
        if _FORGOT_SCHEME.search(rest):
            name = rest.partition("@")[0]  # what follows may hold a password
            raise UsageError(f"{provider}:{name}@…: the URL after @ has to start with http:// or https://")
        if " " in rest or rest.endswith("@"):
            raise UsageError(f"{spec!r} names no model: write {FORMS}")
        return ModelName(provider, rest)
    url = found["url"].rstrip("/")
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0 and " " not in rest
    except ValueError:  # a port that is no number, or a broken IPv6 address
        usable = False
    if not usable:
        raise UsageError(f"{spec!r}: {found['url']} is no URL of a server: write {FORMS}")
    if parts.username or parts.password or parts.query or parts.fragment:
        # Names are stored with every call, so nothing secret may be part of one. Don't repeat it either.
        raise UsageError(
            f"the URL of model {provider}:{found['name']} holds a user, password or query: leave them out "
            "and put the key in the environment"
        )
    return ModelName(provider, found["name"], url)
