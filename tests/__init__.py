"""Tests of exegete; the folders mirror those of the package."""
