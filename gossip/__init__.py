"""The mesh's shared state: signed statements, their merge and spread, and the addresses they hand out (pure)."""
