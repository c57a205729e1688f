"""Tests of exegete.simulators."""
