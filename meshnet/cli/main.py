"""`meshnet`: the list of commands, and how each of them may end.

Rule: stdout stays empty on an error, which is three lines on stderr and an exit code (docs: 0 ok, 1 failed,
2 usage, 3 daemon not running, 4 permission, 5 not found, 6 timed out, 7 unhealthy, 130 interrupted, 141 nobody
reads); a traceback is shown with --debug only.
"""

import sys
from collections.abc import Sequence

import click

from meshnet import __version__
from meshnet.cli import output
from meshnet.cli.verbs import Group, Settings
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["commands", "main"]

INTERRUPTED = 130
COMMANDS = {
    "launch": "meshnet.cli.lifecycle:launch",
    "join": "meshnet.cli.lifecycle:join",
    "start": "meshnet.cli.lifecycle:start",
    "stop": "meshnet.cli.lifecycle:stop",
    "status": "meshnet.cli.status:status",
    "token": "meshnet.cli.token:token",
    "peer": "meshnet.cli.peer:peer",
    "secret": "meshnet.cli.secret:secret",
    "key": "meshnet.cli.key:key",
    "attach": "meshnet.cli.attach:attach",
    "detach": "meshnet.cli.attach:detach",
    "network": "meshnet.cli.network:network",
    "ipam": "meshnet.cli.ipam:ipam",
    "expose": "meshnet.cli.expose:expose",
    "hide": "meshnet.cli.expose:hide",
    "leave": "meshnet.cli.leave:leave",
    "docker": "meshnet.cli.docker:docker",
    "version": "meshnet.cli.version:version",
}


@click.group("meshnet", cls=Group, members=COMMANDS)
@click.version_option(__version__, prog_name="meshnet", message="%(prog)s %(version)s")
def commands() -> None:
    """One encrypted Ethernet segment for containers on many hosts.

    On the first host run `meshnet launch` and paste the line it prints on the others.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    settings = Settings()
    try:
        result = commands.main(args=arguments, prog_name="meshnet", standalone_mode=False, obj=settings)
    except MeshnetError as error:
        _trace(settings)
        output.complain(error)
        return int(error.code)
    except click.ClickException as error:
        error.show(sys.stderr)
        return int(ExitCode.USAGE) if isinstance(error, click.UsageError) else error.exit_code
    except (click.Abort, KeyboardInterrupt, EOFError):
        output.say("interrupted")
        return INTERRUPTED
    except Exception as error:
        if settings.debug:
            raise
        kind = f"{type(error).__name__}: {error}"
        output.complain(
            MeshnetError("this command met a fault of its own", kind, "run it again with --debug, and report it")
        )
        return int(ExitCode.FAILED)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _trace(settings: Settings) -> None:
    if settings.debug:
        import traceback

        output.say(traceback.format_exc().rstrip())
