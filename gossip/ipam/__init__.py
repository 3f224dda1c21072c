"""Who owns which addresses of a network, and which of the own ones are in use (pure)."""
