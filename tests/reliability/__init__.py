"""Failures on demand, against whole jobs and real connections: docs/reliability.md has the list."""
