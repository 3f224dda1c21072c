"""token create, ls, revoke, password: what lets other hosts in.

Rule: in text form the token stands alone on stdout, so that it can be piped; all else is on stderr.
"""

import re
from collections.abc import Mapping
from typing import Any

import click

from meshnet.cli import output
from meshnet.cli.private_input import read_password
from meshnet.cli.verbs import Group, Settings, pass_settings, verb
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["token"]

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?")


_ID = re.compile(r"[0-9a-f]{16}")
HEADINGS = ("TOKEN", "LEFT", "USES", "ROLES", "EXPIRES", "USED BY")
SHORT_ID = 12
SHOWN_USERS = 4


@click.group("token", cls=Group)
def token() -> None:
    """Tokens, and the password, that let hosts join."""


@verb(token, "create")
@click.option("--uses", type=click.IntRange(1, 10_000), default=1, help="How many hosts may join with it [1].")
@click.option("--ttl", default="1h", metavar="TIME", help="How long it is good, as 90s, 15m, 1h30m, 2d [1h].")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(["invite", "admin"]),
    help="What who joins may do; may be repeated.",
)
@pass_settings
def create(settings: Settings, /, *, uses: int, ttl: str, roles: tuple[str, ...]) -> None:
    """Print a new token."""
    seconds = parse_duration("--ttl", ttl)
    request = {"uses": uses, "ttl_s": seconds, "roles": sorted(set(roles))}
    answer: dict[str, Any] = settings.ask("POST", "/v1/tokens", request)
    if settings.json:
        output.json_data(answer)
        return
    hosts = "one host" if answer["uses"] == 1 else f"{answer['uses']} hosts"
    output.say(f"good for {hosts} until {output.clean(answer['expires_at'])}; there run `meshnet join` with it:")
    output.data(output.clean(answer["token"]))


@verb(token, "ls")
@pass_settings
def ls(settings: Settings) -> None:
    """List this host's tokens that have not expired, and the peers that used them."""
    answer = settings.ask("GET", "/v1/tokens")
    if settings.json:
        output.json_data(answer)
        return
    rows = [_row(one) for one in answer["tokens"]]
    if not rows:
        output.say(f"this host has no token that is still good; `{settings.line('token create')}` makes one")
        return
    for line in output.table(HEADINGS, rows, output.coloured(settings.no_color)):
        output.data(line)


@verb(token, "revoke")
@click.argument("token_id", metavar="ID")
@pass_settings
def revoke(settings: Settings, /, *, token_id: str) -> None:
    """Make the token ID (as `token ls` lists it) good for nobody; who joined by it stays."""
    if not _ID.fullmatch(token_id):
        raise MeshnetError(
            "this is no token's ID",  # not quoted: it may be the token itself
            "an ID is 16 hexadecimal digits",
            f"look at `{settings.line('token ls')}`",
            ExitCode.USAGE,
        )
    answer = settings.ask("DELETE", f"/v1/tokens/{token_id}")
    if settings.json:
        output.json_data(answer)
        return
    output.say(f"token {token_id} admits nobody any more; who joined by it stays (`meshnet peer revoke` ends that)")


@verb(token, "password")
@click.option("--password-file", metavar="FILE", help="Where the password is; `-`: stdin.")
@click.option("--off", is_flag=True, help="Admit nobody by password any more.")
@pass_settings
def password(settings: Settings, /, *, password_file: str | None, off: bool) -> None:
    """Let hosts join at this one by a password, any number of them, until it is switched off."""
    if (password_file is None) == (not off):
        raise MeshnetError(
            "token password needs one of two options",
            "it is given a file with the password, or switched off",
            f"`{settings.line('token password --password-file FILE')}` or `--off`",
            ExitCode.USAGE,
        )
    text = None if password_file is None else read_password(password_file)
    answer = settings.ask("POST", "/v1/password", {"password": text})
    if settings.json:
        output.json_data(answer)
    elif off:
        output.say("this host admits nobody by password any more; who joined by it stays")
    else:
        output.say("this host admits by password; elsewhere run `meshnet join HOST --password-file FILE`")


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    users = [str(identity)[:SHORT_ID] for identity in one["redeemed"]]
    more = len(users) - SHOWN_USERS
    shown = ", ".join(users[:SHOWN_USERS]) + (f" and {more} more" if more > 0 else "")
    return one["id"], one["left"], one["uses"], ",".join(one["roles"]), one["expires_at"], shown


def parse_duration(option: str, text: str) -> int:
    """Seconds of `90`, `90s`, `15m`, `1h30m` or `2d`; raises MeshnetError (USAGE) naming `option`."""
    match = _DURATION.fullmatch(text) if text and text.isascii() else None
    if match is None:
        raise MeshnetError(
            f"{option} {text[:20]!r} is not a duration",
            "a duration is a number with d, h, m or s",
            f"for example {option} 1h30m",
            ExitCode.USAGE,
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total <= 0:
        raise MeshnetError(
            f"{option} {text!r} is no time at all",
            "it must be at least one second",
            f"for example {option} 1h",
            ExitCode.USAGE,
        )
    return total
