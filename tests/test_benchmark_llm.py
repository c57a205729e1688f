"""The benchmark of jobs with a language model runs, and its figures fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.llm import Row, measure, prepare
from benchmarks.llm_server import serving


@pytest.mark.slow
def test_one_row(tmp_path: Path) -> None:
    """A small job against the benchmark's server: every call is counted in a stage, its fixed part in it."""
    with serving() as port:
        row = measure(prepare(tmp_path, quick=True), port, Row("one pass", 0, 4, 6))
    assert row["features_per_second"] > 0
    assert row["cpu_ms_per_feature"] > 0
    stages = {part["part"]: part for part in row["tokens"] if not part["part"].startswith("all")}
    assert set(stages) == {"propose", "trial", "report"}
    assert sum(stage["calls"] for stage in stages.values()) == pytest.approx(row["calls_per_feature"])
    assert all(0 < stage["fixed"] < stage["input"] for stage in stages.values())
    assert all(stage["cached"] < stage["input"] for stage in stages.values())
