"""Give up every privilege for good: no_new_privs, no capability in any set, an own uid and gid, no core dumps.

Called after everything is imported and before the first byte from a peer is read; descriptors that needed a privilege
to open arrive ready to use (capabilities(7), prctl(2)).
"""

import ctypes
import grp
import os
import pwd
import resource
from typing import Final

__all__ = ["FORWARDER_USER", "drop_privileges"]

FORWARDER_USER: Final = "meshnet"
NOBODY: Final = 65_534
PR_SET_DUMPABLE: Final = 4
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
LAST_CAPABILITY: Final = 63


def drop_privileges() -> None:
    """Become an unprivileged process; does nothing more than forbid new privileges when not started as root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.geteuid() == 0:
        uid, gid = _identity()
        for capability in range(LAST_CAPABILITY + 1):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        # Leaving uid 0 in all three ids clears the permitted, effective and ambient sets (capabilities(7)).
        os.setresuid(uid, uid, uid)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _identity() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(FORWARDER_USER)
        return entry.pw_uid, entry.pw_gid
    except KeyError:
        pass
    try:
        return NOBODY, grp.getgrnam("nogroup").gr_gid
    except KeyError:
        return NOBODY, NOBODY
