"""The error tree: one root, and remote bytes apart from local mistakes."""

from __future__ import annotations

from crypto.errors import CryptoError, KeyFormatError, LocalError, RemoteError


def test_the_tree() -> None:
    assert issubclass(RemoteError, CryptoError) and issubclass(LocalError, CryptoError)
    assert issubclass(KeyFormatError, LocalError)
    assert not issubclass(RemoteError, LocalError) and not issubclass(LocalError, RemoteError)


def test_the_reason_is_the_text() -> None:
    for kind in (RemoteError, LocalError, KeyFormatError):
        error = kind("a reason")
        assert error.reason == str(error) == "a reason"
