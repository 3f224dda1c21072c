"""Whole meshes of real cores under virtual time: a seed is a mesh's life, and replays exactly."""
