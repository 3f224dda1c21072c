"""key show, key rotate: this host's own keys.

Rule: `show` asks no daemon, because it is for a host that has not joined yet: it reads the state directory, and in
text form the key stands alone on stdout.  A key that is shown is the public one.
"""

import os
from typing import Any

import click

from meshnet.cli import output
from meshnet.cli.verbs import Group, Settings, pass_settings, verb
from meshnet.config import DEFAULT_STATE_DIR

__all__ = ["key"]


@click.group("key", cls=Group)
def key() -> None:
    """This host's keys."""


@verb(key, "show")
@click.option("--state-dir", metavar="DIR", help=f"Keys and state [{DEFAULT_STATE_DIR}].")
@pass_settings
def show(settings: Settings, /, *, state_dir: str | None) -> None:
    """Print this host's KEY, which it has (or will join with), for `meshnet peer allow KEY`."""
    from meshnet.control.keys.identity_file import public_key

    places = settings.places(state_dir)
    shown = public_key(places.state_dir, os.urandom).hex()
    member = places.keys.exists()
    if settings.json:
        output.json_data({"schema": "meshnet.identity/v1", "key": shown, "member": member})
        return
    output.say("this host is a peer of a mesh by this key:" if member else "this host will join with this key:")
    output.data(shown)


@verb(key, "rotate")
@pass_settings
def rotate(settings: Settings) -> None:
    """Replace this host's X25519 key; its identity, sessions and addresses stay."""
    answer: dict[str, Any] = settings.ask("POST", "/v1/key/rotate")
    if settings.json:
        output.json_data(answer)
        return
    output.say(
        "this host has a new X25519 key; the old one, and tokens made with it, are good until"
        f" {output.clean(answer.get('old_until'))}"
    )
