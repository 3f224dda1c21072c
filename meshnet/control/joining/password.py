"""The password of a mesh: how strong it must be, the key made of it, and switching it on and off.

Purpose: a second way in, for those who provision hosts by file.
Rule: only the key is kept, and only while this host admits by password. Whoever stands between a joiner and the
issuer can test guesses offline at the price of Argon2id each, so a password that fewer guesses than 10^15 (about
50 bits) find is refused on either side. The password never reaches an error, a log or a repr.
Reference: docs/threat-model.md; zxcvbn (Wheeler, USENIX Security 2016) estimates the guesses.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from crypto.errors import CryptoError
from crypto.password import password_key
from meshnet.control.joining.tokens import why_not_issue
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.errors import ExitCode, MeshnetError

GUESSES_LOG10 = 15.0
JUDGED = 72  # characters that are judged; more make it only stronger, and the estimate slower
MAX_PASSWORD = 1024  # characters
_STRONGER = "take a stronger one: `head -c 16 /dev/urandom | base32` makes one"


def check_strength(text: str) -> None:
    """Raise MeshnetError (USAGE) unless `text` is hard enough to guess; takes up to some 0.1 s."""
    if not text or len(text) > MAX_PASSWORD:
        raise MeshnetError(
            "this is no password",
            "it is empty" if not text else f"it has more than {MAX_PASSWORD} characters",
            _STRONGER,
            ExitCode.USAGE,
        )
    from zxcvbn import zxcvbn  # its word lists are large, and few hosts ever judge a password

    judged = zxcvbn(text[:JUDGED])
    guesses = float(judged["guesses_log10"])
    if guesses < GUESSES_LOG10:
        warning = str(judged["feedback"]["warning"]).rstrip(".")
        why = f"about 10^{guesses:.0f} guesses find it, and 10^{GUESSES_LOG10:.0f} are asked for"
        raise MeshnetError(
            "the password is too easy to guess", f"{why} ({warning})" if warning else why, _STRONGER, ExitCode.USAGE
        )


async def derive(text: str, mesh: bytes) -> bytes:
    """The 32-byte key of the password in `mesh` (16 bytes), made in a thread; raises MeshnetError."""
    try:
        return await asyncio.to_thread(password_key, text, mesh)
    except CryptoError as error:
        raise MeshnetError(
            "the password cannot be used", str(error), "it is text in UTF-8, and needs 64 MiB of memory", ExitCode.USAGE
        ) from None


async def set_password(keys: HostKeys, text: str | None) -> None:
    """Admit by the password `text` from now on, or (None) by none; stored on return.

    Raises MeshnetError: USAGE for a weak one, PERMISSION where this host may admit nobody.
    """
    key = None
    if text is not None:
        why = why_not_issue(keys.membership)
        if why is not None:
            raise MeshnetError(
                "this host may not admit by password",
                why,
                "set the password on the host that launched the mesh",
                ExitCode.PERMISSION,
            )
        await asyncio.to_thread(check_strength, text)
        key = await derive(text, keys.membership.mesh)
    await keys.change(lambda held: replace(held, password_key=key))
