"""Evidence of known truth and jobs on it, as the agent's tests have them."""

from __future__ import annotations

from tests.agent.conftest import (
    _entry_points_once,
    _labels_made_once,
    _one_tls_context,
    run,
    template,
    workspace,
)

__all__ = ["_entry_points_once", "_labels_made_once", "_one_tls_context", "run", "template", "workspace"]
