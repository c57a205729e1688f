"""Talking to models: providers behind one protocol, and the journal that remembers every paid reply."""
