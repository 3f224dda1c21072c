"""secret rotate, status, finish, accept: replacing the mesh secret while the mesh runs.

Rule: text goes to stderr but for `status`, whose lines are data; whoever would be, or was, cut off is named.
Reference: docs/membership.md.
"""

from collections.abc import Mapping
from typing import Any

import click

from meshnet.cli import output
from meshnet.cli.client import Client
from meshnet.cli.private_input import read_token
from meshnet.cli.verbs import Group, Settings, pass_settings, verb

__all__ = ["secret", "secret_lines"]

ACCEPT_S = 120.0
"""A token's addresses are tried one after the other; the daemon answers once it has the secret or knows why not."""
PHASES = {
    "install": "being handed out",
    "switch": "in use; the one before is still accepted",
    "drop": "in use; the one before is accepted no more",
}


@click.group("secret", cls=Group)
def secret() -> None:
    """The mesh secret, which all members know and strangers do not."""


@verb(secret, "rotate")
@pass_settings
def rotate(settings: Settings) -> None:
    """Replace the mesh secret everywhere, or go on with a replacement that was begun; needs the role admin."""
    answer = settings.ask("POST", "/v1/secret/rotate")
    if settings.json:
        output.json_data(answer)
        return
    generation = output.clean((answer.get("rotation") or {}).get("generation"))
    output.say(
        f"the mesh gets secret {generation}; it goes on by itself, traffic does too;"
        f" `{settings.line('secret status')}` says how far it is"
    )


@verb(secret, "status")
@pass_settings
def status(settings: Settings) -> None:
    """Show how far the replacement of the mesh secret is, and who lacks the new one."""
    answer = settings.ask("GET", "/v1/secret")
    if settings.json:
        output.json_data(answer)
        return
    for line in secret_lines(answer):
        output.data(line)


@verb(secret, "finish")
@click.option("--force", is_flag=True, help="Cut off the hosts that lack the new secret.")
@pass_settings
def finish(settings: Settings, /, *, force: bool) -> None:
    """Have the old mesh secret refused everywhere now; needs the role admin."""
    answer = settings.ask("POST", "/v1/secret/finish", {"force": force})
    if settings.json:
        output.json_data(answer)
        return
    output.say("the old mesh secret is accepted no more")
    cut_off = answer.get("cut_off") or []
    if cut_off:
        names = ", ".join(output.clean(name) for name in cut_off)
        output.say(f"cut off: {names}; each needs `meshnet secret accept TOKEN`")


@verb(secret, "accept")
@click.argument("token")
@pass_settings
def accept(settings: Settings, /, *, token: str) -> None:
    """Get the mesh secret by TOKEN (`-`: from stdin, `@FILE`: from a file), on a host that missed its replacement."""
    client = Client(settings.places().socket, timeout_s=ACCEPT_S)
    answer = client.request("POST", "/v1/secret/accept", {"token": read_token(token)})
    if settings.json:
        output.json_data(answer)
        return
    output.say(f"this host holds mesh secret {output.clean(answer.get('generation'))} now")


def secret_lines(answer: Mapping[str, Any]) -> list[str]:
    """The lines of `secret status`."""
    held = ", ".join(output.clean(generation) for generation in answer.get("held", ()))
    lines = [f"this host uses mesh secret {output.clean(answer.get('generation'))} and accepts {held}"]
    rotation = answer.get("rotation")
    if not rotation:
        return [*lines, "no rotation was ever begun"]
    state = PHASES.get(str(rotation.get("phase")), output.clean(rotation.get("phase")))
    lines.append(f"secret {output.clean(rotation.get('generation'))}, by {output.clean(rotation.get('by'))}: {state}")
    lacking = [output.clean(name) for name in rotation.get("lacking", ())]
    lines.append(f"lacking it: {', '.join(lacking)}" if lacking else "every member has it")
    return lines
