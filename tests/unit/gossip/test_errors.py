from __future__ import annotations

import ast
from pathlib import Path

import gossip
from gossip.errors import REFUSAL_CODES, GossipError, LocalError, Refusal, RemoteError


def test_one_tree() -> None:
    assert issubclass(RemoteError, GossipError) and issubclass(Refusal, LocalError)
    refusal = Refusal("what", "why", "fix", "no-space")
    assert str(refusal) == "what: why"
    assert (refusal.what, refusal.why, refusal.fix, refusal.code) == ("what", "why", "fix", "no-space")


def test_refusals_use_the_words_that_are_listed_and_all_of_them() -> None:
    used: set[str] = set()
    for path in Path(gossip.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
                code = node.args[3]
                assert isinstance(code, ast.Constant) and isinstance(code.value, str)
                used.add(code.value)
    assert used == set(REFUSAL_CODES)
