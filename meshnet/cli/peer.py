"""peer ls: the other hosts of the mesh, one line each."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from meshnet.cli import output
from meshnet.cli.verbs import Group, Settings, pass_settings, verb

__all__ = ["peer", "peer_table"]

HEADINGS = ("PEER", "ADDRESS", "STATE", "PATH", "MTU", "RX/TX", "SESSION", "HEARD", "ID")
SHORT_ID = 12


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


def peer_table(peers: Sequence[Mapping[str, Any]], colour: bool) -> list[str]:
    """The table of peers as status and `peer ls` show it; no line at all where there is no peer."""
    if not peers:
        return []
    return output.table(HEADINGS, [_row(one) for one in peers], colour)


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    addresses = one.get("addresses") or ["-"]
    traffic = f"{output.amount(one.get('rx_bytes'))}/{output.amount(one.get('tx_bytes'))}"
    heard = one.get("last_receive_s")
    return (
        one.get("name"),
        addresses[0],
        state_of(one),
        one.get("path"),
        one.get("mtu"),
        traffic,
        output.age(one.get("session_age_s")),
        "-" if heard is None else f"{output.age(heard)} ago",
        str(one.get("id", ""))[:SHORT_ID],
    )


def state_of(one: Mapping[str, Any]) -> str:
    """A peer's state in one word: without a session, one the gossip cannot reach either is unreachable."""
    state = str(one.get("state"))
    return "unreachable" if state in ("idle", "down") and one.get("reachable") is False else state
