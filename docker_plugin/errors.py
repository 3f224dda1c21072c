"""The errors of the plugin, and how each is answered.

Rule: `Refused` is what a backend or a driver says no with: HTTP 500 and a text that an operator of Docker reads.
`BadRequest` is a body that means nothing: HTTP 400.  404 is for unknown paths alone, because libnetwork reads it as
"this method is not implemented".
"""

__all__ = ["BadRequest", "PluginError", "Refused"]

TEXT_LIMIT = 1_000


class PluginError(Exception):
    """The root of this package's errors."""

    status = 500

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(text.split())[:TEXT_LIMIT] or "refused")


class Refused(PluginError):
    """The request is understood and cannot be granted."""


class BadRequest(PluginError):
    """The body is not what libnetwork sends."""

    status = 400
