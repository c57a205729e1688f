"""The nouns of exegete, and where they are kept."""
