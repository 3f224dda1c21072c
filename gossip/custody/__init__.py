"""Whose address ranges are whose, and how the long chains of grants are settled into registers (pure)."""
