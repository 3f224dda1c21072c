"""peer ls, connect, forget, revoke, allow: the other hosts of the mesh, where they are, and who may be one.

Rule: what an admin does to others is answered with whom it touched; no question is asked.
Reference: docs/membership.md.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

from meshnet.cli import output
from meshnet.cli.verbs import Group, Settings, pass_settings, verb
from meshnet.config import DEFAULT_PORT, parse_address
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["peer", "peer_table"]

HEADINGS = ("PEER", "ADDRESS", "STATE", "PATH", "MTU", "RX/TX", "SESSION", "HEARD", "ID")
SHORT_ID = 12
MAX_SERIAL = (1 << 53) - 1
_PEER = re.compile(r"[0-9a-z-]{1,64}")
_KEY = re.compile(r"[0-9a-f]{64}")


@click.group("peer", cls=Group)
def peer() -> None:
    """The hosts of the mesh."""


@verb(peer, "ls")
@pass_settings
def ls(settings: Settings) -> None:
    """List the other peers."""
    answer = settings.ask("GET", "/v1/peers")
    if settings.json:
        output.json_data(answer)
        return
    peers = answer["peers"]
    if not peers:
        output.say(f"no other peer yet; `{settings.line('token create')}` makes a token to join with")
    for line in peer_table(peers, output.coloured(settings.no_color)):
        output.data(line)


@verb(peer, "connect")
@click.argument("name", metavar="NAME|ID")
@click.argument("addresses", metavar="HOST[:PORT]...", nargs=-1, required=True)
@pass_settings
def connect(settings: Settings, /, *, name: str, addresses: tuple[str, ...]) -> None:
    """Tell this host where the peer NAME (or the one whose ID begins so) is, and connect to it now.

    For a peer that others see elsewhere (behind a NAT) or that moved: HOST is an IP address, PORT the one that leads to
    its meshnet. An address alone is not enough: a link is opened only to a peer whose identity this host knows, which
    is how it can tell that nobody else answers there. A new host joins by a token instead. The addresses stay, come
    before those the peer tells itself, and are used by this host alone, until `meshnet peer forget`.
    """
    answer = _ways(settings, "connect", name, addresses)
    if settings.json:
        output.json_data(answer)
        if not answer["linked"]:
            click.get_current_context().exit(int(ExitCode.FAILED))
        return
    if not answer["linked"]:
        tried = [f"{output.clean(one['address'])}: {output.clean(one['problem'])}" for one in answer["tried"]]
        raise MeshnetError(
            f"no link to {output.clean(answer['name'])} came up",
            "; ".join(tried) or "no address was tried",
            f"see that its meshnet runs and that TCP and UDP port {DEFAULT_PORT}, or the one it uses, lead there;"
            " the addresses are kept and tried again",
        )
    before = " already; the addresses are tried when that link has ended" if answer["linked_before"] else ""
    output.say(f"{output.clean(answer['name'])} ({output.clean(answer['id'])[:SHORT_ID]}) is linked{before}")
    output.say(_added(answer))


@verb(peer, "forget")
@click.argument("name", metavar="NAME|ID")
@click.argument("addresses", metavar="[HOST[:PORT]]...", nargs=-1)
@pass_settings
def forget(settings: Settings, /, *, name: str, addresses: tuple[str, ...]) -> None:
    """Take back addresses that `peer connect` added for the peer NAME (or the one whose ID begins so); none: all.

    The peer stays in the mesh, and links and sessions with it go on. To throw it out: `peer revoke`.
    """
    answer = _ways(settings, "forget", name, addresses)
    if settings.json:
        output.json_data(answer)
        return
    output.say(_added(answer))


@verb(peer, "revoke")
@click.argument("name", metavar="NAME|ID")
@click.option(
    "--issued-from",
    type=click.IntRange(0, MAX_SERIAL),
    metavar="SERIAL",
    help="Also void the certificates it issued from this number on [those it issues from now on].",
)
@click.option("--issued-all", is_flag=True, help="Also void every certificate it ever issued.")
@click.option("--reason", default="", help="One line for the other operators.")
@pass_settings
def revoke(settings: Settings, /, *, name: str, issued_from: int | None, issued_all: bool, reason: str) -> None:
    """Throw the peer NAME (or the one whose ID begins so) out of the mesh for good; needs the role admin."""
    _check_peer(name)
    request = {"issued_from": issued_from, "issued_all": issued_all, "reason": reason}
    answer = settings.ask("POST", f"/v1/peers/{quote(name)}/revoke", request)
    if settings.json:
        output.json_data(answer)
        return
    output.say(f"{output.clean(answer['name'])} ({output.clean(answer['id'])[:SHORT_ID]}) is out of the mesh")
    if answer["voids"]:
        output.say(f"out with it, by certificates that are void now: {', '.join(map(output.clean, answer['voids']))}")
    output.say(f"it knows the mesh secret until `{settings.line('secret rotate')}`")


@verb(peer, "allow")
@click.argument("key", required=False)
@click.option("--list-on", is_flag=True, help="From now on only who is on the list may be in; who is in is put on it.")
@click.option("--list-off", is_flag=True, help="End the list.")
@click.option("--remove", metavar="KEY", help="Take a key off the list, and its host out of the mesh.")
@pass_settings
def allow(settings: Settings, /, *, key: str | None, list_on: bool, list_off: bool, remove: str | None) -> None:
    """Put the host with this KEY (`meshnet key show`) on the allow-list; without any word, show the list."""
    given = (key is not None) + list_on + list_off + (remove is not None)
    if given > 1:
        why = "KEY, --list-on, --list-off and --remove exclude each other"
        raise MeshnetError("peer allow does one thing at a time", why, "give one of them", ExitCode.USAGE)
    text = key if key is not None else remove
    if text is not None and not _KEY.fullmatch(text):
        raise MeshnetError(
            f"{text[:80]!r} is no key",
            "a key is 64 hexadecimal digits",
            "run `meshnet key show` on the host that shall be allowed",
            ExitCode.USAGE,
        )
    body = {"key": text, "on": list_on or key is not None}
    answer = settings.ask("POST", "/v1/allow", body) if given else settings.ask("GET", "/v1/allow")
    if settings.json:
        output.json_data(answer)
        return
    output.say("the allow-list is on" if answer["enabled"] else "there is no allow-list; `--list-on` begins one")
    for line in [f"{output.clean(one['key'])}  {output.clean(one['name'] or '-')}" for one in answer["keys"]]:
        output.data(line)


def _check_peer(name: str) -> None:
    if not _PEER.fullmatch(name):
        raise MeshnetError(
            f"{name[:80]!r} is no peer",
            "a peer is named by its name or its id",
            "see `meshnet peer ls`",
            ExitCode.USAGE,
        )


def _ways(settings: Settings, act: str, name: str, addresses: Sequence[str]) -> dict[str, Any]:
    """The daemon's answer to one of the two acts on a peer's addresses."""
    _check_peer(name)
    literal = [str(parse_address(address)) for address in addresses]
    return settings.ask("POST", f"/v1/peers/{quote(name)}/{act}", {"addresses": literal})


def _added(answer: Mapping[str, Any]) -> str:
    """Which addresses this host keeps for a peer, in a line."""
    listed = ", ".join(map(output.clean, answer["addresses"]))
    return f"kept for {output.clean(answer['name'])} here: {listed or 'no address'}"


def peer_table(peers: Sequence[Mapping[str, Any]], colour: bool) -> list[str]:
    """The table of peers as status and `peer ls` show it; no line at all where there is no peer."""
    if not peers:
        return []
    return output.table(HEADINGS, [_row(one) for one in peers], colour)


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    traffic = f"{output.amount(one.get('rx_bytes'))}/{output.amount(one.get('tx_bytes'))}"
    heard = one.get("last_receive_s")
    return (
        f"{one.get('name')} (name twice)" if one.get("name_conflict") else one.get("name"),
        _address(one),
        state_of(one),
        one.get("path"),
        one.get("mtu"),
        traffic,
        output.age(one.get("session_age_s")),
        "-" if heard is None else f"{output.age(heard)} ago",
        str(one.get("id", ""))[:SHORT_ID],
    )


def _address(one: Mapping[str, Any]) -> str:
    """Where a peer is tried first."""
    added, said = one.get("added_addresses") or (), one.get("addresses") or ("-",)
    return f"{added[0]} (added)" if added else str(said[0])


def state_of(one: Mapping[str, Any]) -> str:
    """A peer's state in one word: without a session, one the gossip cannot reach either is unreachable."""
    state = str(one.get("state"))
    return "unreachable" if state in ("idle", "down") and one.get("reachable") is False else state
