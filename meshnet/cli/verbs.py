"""The shape every command shares: global options before or after the verb, and groups that load lazily.

Rule: a command's module is imported when it is run (or listed), so one command never pays for another; the last
word wins where a global option is given twice.  Reference: click's documentation, "Lazily Loading Subcommands".
"""

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from meshnet import __version__
from meshnet.cli import output
from meshnet.cli.client import TIMEOUT_S, Client
from meshnet.config import DEFAULT_RUN_DIR, Places

__all__ = ["Group", "Settings", "Verb", "pass_settings"]


@dataclass(slots=True)
class Settings:
    """The global options of one command."""

    run_dir: str = ""
    json: bool = False
    debug: bool = False
    no_color: bool = False

    def places(self, state_dir: str | None = None) -> Places:
        """The daemon's directories; raises MeshnetError (USAGE)."""
        return Places.of(self.run_dir or os.environ.get("MESHNET_RUN_DIR"), state_dir)

    def client(self, timeout_s: float = TIMEOUT_S) -> Client:
        """A client of the chosen daemon."""
        return Client(self.places().socket, timeout_s)

    def ask(self, method: str, path: str, body: object = None, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """One answer of the daemon; a daemon of another release is named on stderr."""
        client = self.client(timeout_s)
        answer = client.request(method, path, body)
        warn_of_skew(client)
        return answer

    def line(self, words: str) -> str:
        """A command to type that reaches the same daemon."""
        run_dir = self.places().run_dir
        return f"meshnet {words}" if run_dir == Path(DEFAULT_RUN_DIR) else f"meshnet --run-dir {run_dir} {words}"


def warn_of_skew(client: Client) -> None:
    """Say so when the daemon is of another release than this command."""
    if client.daemon_version not in (None, __version__):
        other = output.clean(client.daemon_version)
        output.say(f"note: meshnetd is version {other}, this command {__version__}; restart one of them")


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    name = parameter.name or ""
    if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
        setattr(context.ensure_object(Settings), name, value)


def _global_options() -> list[click.Parameter]:
    def option(*names: str, text: str, flag: bool = True) -> click.Option:
        return click.Option(names, is_flag=flag, expose_value=False, callback=_remember, help=text)

    return [
        option("--run-dir", text=f"The daemon's run directory [{DEFAULT_RUN_DIR}; MESHNET_RUN_DIR].", flag=False),
        option("--json", text="Write JSON to stdout."),
        option("--debug", "-v", "debug", text="Show where an error came from."),
        option("--no-color", "no_color", text="No colours, as with NO_COLOR."),
    ]


class Verb(click.Command):
    """A command that takes the global options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_global_options())


class Group(click.Group):
    """A group of commands, each "module:attribute", imported when it is needed."""

    def __init__(self, *args: Any, members: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_global_options())
        self.members = members or {}

    def list_commands(self, context: click.Context) -> list[str]:
        return [*self.members, *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.members:
            return super().get_command(context, name)
        module, _, attribute = self.members[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """click's, but an unknown verb is answered with the nearest ones."""
        name = args[0]
        if self.get_command(context, name) is None and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.list_commands(context), n=3)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" See `{context.command_path} --help`."
            context.fail(f"There is no command {name!r}.{hint}")
        return super().resolve_command(context, args)


def verb(group: click.Group | None = None, name: str | None = None) -> Callable[[Callable[..., None]], Verb]:
    """Make a function a command, of `group` where given."""

    def make(function: Callable[..., None]) -> Verb:
        command = click.command(name, cls=Verb)(function)
        if group is not None:
            group.add_command(command)
        return command

    return make
