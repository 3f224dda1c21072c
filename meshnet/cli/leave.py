"""leave: take this host out of its mesh for good.

Rule: what cannot be undone is asked for, on a terminal or by --yes.  Workloads lose their addresses, ranges go to
another peer, both processes end; keys and state are put aside as *.left or, with --wipe, deleted.
"""

import sys
from typing import Any

import click

from meshnet.cli import output
from meshnet.cli.lifecycle import end_daemon
from meshnet.cli.verbs import Settings, pass_settings, verb
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["leave"]


@verb()
@click.option("--wipe", is_flag=True, help="Delete keys and state instead of putting them aside.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_settings
def leave(settings: Settings, /, *, wipe: bool, yes: bool) -> None:
    """Take this host out of the mesh for good, and hand back all it holds."""
    if not yes:
        _ask()
    answer = end_daemon(settings, "/v1/leave", {"wipe": wipe})
    if settings.json:
        output.json_data(answer)
        return
    told = ", ".join(map(output.clean, answer.get("told", ()))) or "nobody: it was the last peer"
    output.say(f"this host has left the mesh (told: {told}); {_count(answer)} detached")
    state = "deleted" if wipe else "put aside as *.left in the state directory"
    output.say(f"keys and state are {state}; `{settings.line('join TOKEN')}` joins anew")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise MeshnetError(
            "leaving needs a yes",
            "every workload of this host loses its address, and nothing brings this peer back",
            "run `meshnet leave --yes`",
            ExitCode.USAGE,
        )
    question = "Take this host out of the mesh for good? Its workloads lose their addresses"
    if not click.confirm(question, err=True):
        raise click.Abort


def _count(answer: dict[str, Any]) -> str:
    count = answer.get("detached", 0)
    return "no workload was" if count == 0 else "one workload was" if count == 1 else f"{count} workloads were"
