"""Taking over what a peer that is dead for good owned (pure)."""
