"""Planted faults: each breaks one rule on purpose and must turn the check of that rule's real test red."""
