"""Who is in the mesh, who counts, whom links reach (pure)."""
