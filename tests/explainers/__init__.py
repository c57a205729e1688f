"""Tests of exegete.explainers."""
