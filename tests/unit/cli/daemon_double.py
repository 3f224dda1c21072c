"""What the start of a daemon looks like from the daemon's side; run as its process by the tests of `spawn`.

The first argument says how to behave, the others are the daemon's own.  It writes what it sees to RUN/seen.json.
"""

import json
import os
import signal
import sys

from meshnet.cli.invocation import Invocation
from tests.unit.cli.fake import STATUS, TOKEN


def main() -> None:
    """Look around, then be ready, fail, die, or say nothing."""
    behaviour, invocation = sys.argv[1], Invocation.parse(sys.argv[3:])
    secret = None
    if invocation.secret_fd is not None:
        with os.fdopen(invocation.secret_fd) as pipe:
            secret = pipe.read()
    seen = {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "argv": sys.argv[2:],
        "environ": dict(os.environ),
        "secret": secret,
        "stdin": os.readlink("/proc/self/fd/0"),
        "stderr": os.readlink("/proc/self/fd/2"),
        "cwd": os.getcwd(),
    }
    (invocation.places.run_dir / "seen.json").write_text(json.dumps(seen))
    print("the daemon speaks", file=sys.stderr, flush=True)
    assert invocation.ready_fd is not None
    if behaviour == "die":
        sys.exit(9)
    if behaviour == "silent":
        signal.pause()
    error = {"what": "port in use", "why": "EADDRINUSE", "fix": "give --listen", "code": 1}
    joined = TOKEN["join"] if invocation.action == "launch" else None
    messages = {
        "ready": json.dumps({"ready": True, "state": STATUS, "join": joined}),
        "fail": json.dumps({"error": error}),
        "nonsense": "[]",
    }
    os.write(invocation.ready_fd, messages[behaviour].encode() + b"\n")
    os.close(invocation.ready_fd)
    if behaviour == "ready" and not invocation.foreground:
        signal.pause()


if __name__ == "__main__":
    main()
