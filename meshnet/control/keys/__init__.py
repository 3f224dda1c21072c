"""This host's keys and secrets: what they are, where they are kept, how they are replaced."""
