"""The targets of the fuzzer: one per decoder of bytes that come from another host.

Rule: a target takes any bytes, and whatever it raises is a finding; the one error its decoder may raise is caught here.
Where a keyed hash or a tag stands before what is to be fuzzed, the target puts the right one, as a member could. State
that a target keeps between inputs is made anew after some thousand of them.

Flow: `TARGETS[name](data)`; `seeds(name)` are inputs that get far. `python -m tests.fuzz NAME` drives one with atheris,
tests/soak.sh all of them; tests/property/test_fuzz_targets.py gives each a few inputs.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import control, frames, handshakes, statements

Target = Callable[[bytes], None]

TARGETS: dict[str, Target] = {
    **handshakes.TARGETS,
    **statements.TARGETS,
    **control.TARGETS,
    **frames.TARGETS,
}


def seeds(name: str) -> list[bytes]:
    """Inputs that this target's decoder takes."""
    for module in (handshakes, statements, control, frames):
        if name in module.TARGETS:
            return [bytes(one) for one in module.seeds().get(name, [])]
    raise KeyError(name)
