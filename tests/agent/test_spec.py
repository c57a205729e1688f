"""Job files and parameters: what is read, what overrides what, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from exegete.agent.spec import JobSpec, digest_of, read_spec
from exegete.errors import JobError

OPERATIONAL = {
    *("name", "limit", "concurrency", "processes", "budget", "budget_tokens", "prices", "batch", "until"),
    *("subject", "device"),
}

EVERYTHING: dict[str, Any] = {
    "name": "night",
    "harvest": "planted",
    "explainer": "highlight",
    "simulator": "sparse",
    "llm": "openai:a",
    "explainer_llm": "openai:b",
    "simulator_llm": "openai:c",
    "scorers": ["detection"],
    "features": "0-7",
    "candidates": 4,
    "rounds": 5,
    "threshold": 0.25,
    "seed": 6,
    "unit": "token",
    "top": 7,
    "per_decile": 8,
    "quiet": 9,
    "hard": 11,
    "window": 12,
    "nulls": 17,
    "stop_early": True,
    "with_controls": 18,
    "sentence_model": "a-folder",
    "falsify": True,
    "tests": 19,
    "effects": True,
    "hint": "words of degree",
    "case_budget": 20_000,
    "subject": "elsewhere",
    "device": "cpu",
    "limit": 13,
    "concurrency": 14,
    "processes": 3,
    "budget": 1.5,
    "budget_tokens": 16,
    "prices": "prices.toml",
    "batch": True,
    "until": "07:00:00",
}
"""A value other than the default for every parameter there is."""


def write(folder: Path, text: str | bytes) -> Path:
    """A job file."""
    path = folder / "job.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_may_name_every_parameter(tmp_path: Path) -> None:
    """Each field of the spec can be written in a file by its own name, and arrives."""
    assert set(EVERYTHING) == set(JobSpec.model_fields)
    spec = read_spec(write(tmp_path, tomli_w.dumps(EVERYTHING)), {})
    assert spec.model_dump(mode="json") == EVERYTHING
    assert all(getattr(spec, name) != getattr(JobSpec(), name) for name in EVERYTHING)


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    """What is given wins; what is not given (None) is the file's, and what neither says is the default."""
    path = write(tmp_path, 'threshold = 0.25\nseed = 6\nscorers = ["detection"]')
    spec = read_spec(path, {"seed": 0, "threshold": None, "scorers": ("simulation",), "rounds": None})
    assert (spec.seed, spec.threshold, spec.scorers, spec.rounds) == (0, 0.25, ("simulation",), 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("treshold = 0.5", "unknown key 'treshold': the keys are name, harvest, explainer"),
        ("[job]\nseed = 1", "unknown key 'job'"),
        ("threshold = 1.5", "job parameter threshold = 1.5 can't be used: it should be less than 1"),
        ("threshold = nan", "job parameter threshold = nan can't be used"),
        ('candidates = "many"', "job parameter candidates = 'many' can't be used"),
        ("rounds = -1", "job parameter rounds = -1 can't be used"),
        ("budget = 0", "job parameter budget = 0 can't be used"),
        ("budget = inf", "job parameter budget = inf can't be used"),
        ("budget_tokens = 0", "job parameter budget_tokens = 0 can't be used"),
        ('until = "7 o\'clock"', "job parameter until = \"7 o'clock\" can't be used"),
        ('until = "25:00"', "job parameter until = '25:00' can't be used"),
        ("limit = 0", "job parameter limit = 0 can't be used"),
        ("window = 3", "job parameter window = 3 can't be used"),
        ('unit = "letter"', "job parameter unit = 'letter' can't be used"),
        ('name = "../night"', "job parameter name = '../night' can't be used"),
        ("scorers = [1]", "job parameter scorers.0 = 1 can't be used"),
        ("seed = 1.5", "job parameter seed = 1.5 can't be used"),
        ("seed =", "is not TOML"),
        ("seed = 1\nseed = 2", "is not TOML"),
        (b"name = '\xff'", "is not TOML"),
    ],
)
def test_what_can_not_be_used_is_named(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    """One line that says which key and value, or that the file is no TOML."""
    with pytest.raises(JobError) as caught:
        read_spec(write(tmp_path, text), {})
    assert sentence in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Missing, or a folder: one sentence that names it."""
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(JobError, match=f"the job file {path} can't be read"):
            read_spec(path, {})


@given(st.sampled_from(sorted(set(EVERYTHING) - OPERATIONAL)))
def test_whatever_decides_results_is_frozen(name: str) -> None:
    """Another value of any parameter is another digest, except what says only how the run is carried out."""
    default = JobSpec().frozen()
    changed = JobSpec(**{name: EVERYTHING[name]}).frozen()
    assert digest_of(changed) != digest_of(default)
    operational = JobSpec(**{key: EVERYTHING[key] for key in OPERATIONAL})
    assert digest_of(operational.frozen()) == digest_of(default)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_candidates_are_tried_on_about_half(top: int, per_decile: int, quiet: int, hard: int) -> None:
    """A refine plan has at most as much of anything as the report plan, half or more, and none of none."""
    spec = JobSpec(top=top, per_decile=per_decile, quiet=quiet, hard=hard)
    refine, report = spec.refine_plan, spec.report_plan
    for name in ("top", "per_decile", "quiet", "hard"):
        small, large = getattr(refine, name), getattr(report, name)
        assert large / 2 <= small <= large
        assert (small == 0) == (large == 0)
    assert (refine.window, refine.unit) == (report.window, report.unit)
