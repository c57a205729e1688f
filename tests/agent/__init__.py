"""Tests of exegete.agent."""
