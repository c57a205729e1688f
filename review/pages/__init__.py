"""The review page: what a card shows, in which order cards come, and what its buttons do."""
