"""Tests of the nouns and where they are kept."""
