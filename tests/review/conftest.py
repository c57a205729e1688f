"""Evidence of known truth and jobs on it, as the agent's tests have them."""

from __future__ import annotations

from tests.agent.conftest import *  # noqa: F403 (fixtures, by its __all__)
