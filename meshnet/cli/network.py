"""network create, ls, rm, registrar: the segments of the mesh.

Rule: `create` is a claim: where the name is founded already it joins that network or says how it differs; `rm` ends
this host's membership, `rm --everywhere` the network.  In text form the pools stand alone on stdout.  New networks need
the registrar; `registrar PEER` hands that on.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from meshnet.cli import output
from meshnet.cli.verbs import Group, Settings, pass_settings, verb
from meshnet.config import parse_name, parse_ranges
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["MAX_MTU", "MIN_MTU", "check_network", "network", "network_table"]

MIN_MTU, MAX_MTU = 576, 60_000
MAX_SUBNETS = 8
_PEER = re.compile(r"[0-9a-z-]{1,64}")
HEADINGS = ("NETWORK", "NUMBER", "POOLS", "MTU", "SERVED", "THIS HOST", "ENDPOINTS", "MEMBERS", "OWNED HERE")


@click.group("network", cls=Group)
def network() -> None:
    """The mesh's networks."""


@verb(network, "create")
@click.argument("name")
@click.option(
    "--subnet",
    "subnets",
    metavar="CIDR",
    multiple=True,
    help="Addresses of the network [a /16 derived from its name]; may be repeated.",
)
@click.option("--mtu", type=click.IntRange(MIN_MTU, MAX_MTU), help="Largest packet of the network in bytes [1500].")
@pass_settings
def create(settings: Settings, /, *, name: str, subnets: tuple[str, ...], mtu: int | None) -> None:
    """Found the network NAME, or join it where it is founded; then serve it on this host."""
    check_network(name)
    if len(subnets) > MAX_SUBNETS:
        raise MeshnetError(
            "too many --subnet", f"a network has at most {MAX_SUBNETS}", "leave some out", ExitCode.USAGE
        )
    pools = parse_ranges(subnets, "--subnet")
    answer = settings.ask("POST", "/v1/networks", {"name": name, "subnets": pools, "mtu": mtu})
    if settings.json:
        output.json_data(answer)
        return
    output.say(
        f"network {name} is served on this host, MTU {output.clean(answer['mtu'])};"
        f" here: `{settings.line(f'attach --network {name} TARGET')}`, on other hosts the same"
    )
    for pool in answer["pools"]:
        output.data(output.clean(pool))


@verb(network, "ls")
@pass_settings
def ls(settings: Settings) -> None:
    """List the mesh's networks."""
    answer = settings.ask("GET", "/v1/networks")
    if settings.json:
        output.json_data(answer)
        return
    for line in network_table(answer["networks"]):
        output.data(line)


@verb(network, "rm")
@click.argument("name")
@click.option("--everywhere", is_flag=True, help="Remove it from the mesh, when no host uses it.")
@pass_settings
def remove(settings: Settings, /, *, name: str, everywhere: bool) -> None:
    """End this host's membership in the network NAME."""
    check_network(name)
    answer = settings.ask("DELETE", f"/v1/networks/{quote(name)}?everywhere={int(everywhere)}")
    if settings.json:
        output.json_data(answer)
    elif everywhere:
        output.say(f"network {name} is gone from the mesh")
    else:
        output.say(f"network {name} is not served on this host any more")


@verb(network, "registrar")
@click.argument("peer", required=False)
@pass_settings
def registrar(settings: Settings, /, *, peer: str | None) -> None:
    """Show who gives out network numbers, without whom no new network can be founded; or hand that on to PEER."""
    if peer is not None and not _PEER.fullmatch(peer):
        what, why = f"{peer[:80]!r} is no peer", "a peer is named by its name or its id"
        raise MeshnetError(what, why, "see `meshnet peer ls`", ExitCode.USAGE)
    answer = settings.ask("GET", "/v1/registrar") if peer is None else _hand_on(settings, peer)
    if settings.json:
        output.json_data(answer)
        return
    if answer["name"] is None:
        output.say("it is not known yet who gives out network numbers")
        return
    where = "this host" if answer["here"] else "reachable" if answer["reachable"] else "unreachable"
    output.data(f"{output.clean(answer['name'])}  {output.clean(answer['id'])}  {where}")


def _hand_on(settings: Settings, peer: str) -> dict[str, Any]:
    return settings.ask("POST", "/v1/registrar", {"peer": peer})


def check_network(name: str) -> None:
    """Raise MeshnetError (USAGE) unless `name` can be a network's."""
    try:
        parse_name(name)
    except MeshnetError as error:
        what = f"{name[:80]!r} is not a network's name"
        raise MeshnetError(what, error.why, "for example web", ExitCode.USAGE) from None


def network_table(networks: list[Mapping[str, Any]]) -> list[str]:
    """The table of networks."""
    return output.table(HEADINGS, [_row(one) for one in networks])


def _row(one: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        one.get("name"),
        one.get("number"),
        ", ".join(map(str, one.get("pools", ()))),
        one.get("mtu"),
        "yes" if one.get("served") else "no",
        one.get("exposed"),
        one.get("endpoints"),
        ", ".join(map(str, one.get("members", ()))),
        ", ".join(map(str, one.get("owned", ()))),
    )
