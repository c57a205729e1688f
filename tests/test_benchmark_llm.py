"""The benchmark of jobs with a language model runs, and its figures fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.llm import Row, measure, prepare
from benchmarks.llm_server import serving


@pytest.mark.slow
def test_one_row(tmp_path: Path) -> None:
    """Every call of a small job is counted in a stage, its fixed part in it; its calls alone cost less."""
    with serving() as port:
        source = prepare(tmp_path, quick=True)
        row = measure(source, port, Row("one pass", 0, 4, 6))
        alone = measure(source, port, Row("one pass", 0, 4, 6, calls_alone=True))
    assert row["features_per_second"] > 0
    assert row["cpu_ms_per_feature"] > alone["cpu_ms_per_feature"] > 0
    assert alone["calls_per_feature"] == pytest.approx(row["calls_per_feature"], abs=1)
    stages = {part["part"]: part for part in row["tokens"] if not part["part"].startswith("all")}
    assert set(stages) == {"propose", "trial", "report"}
    assert sum(stage["calls"] for stage in stages.values()) == pytest.approx(row["calls_per_feature"])
    assert all(0 < stage["fixed"] < stage["input"] for stage in stages.values())
    assert all(stage["cached"] < stage["input"] for stage in stages.values())
    (whole,) = (part for part in row["tokens"] if part["part"] == "all, 1 tried")
    tokens = sum(stage["input"] + stage["output"] for stage in stages.values())
    assert whole["tokens_per_200_judgements"] == pytest.approx(tokens / (2 * whole["excerpts"]) * 200)
    assert 40 < whole["excerpts"] <= 40 + 70, "what a label is tried on, and what it is reported on"
