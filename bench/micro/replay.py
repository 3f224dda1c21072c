"""crypto/replay.py: a check and an accept, as they come. HOT PATH: once per record received."""

from __future__ import annotations

from collections.abc import Callable

from crypto.replay import ReplayWindow


def cases() -> dict[str, Callable[[], object]]:
    """Records in order, records that swapped places in pairs, a duplicate, and a gap of a thousand."""
    return {"in-order": advancing(1), "swapped": swapped(), "duplicate": duplicate(), "gap-1000": advancing(1000)}


def advancing(step: int) -> Callable[[], object]:
    window = ReplayWindow()

    def case() -> bool:
        counter = window.highest + step
        return window.check(counter) and window.accept(counter)

    return case


def swapped() -> Callable[[], object]:
    """Two records a call."""
    window = ReplayWindow()

    def case() -> bool:
        counter = window.highest + 1
        late = window.check(counter + 1) and window.accept(counter + 1)
        return late and window.check(counter) and window.accept(counter)

    return case


def duplicate() -> Callable[[], object]:
    window = ReplayWindow()
    window.accept(5000)
    return lambda: window.check(5000)
