"""What outlives a process: one SQLite file, checked, migrated, copied."""
