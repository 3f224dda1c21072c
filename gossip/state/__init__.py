"""What is signed and held: statements, their bodies, the view, this peer's copy of it (pure)."""
