"""exegete: an agent that labels the features of neural networks, and says how far to trust each label."""

__version__ = "0.1.0"
