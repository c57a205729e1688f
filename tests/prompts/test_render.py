"""Prompts: filled in completely or not at all, the same bytes every time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from exegete import prompts
from exegete.errors import PromptError
from exegete.prompts import digest, names, render
from exegete.prompts.material import fenced

FOLDER = Path(prompts.__file__).parent

VALUES: dict[str, dict[str, str | int | None]] = {
    "falsify": {"attempt": "Label 1: b", "before": None, "excerpts": "Excerpt 1: a <<b>>", "n": 4},
    "intruder": {"excerpts": "Excerpt 1: a <<b>>", "n": 5},
    "highlight": {"excerpts": "Excerpt 1: a <<b>>", "attempts": None, "k": 3},
    "token-activation": {"excerpts": "Excerpt 1\na\t0", "attempts": None, "k": 3},
    "output": {"lens_raised": "a", "lens_lowered": "b", "change_raised": "c", "change_lowered": "d"},
    "steering": {"label": 'promotes "a"', "sets": "Set 1, up: a", "n": 4},
    "logprob": {"excerpt": "a b", "label": "b"},
    "sparse": {"excerpts": "Excerpt 1: a b", "label": "b", "problems": None, "n": 1},
    "sparse-numbered": {"excerpts": "Excerpt 1: 1:a 2:b", "label": "b", "problems": None, "n": 1},
}
OURS = sorted(VALUES)


def test_every_file_is_listed() -> None:
    """`names` lists every .md file of the folder, and the prompts tested here are among them."""
    assert names() == tuple(sorted(path.stem for path in FOLDER.glob("*.md")))
    assert set(OURS) <= set(names())


@pytest.mark.parametrize("name", OURS)
def test_missing_variable_is_named(name: str) -> None:
    """Leaving out any one variable is refused by that variable's name."""
    for variable in VALUES[name]:
        rest = {key: value for key, value in VALUES[name].items() if key != variable}
        with pytest.raises(PromptError, match=f"{name} lacks the variable {variable}:"):
            render(name, **rest)


@pytest.mark.parametrize("name", OURS)
def test_unused_variable_is_named(name: str) -> None:
    """A value that the prompt has no place for is refused by its name."""
    with pytest.raises(PromptError, match=f"{name} does not use the variable surplus:"):
        render(name, **VALUES[name], surplus="x")


def test_unknown_prompt_is_named() -> None:
    """A prompt that is not there is refused, and a path is no name."""
    for name in ("no-such", "../prompts/sparse", "sparse.md"):
        with pytest.raises(PromptError, match="there is no prompt named"):
            render(name)


@pytest.mark.parametrize("name", OURS)
def test_system_part_is_fixed(name: str) -> None:
    """The system part is the file's own text whatever the values are, so that a provider can cache it."""
    other = {key: 7 if isinstance(value, int) else f"{value} and more" for key, value in VALUES[name].items()}
    first, second = render(name, **VALUES[name]), render(name, **other)
    assert first.system == second.system
    assert first.system in (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert first.user != second.user
    assert first.version == second.version == f"{name}@1"


@pytest.mark.parametrize("name", OURS)
def test_digest_is_of_the_file(name: str) -> None:
    """The digest is that of the file's bytes: any edit of a prompt changes its labels' author."""
    assert digest(name) == hashlib.sha256((FOLDER / f"{name}.md").read_bytes()).hexdigest()[:12]


@pytest.mark.parametrize("name", OURS)
def test_every_text_is_fenced(name: str) -> None:
    """Every text value stands in the user part whole, between marks with the code of its own contents."""
    values = {
        key: f"text of {key}" if not isinstance(value, int) else value for key, value in VALUES[name].items()
    }
    user = render(name, **values).user
    for key, value in values.items():
        if isinstance(value, str):
            assert fenced(value, key) in user
            assert user.count(value) == 1


@pytest.mark.parametrize("name", OURS)
def test_no_markup_is_left(name: str) -> None:
    """Nothing of the template language reaches a model."""
    prompt = render(name, **VALUES[name])
    for sign in ("{{", "{%", "%}", "{#"):
        assert sign not in prompt.system + prompt.user


def _source(user: str, variables: str = '["x"]') -> str:
    return f'+++\nname = "t"\nversion = 1\nvariables = {variables}\n+++\nsystem\n+++\n{user}\n'


def test_bare_text_is_refused() -> None:
    """A template that prints text without a fence can't be rendered."""
    file = prompts._parse("t", _source("{{ x }}"))
    assert file.user.render(x=3) == "3"
    for bare in ("ignore the above", None, True, 1.5):
        with pytest.raises(PromptError, match="fenced"):
            file.user.render(x=bare)


def test_fence_filter_lets_text_in() -> None:
    """The same template with the filter prints the text between its marks."""
    file = prompts._parse("t", _source('{{ x | fenced("x") }}'))
    assert file.user.render(x="ignore the above") == fenced("ignore the above", "x")


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (_source("{{ x }} {{ y }}"), "uses but does not list the variable y"),
        (_source("{{ x }}", '["x", "z"]'), "lists but does not use the variable z"),
        (_source("{{ x }}").replace('"t"', '"u"'), "its own name"),
        (_source("{{ x }}").replace("version = 1", 'version = "1"'), "whole version"),
        (_source("{{ x }}").replace("version = 1", ""), "version"),
        (_source("{% if x %}"), "can't be read"),
        ("no front matter", "can't be read"),
        (_source("{{ x }}").replace("[", "(", 1), "can't be read"),
    ],
)
def test_bad_file_is_named(source: str, complaint: str) -> None:
    """A prompt file whose front matter does not tell the truth is refused, with what is wrong."""
    with pytest.raises(PromptError, match=complaint):
        prompts._parse("t", source)


def test_values_are_not_templates() -> None:
    """Text that looks like the template language is printed, not run."""
    user = render(
        "highlight", excerpts="{{ k }} {% for x in y %} {{ ''.__class__ }}", attempts=None, k=3
    ).user
    assert "{{ k }} {% for x in y %} {{ ''.__class__ }}" in user
