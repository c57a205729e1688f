"""Tests of exegete.prompts."""
