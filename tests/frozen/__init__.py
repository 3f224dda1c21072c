"""One of every message of wire version 1, made from fixed keys and counted entropy, and kept as a file.

Purpose: bytes that a peer of another build sends must stay readable; a change of the wire that nobody meant turns
tests/test_frozen.py red.
Flow: `python -m tests.frozen` prints the transcript; wire-1.json is what it printed when the version was fixed.
Rule: once a version is released its file does not change. A change that is meant makes a new version and a new file,
and the old file must still be readable for as long as the old version is.
Reference: docs/wire.md.
"""
