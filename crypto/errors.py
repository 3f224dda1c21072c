"""What the crypto package raises.

Rule: bytes that came from elsewhere may raise ``RemoteError`` and nothing else, so that a caller needs one
``except`` to survive a hostile peer. What the operator or this program did wrong is a ``LocalError``. A
reason is one plain line and never contains key material or the offending bytes.
Reference: design §4.8 (no remote byte can raise past the receive function).
"""

from __future__ import annotations


class CryptoError(Exception):
    """The root of the package's errors."""


class RemoteError(CryptoError):
    """Bytes from another peer were refused.

    ``reason`` is a short phrase that may be counted, logged and shown.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class LocalError(CryptoError):
    """An operator's input or a call of this program was wrong.

    ``reason`` is a short phrase that may be shown.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeyFormatError(LocalError):
    """Key material has the wrong length or type."""
