"""Prompts as versioned files, and the one function that fills them in.

A prompt is one .md file of this folder:

    +++                                  front matter, TOML
    name = "highlight"
    version = 1
    variables = ["excerpts", "k"]
    +++
    the system part: fixed text, the same for every feature, so that providers can cache it
    +++
    the user part: a jinja2 template over the variables

    >>> prompt = render("highlight", excerpts="...", attempts=None, k=3)
    >>> prompt.version
    'highlight@1'

Text is taken in through the filter `fenced` only (see prompts/material.py); printing it bare is an error,
so that no template can forget to tell what is material from what are instructions.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from exegete.errors import PromptError
from exegete.prompts.material import Fenced, fenced

__all__ = ["Prompt", "digest", "names", "render"]

_DIVIDER = "+++\n"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt filled in, ready to be sent."""

    system: str
    """Fixed instructions and examples."""
    user: str
    """What is asked this time."""
    version: str
    """name@version of the file."""


@dataclass(frozen=True, slots=True)
class _File:
    """A prompt file, read and checked."""

    version: str
    variables: frozenset[str]
    system: str
    user: Any
    """The compiled jinja2 template."""


def names() -> tuple[str, ...]:
    """List the prompts there are, in alphabetical order."""
    found = (path.name for path in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in found if name.endswith(".md")))


@functools.cache
def digest(name: str) -> str:
    """First 12 hex digits of the sha256 of a prompt's file: a label's author carries it.

    Raises:
        PromptError: there is no such prompt.
    """
    return hashlib.sha256(_source(name).encode()).hexdigest()[:12]


def render(name: str, **values: str | int | None) -> Prompt:
    """Fill in a prompt.

    Args:
        name: file name without its ending.
        **values: one value for every variable that the front matter lists, and no other. None stands for
            a part that is left out.

    Returns:
        The prompt; equal values give equal bytes.

    Raises:
        PromptError: there is no such prompt, or a variable is missing, unknown, or printed unfenced.
    """
    file = _read(name)
    _refuse(name, "lacks the variable", file.variables - values.keys())
    _refuse(name, "does not use the variable", values.keys() - file.variables)
    return Prompt(system=file.system, user=file.user.render(values).strip(), version=file.version)


def _refuse(name: str, what: str, variables: Iterable[str]) -> None:
    """Raise PromptError if there are variables to complain about, naming all of them."""
    listed = ", ".join(sorted(variables))
    if listed:
        raise PromptError(f"prompt {name} {what} {listed}: give exactly what its front matter lists")


def _source(name: str) -> str:
    """Read a prompt's file."""
    if name not in names():
        raise PromptError(f"there is no prompt named {name}: there are {', '.join(names())}")
    return (files(__name__) / f"{name}.md").read_text(encoding="utf-8")


@functools.cache
def _read(name: str) -> _File:
    """Read and check a prompt's file, once a process."""
    return _parse(name, _source(name))


def _parse(name: str, source: str) -> _File:
    """Take a prompt's source apart, and check that its front matter tells the truth about it."""
    from jinja2 import Environment, StrictUndefined, TemplateError, meta

    # Prompts are plain text for a model, not pages: what HTML escaping would do is done by `fenced`.
    environment = Environment(
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_only_fenced,
    )
    environment.filters["fenced"] = fenced
    try:
        before, front, system, user = source.split(_DIVIDER)
        head = tomllib.loads(front)
        variables = frozenset(head["variables"])
        used = meta.find_undeclared_variables(environment.parse(user))
        template = environment.from_string(user)
        if before or head["name"] != name or not isinstance(head["version"], int):
            raise ValueError("its front matter must begin the file and give its own name and a whole version")
    except (KeyError, ValueError, TypeError, TemplateError) as error:
        raise PromptError(f"prompt file {name}.md can't be read: {error}") from error
    _refuse(name, "uses but does not list the variable", used - variables)
    _refuse(name, "lists but does not use the variable", variables - used)
    return _File(f"{name}@{head['version']}", variables, system.strip(), template)


def _only_fenced(value: object) -> object:
    """Refuse text that would be printed outside its marks, where it would read like our own words."""
    if isinstance(value, Fenced) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise PromptError(f"a prompt may print whole numbers and fenced text, not a bare {type(value).__name__}")
