"""The planted workspace of the agent's tests."""

from __future__ import annotations

from tests.agent.conftest import _entry_points_once, template

__all__ = ["_entry_points_once", "template"]
