"""The forwarder process: `python -m meshnet.forwarder forwarder --listener FD`, started by meshnetd.

It imports all it will ever need, drops every privilege, and then serves the boundary until it is told to stop or has
had no meshnetd for 300 s.  SIGINT is ignored: Ctrl-C reaches the whole process group, and meshnetd decides.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket

import uvloop

from meshnet.forwarder.facts import Facts
from meshnet.forwarder.loop import Loop
from meshnet.forwarder.privileges import drop_privileges
from meshnet.forwarder.state import State
from meshnet.forwarder.verbs import Verbs


async def serve(listener: socket.socket, owner: int) -> None:
    """Forward until told to stop."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    state = State()
    work = Loop(loop, state, Facts(state.drops))
    work.on_orphaned = ended.set
    verbs = Verbs(loop, work, listener, boot=os.urandom(8), owner=owner)
    verbs.on_stop = ended.set
    work.attended = False
    work.start()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    # Nothing on the hot path makes cycles; a collection would only stall the frames behind it.
    gc.collect()
    gc.freeze()
    gc.disable()
    await ended.wait()


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(prog="forwarder", description="meshnet's data plane; started by meshnetd")
    parser.add_argument("role", choices=["forwarder"])
    parser.add_argument("--listener", type=int, required=True, metavar="FD")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listener = socket.socket(fileno=options.listener)
    listener.setblocking(False)
    owner = os.getuid()
    plain = os.environ.get("MESHNET_LOOP") == "asyncio"
    factory = asyncio.new_event_loop if plain else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop()
        drop_privileges()
        runner.run(serve(listener, owner))


if __name__ == "__main__":
    main()
