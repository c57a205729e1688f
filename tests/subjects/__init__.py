"""Tests of the models under study."""
