"""The guard: removes a lab whose process died without doing so.

Flow: the lab starts `python -m tests.lab.guard PID` with a pipe as its stdin. The pipe ends when the lab's
process ends, by whatever death; then the guard sweeps the lab of PID and ends. It runs in a session of its
own and ignores the signals of a terminal, because it must outlive what those signals kill.
"""

from __future__ import annotations

import signal
import sys

from tests.lab.sweep import sweep


def main(argv: list[str]) -> int:
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sweep(int(argv[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
