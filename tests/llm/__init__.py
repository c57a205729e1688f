"""Tests of exegete.llm."""
