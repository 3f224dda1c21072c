"""launch, join, start, stop: a daemon's life.

Rule: one state directory is one peer of one mesh for ever: launch and join change nothing where there is one and
name `start`.  Each prints the next command to type.  Reference: design §3 (joining), §9.
"""

import os
import re
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from meshnet.cli import output, spawn
from meshnet.cli.client import Client
from meshnet.cli.invocation import Action, Invocation
from meshnet.cli.private_input import by_password, by_token, read_password, read_token
from meshnet.cli.verbs import Settings, pass_settings, verb, warn_of_skew
from meshnet.config import DEFAULT_PORT, DEFAULT_RANGE, DEFAULT_STATE_DIR, Options, Places
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["end_daemon", "join", "launch", "start", "stop"]

STOP_S = 20.0
POLL_S = 0.05
TARGETS = "TARGET: a namespace's name or path, or a pid"

_HOST = re.compile(r"[0-9A-Za-z_][0-9A-Za-z._-]{0,252}|[0-9A-Fa-f:.]{2,45}")

Command = Callable[..., None]


def _password_option(text: str) -> Callable[[Command], Command]:
    return click.option("--password-file", metavar="FILE", help=text)


def _state_options(command: Command) -> Command:
    command = click.option("--foreground", is_flag=True, help="Be the daemon; log to stderr.")(command)
    return click.option("--state-dir", metavar="DIR", help=f"Keys and state [{DEFAULT_STATE_DIR}].")(command)


def _peer_options(command: Command) -> Command:
    command = click.option("--underlay-mtu", metavar="BYTES", help="Largest packet between the hosts [the route's].")(
        command
    )
    command = click.option(
        "--advertise",
        metavar="HOST[:PORT]",
        multiple=True,
        help="Where the other hosts find this one [its own addresses]; may be repeated.",
    )(command)
    command = click.option(
        "--listen",
        metavar="HOST:PORT",
        multiple=True,
        help=f"TCP and UDP address [every one, port {DEFAULT_PORT}]; may be repeated.",
    )(command)
    return click.option("--name", help="This peer's name [the host's].")(command)


@verb()
@_peer_options
@click.option("--range", metavar="CIDR", help=f"Addresses of the default network [{DEFAULT_RANGE}].")
@click.option("--cipher", metavar="aes|chacha|auto", default="auto", help="The mesh's cipher, for good [auto].")
@_password_option("Let hosts join by the password in FILE, too; `-`: from stdin.")
@_state_options
@pass_settings
def launch(settings: Settings, /, *, password_file: str | None, **given: Any) -> None:
    """Found a mesh on this host, and print the line that joins others."""
    read = None if password_file is None else lambda: by_password(read_password(password_file))
    _first_start(settings, "launch", read, **given)


@verb()
@click.argument("token")
@_peer_options
@_password_option("Join by the password in FILE (`-`: from stdin); TOKEN is then a member's HOST[:PORT].")
@_state_options
@pass_settings
def join(settings: Settings, /, *, token: str, password_file: str | None, **given: Any) -> None:
    """Join the mesh of TOKEN: the token itself, `-` for stdin, or @FILE."""

    def read() -> str:
        if password_file is None:
            return by_token(read_token(token))
        address = _join_address(token)
        return by_password(read_password(password_file), address)

    _first_start(settings, "join", read, **given)


@verb()
@_state_options
@pass_settings
def start(settings: Settings, /, *, state_dir: str | None, foreground: bool) -> None:
    """Start the daemon of a host that has a mesh."""
    places = settings.places(state_dir)
    if places.state_dir.is_dir() and os.access(places.state_dir, os.X_OK) and not places.keys.exists():
        raise MeshnetError(
            "this host has no mesh yet",
            f"there is no {places.keys}",
            "run `meshnet launch`, or `meshnet join TOKEN`; for another place give --state-dir",
        )
    _bring_up(settings, Invocation(places, "start", None, foreground), None)


@verb()
@pass_settings
def stop(settings: Settings) -> None:
    """End the daemon and its forwarder; keys, addresses and state stay."""
    answer = end_daemon(settings, "/v1/stop", None)
    if settings.json:
        output.json_data(answer)
    else:
        output.say(f"stopped; `{settings.line('start')}` resumes (with --state-dir where it was given one)")


def _first_start(
    settings: Settings,
    action: Action,
    read: Callable[[], str] | None,
    *,
    state_dir: str | None,
    foreground: bool,
    **given: Any,
) -> None:
    """Begin a new state; `read` gives what goes through the secret's pipe, once all else is known to be right."""
    places = settings.places(state_dir)
    options = Options.parse(hostname=os.uname().nodename, **given)
    _refuse_second_mesh(settings, places)
    secret = None if read is None else read()
    _bring_up(settings, Invocation(places, action, options, foreground), secret)


def _refuse_second_mesh(settings: Settings, places: Places) -> None:
    if os.path.lexists(places.keys):
        where = "" if places.state_dir == Path(DEFAULT_STATE_DIR) else f" --state-dir {places.state_dir}"
        raise MeshnetError(
            "this host has a mesh already; nothing was changed",
            f"its keys are in {places.keys}",
            f"run `{settings.line('start')}{where}`, or give another --state-dir",
        )


def _join_address(text: str) -> str:
    """`HOST:PORT` of what was typed as HOST, HOST:PORT, an IPv6 address or [V6]:PORT; HOST may be a name."""
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("[") and "]" in text:
        host, rest = text[1:].split("]", 1)
        port = rest[1:] if rest.startswith(":") else port if not rest else ""
    elif text.count(":") == 1:
        host, port = text.split(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
    if not _HOST.fullmatch(host) or host.startswith("mesh1-") or not 0 < number < 1 << 16:
        raise MeshnetError(
            "this is no host to join at",  # not quoted, nor looked up: it may be a token
            "with --password-file the argument is HOST or HOST:PORT",
            f"for example `meshnet join 192.0.2.7:{DEFAULT_PORT} --password-file FILE`",
            ExitCode.USAGE,
        )
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _bring_up(settings: Settings, invocation: Invocation, secret: str | None) -> None:
    def report(message: spawn.Ready) -> None:
        _report(settings, invocation, message)

    if invocation.foreground:
        spawn.become(invocation, secret, report)
    report(spawn.start(invocation, secret))


def _report(settings: Settings, invocation: Invocation, message: spawn.Ready) -> None:
    """Say that the daemon is ready, and the next command to type."""
    state = message.get("state") or {}
    line = message.get("join")
    if settings.json:
        output.json_data({"schema": "meshnet.started/v1", "action": invocation.action, "join": line, "status": state})
        return
    peer, mesh = state.get("peer", {}), state.get("mesh", {})
    known = len(state.get("peers", ()))
    output.say(
        f"this host is peer {output.clean(peer.get('name'))} of mesh {output.clean(mesh.get('id'))},"
        f" {known} other {'peer' if known == 1 else 'peers'} known"
    )
    for notice in state.get("notices", ()):
        output.say(f"! {output.notice(notice)}")
    if isinstance(line, str):
        output.say("on each other host run this line (good for 10 hosts, 1 hour):")
        output.data(line)
        output.say(f"then, here and there: `{settings.line('attach TARGET')}` ({TARGETS})")
    else:
        output.say(f"next: `{settings.line('attach TARGET')}` ({TARGETS}), `{settings.line('status')}`")


def end_daemon(settings: Settings, path: str, body: object) -> dict[str, Any]:
    """Ask for what ends the daemon and wait for its end; returns its answer, raises MeshnetError."""
    client = settings.client()
    answer, ended = _end(client, path, body)
    warn_of_skew(client)
    if not ended:
        raise MeshnetError(
            "meshnetd has not ended yet",
            f"it agreed to stop {STOP_S:g} s ago",
            f"look at {settings.places().log}",
            ExitCode.TIMED_OUT,
        )
    return answer


def _end(client: Client, path: str, body: object) -> tuple[dict[str, Any], bool]:
    """The answer, and whether the daemon's process ended within STOP_S."""
    client.request("GET", "/v1/status")  # tells whose process answers, so that its end can be awaited
    deadline = time.monotonic() + STOP_S
    try:
        watch = os.pidfd_open(client.daemon_pid)
    except (OSError, ValueError):  # a daemon of another pid namespace: its socket has to tell
        answer = client.request("POST", path, body)
        while client.running() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return answer, not client.running()
    try:
        answer = client.request("POST", path, body)
        return answer, _ended([watch], deadline)
    finally:
        os.close(watch)


def _ended(watch: Sequence[int], deadline: float) -> bool:
    left = max(0.0, deadline - time.monotonic())
    return bool(select.select(watch, [], [], left)[0])
