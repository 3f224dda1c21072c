"""The networks of the mesh, their numbers, and how one is founded (pure)."""
