"""token create: the word that lets other hosts in.

Rule: in text form the token stands alone on stdout, so that it can be piped; all else is on stderr.
"""

import re
from typing import Any

import click

from meshnet.cli import output
from meshnet.cli.verbs import Group, Settings, pass_settings, verb
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["token"]

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?")


@click.group("token", cls=Group)
def token() -> None:
    """Tokens that let hosts join."""


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
