"""Whose static key is whose: the newest counts, a replaced one for ten minutes, another's word takes nothing."""

from __future__ import annotations

from meshnet.control.links.statics import OLD_STATIC_S, Statics

A, B = b"a" * 32, b"b" * 32
X, Y, Z = b"x" * 32, b"y" * 32, b"z" * 32


def test_a_key_is_whose_statement_names_it() -> None:
    statics = Statics()
    assert statics.owner(X, 0.0) is None
    statics.learn(A, X, 0.0)
    statics.learn(A, X, 1.0)
    assert statics.owner(X, 1e9) == A
    statics.forget(A)
    assert statics.owner(X, 1.0) is None


def test_a_replaced_key_counts_a_while_longer() -> None:
    statics = Statics()
    statics.learn(A, X, 0.0)
    statics.learn(A, Y, 100.0)
    assert statics.owner(X, 99.0 + OLD_STATIC_S) == statics.owner(Y, 1e9) == A
    assert statics.owner(X, 100.0 + OLD_STATIC_S) is None
    statics.expire(100.0 + OLD_STATIC_S)
    assert X not in statics._owners
    assert statics.owner(Y, 1e9) == A


def test_only_one_replaced_key_is_kept() -> None:
    statics = Statics()
    for now, static in enumerate((X, Y, Z)):
        statics.learn(A, static, float(now))
    assert [statics.owner(static, 3.0) for static in (X, Y, Z)] == [None, A, A]
    assert len(statics._owners) == 2
    statics.forget(A)
    assert not statics._owners


def test_who_names_anothers_key_does_not_get_it() -> None:
    statics = Statics()
    statics.learn(A, X, 0.0)
    statics.learn(B, X, 1.0)
    assert statics.owner(X, 2.0) == A
    statics.forget(B)
    assert statics.owner(X, 2.0) == A


def test_a_key_taken_back_is_the_current_one_again() -> None:
    statics = Statics()
    statics.learn(A, X, 0.0)
    statics.learn(A, Y, 1.0)
    statics.learn(A, X, 2.0)
    assert statics.owner(X, 1e9) == A
    assert statics.owner(Y, 2.0) == A
    statics.expire(1e9)
    assert statics.owner(X, 1e9) == A
    assert statics.owner(Y, 2.0) is None
