"""Errors name the errno and always carry three lines."""

from __future__ import annotations

import errno

from meshnet.host.errors import UNUSUAL_FIX, HostError, os_reason, os_refused, reason, refused


def test_reason_names_the_errno() -> None:
    assert reason(errno.EEXIST) == "EEXIST (17): File exists"
    assert reason(errno.EINVAL, "mtu too small") == "EINVAL (22): mtu too small"
    assert reason(9999).startswith("error (9999)")


def test_refused_gives_the_usual_fix_unless_told_another() -> None:
    error = refused("cannot do it", errno.EPERM)
    assert (error.what, error.errno) == ("cannot do it", errno.EPERM)
    assert "CAP_NET_ADMIN" in error.fix
    assert str(error) == f"cannot do it: EPERM (1): Operation not permitted ({error.fix})"
    assert refused("x", errno.EPERM, fix="ask").fix == "ask"
    assert refused("x", errno.ENOSPC).fix == UNUSUAL_FIX


def test_an_oserror_without_errno_keeps_its_words() -> None:
    error = os_refused("x", OSError("odd"))
    assert isinstance(error, HostError)
    assert (error.why, error.errno, error.fix) == ("odd", 0, UNUSUAL_FIX)
    assert os_reason(OSError("odd")) == "odd"
    assert os_reason(OSError(errno.EBUSY, "x")).startswith("EBUSY (16)")
