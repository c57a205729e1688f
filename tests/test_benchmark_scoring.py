"""The benchmark of statistics says what it is asked to, and its intervals are scipy's."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import scoring


def test_figures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON it has the rate and the ratio to scipy, which is 20 at least; ends agree with scipy's."""
    monkeypatch.setattr(sys, "argv", ["scoring", "--features", "5", "--compared", "8", "--json"])
    scoring.main()
    found = json.loads(capsys.readouterr().out)
    assert found["features"] == 5
    assert found["features_a_second"] > 0
    assert found["median_ms"] > 0
    assert found["ratio_to_scipy"] >= 20
    assert found["ratio_to_scipy_on_sums"] > 2
    assert found["equal"]


def test_ends_that_differ_are_not_called_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bootstrap that leaves out every other resample's spread is found out."""
    halved = scoring.plain_bootstrap

    def narrow(*given: object) -> object:
        draws = halved(*given)  # type: ignore[arg-type]
        return draws.mean() + 0.8 * (draws - draws.mean())

    monkeypatch.setattr(scoring, "plain_bootstrap", narrow)
    differ, itself = scoring._compare_ends(8)
    assert differ > (1 + 2.5 / 8**0.5) * itself
