"""The one error of the host side: the kernel said no.

Purpose: whatever fails between meshnet and the kernel (TAP, sockets, netlink, namespaces, sysctls) reaches
the operator as three lines: what failed, why (with the errno's name), and what to do about it.
Rule: nothing of pyroute2, pytun or ctypes leaves this package as an exception; `OSError`s are named here.
Reference: errno(3).
"""

from __future__ import annotations

import errno
import os

USUAL_FIXES = {
    errno.EPERM: "run as root, or give the process CAP_NET_ADMIN",
    errno.EACCES: "run as root, or give the process CAP_NET_ADMIN",
    errno.EEXIST: "remove or rename the interface that holds the name: see `ip link`",
    errno.ENODEV: "look at `ip link`: the interface is gone",
    errno.EBUSY: "see who holds it: `ip -d link`, `ip tuntap`",
    errno.EOPNOTSUPP: "this kernel lacks the feature: Linux 5.15 or newer is needed",
    errno.ENETUNREACH: "add a route: see `ip route`",
    errno.EHOSTUNREACH: "add a route: see `ip route`",
}
UNUSUAL_FIX = "see `dmesg` and `ip -d link`"


class HostError(Exception):
    """The kernel refused something. `what`, `why` and `fix` are one line each; `errno` is 0 when there is
    none.
    """

    def __init__(self, what: str, why: str, fix: str, *, code: int = 0) -> None:
        super().__init__(what, why, fix)
        self.what = what
        self.why = why
        self.fix = fix
        self.errno = code

    def __str__(self) -> str:
        return f"{self.what}: {self.why} ({self.fix})"


def reason(code: int, message: str = "") -> str:
    """Name an errno, e.g. "EEXIST (17): File exists"; `message` replaces the C library's words."""
    name = errno.errorcode.get(code, "error")
    return f"{name} ({code}): {message or os.strerror(code)}"


def os_reason(error: OSError) -> str:
    """Name the errno of an `OSError`, or its own words where it carries none."""
    return reason(error.errno) if error.errno else str(error)


def refused(what: str, code: int, *, message: str = "", fix: str = "") -> HostError:
    """Build the error for an errno; without `fix` the usual remedy of that errno is named."""
    return HostError(what, reason(code, message), fix or USUAL_FIXES.get(code, UNUSUAL_FIX), code=code)


def os_refused(what: str, error: OSError, *, fix: str = "") -> HostError:
    """Build the error for an `OSError`."""
    if not error.errno:
        return HostError(what, str(error), fix or UNUSUAL_FIX)
    return refused(what, error.errno, fix=fix)
