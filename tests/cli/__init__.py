"""Tests of exegete.cli."""
