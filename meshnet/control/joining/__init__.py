"""The ways into a mesh, from both ends, and back from disk at a start."""
