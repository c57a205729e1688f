"""Prompts as versioned files, and the one function that fills them in."""
