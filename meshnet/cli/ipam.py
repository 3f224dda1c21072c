"""ipam ls, show, check, reclaim, claim, release: who has which addresses, and a dead host's ones.

Rule: `reclaim` shows its plan first, and without a yes (on a terminal, or --yes) that is all it does.
Reference: docs/addresses.md.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click

from meshnet.cli import output
from meshnet.cli.network import check_network
from meshnet.cli.verbs import Group, Settings, pass_settings, verb
from meshnet.config import parse_ip
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["ipam"]

HEADINGS = ("NETWORK", "PEER", "OWNED", "USED", "LENT", "FREE", "USED%", "STATE")
RANGES = ("NETWORK", "FROM", "TO", "ADDRESSES", "PEER")
ADDRESSES = ("NETWORK", "ADDRESS", "PEER", "OF", "MAC")
MAX_PEERS = 16
RECLAIM_S = 20.0
"""The daemon gives a reclaim up after 10 s."""
_PEER = re.compile(r"[0-9a-z-]{1,64}")


@click.group("ipam", cls=Group)
def ipam() -> None:
    """Who has which addresses."""


@verb(ipam, "ls")
@pass_settings
def ls(settings: Settings) -> None:
    """List how full each network is, by peer, and what waits for addresses."""
    answer = settings.ask("GET", "/v1/ipam")
    if settings.json:
        output.json_data(answer)
        return
    rows = [_share(network["network"], one) for network in answer["networks"] for one in network["peers"]]
    for line in output.table(HEADINGS, rows, output.coloured(settings.no_color)):
        output.data(line)
    for network in answer["networks"]:
        if network["unreachable_percent"]:
            name, share = output.clean(network["network"]), network["unreachable_percent"]
            output.say(f"network {name}: {share:g} % of it belongs to peers that cannot be reached")
    for one in answer["pending"]:
        output.say(_waiting(one))
    for one in answer["unclaimed"]:
        addresses = ", ".join(map(output.clean, one["addresses"]))
        output.say(f"without a lease: {addresses} of {output.clean(one['target'])}: {output.clean(one['why'])}")


@verb(ipam, "show")
@click.argument("network", required=False)
@pass_settings
def show(settings: Settings, /, *, network: str | None) -> None:
    """Show the ranges and the addresses in use of NETWORK, or of all networks."""
    if network is not None:
        check_network(network)
    answer = settings.ask("GET", "/v1/ipam/networks" + (f"/{quote(network)}" if network is not None else ""))
    if settings.json:
        output.json_data(answer)
        return
    networks = answer["networks"]
    ranges = [(net["network"], r["first"], r["last"], r["size"], r["name"]) for net in networks for r in net["ranges"]]
    used = [
        (net["network"], row["address"], row["peer"], row["of"], row["mac"])
        for net in networks
        for row in net["addresses"]
    ]
    for line in output.table(RANGES, ranges):
        output.data(line)
    if used:
        output.data("")
    for line in output.table(ADDRESSES, used) if used else ():
        output.data(line)


@verb(ipam, "check")
@pass_settings
def check(settings: Settings) -> None:
    """Look for what is odd about addresses; exits with 7 when something is."""
    answer = settings.ask("GET", "/v1/ipam/check")
    if settings.json:
        output.json_data(answer)
    else:
        for line in answer["problems"]:
            output.data(output.clean(line))
        output.say("nothing is odd" if answer["sound"] else f"{len(answer['problems'])} things are odd")
    if not answer["sound"]:
        click.get_current_context().exit(int(ExitCode.UNHEALTHY))


@verb(ipam, "reclaim")
@click.argument("peers", metavar="PEER...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Without the others' agreement: only if PEER is gone for good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_settings
def reclaim(settings: Settings, /, *, peers: tuple[str, ...], force: bool, yes: bool) -> None:
    """Take over the ranges of PEERs that are gone for good; needs the role admin, and every other member's agreement.

    PEER is a name or the beginning of an id; all that are gone go into one command. Addresses in use there stay
    reserved until `meshnet ipam release`, or until the peer is back and has given them up.
    """
    _check_peers(peers)
    plan = settings.ask("GET", f"/v1/ipam/reclaim?peers={','.join(map(quote, peers))}")
    if not yes:
        if not settings.json:
            _print_plan(plan, force)
        if settings.json or not sys.stdin.isatty():
            if settings.json:
                output.json_data(plan)
            output.say(f"nothing was done; to do it: `{settings.line(_words(peers, force))}`")
            return
        if not plan["possible"] and not force:
            _refuse(plan)
        if not click.confirm("Take these ranges over?", err=True):
            raise click.Abort
    answer = settings.ask("POST", "/v1/ipam/reclaim", {"peers": list(peers), "force": force}, RECLAIM_S)
    if settings.json:
        output.json_data(answer)
        return
    names = ", ".join(output.clean(one["name"]) for one in answer["peers"])
    output.say(f"the ranges of {names} are this host's: {_amount(answer['ranges'])}")
    for one in answer["quarantined"]:
        where = f"{output.clean(one['address'])} of network {output.clean(one['network'])}"
        output.say(f"{where} was in use there: it stays reserved until it is released")


@verb(ipam, "claim")
@click.argument("address")
@click.option("--network", metavar="NAME", default="default", help="The network it is of [default].")
@pass_settings
def claim(settings: Settings, /, *, address: str, network: str) -> None:
    """Reserve ADDRESS for this host, for something that meshnet does not attach."""
    answer = _address(settings, "claim", address, network)
    if settings.json:
        output.json_data(answer)
        return
    output.say(f"{output.clean(answer['address'])} of network {network} is this host's until `meshnet ipam release`")
    output.data(output.clean(answer["address"]))


@verb(ipam, "release")
@click.argument("address")
@click.option("--network", metavar="NAME", default="default", help="The network it is of [default].")
@pass_settings
def release(settings: Settings, /, *, address: str, network: str) -> None:
    """End a claim of ADDRESS, or its reservation for a peer that was reclaimed."""
    answer = _address(settings, "release", address, network)
    if settings.json:
        output.json_data(answer)
        return
    output.say(f"{output.clean(answer['address'])} of network {network} is free again")


def _address(settings: Settings, act: str, address: str, network: str) -> dict[str, Any]:
    check_network(network)
    return settings.ask("POST", f"/v1/ipam/{act}", {"address": parse_ip(address, ""), "network": network})


def _check_peers(peers: Sequence[str]) -> None:
    for peer in peers:
        if not _PEER.fullmatch(peer):
            why, fix = "a peer is named by its name or its id", "see `meshnet peer ls`"
            raise MeshnetError(f"{peer[:80]!r} is no peer", why, fix, ExitCode.USAGE)
    if len(peers) > MAX_PEERS:
        why = f"one reclaim names at most {MAX_PEERS}"
        raise MeshnetError("too many peers", why, "revoke or reclaim some of them first", ExitCode.USAGE)


def _share(network: str, one: Mapping[str, Any]) -> tuple[object, ...]:
    state = "left" if one["left"] else "up" if one["reachable"] else "unreachable"
    used = f"{one['used_percent']:g}"
    return (network, one["peer"], one["owned"], one["used"], one["lent"], one["free"], used, state)


def _waiting(one: Mapping[str, Any]) -> str:
    what = f"address {output.clean(one['wanted'])}" if one["wanted"] else "an address"
    asked = ", ".join(map(output.clean, one["asked"])) or "nobody"
    network, why = output.clean(one["network"]), output.clean(one["why"])
    return f"waiting {output.age(one['waits_s'])} for {what} of network {network} (asked: {asked}): {why}"


def _amount(ranges: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(ranges)} ranges" if len(ranges) != 1 else "1 range"


def _words(peers: Sequence[str], force: bool) -> str:
    return " ".join(["ipam reclaim", *peers, *(["--force"] if force else []), "--yes"])


def _heard(one: Mapping[str, Any]) -> str:
    ago = one["heard_s"]
    return "not heard since this daemon started" if ago is None else f"last heard {output.age(ago)} ago"


def _print_plan(plan: Mapping[str, Any], force: bool) -> None:
    """The plan: whose ranges, which addresses in use, who must agree; what stands in the way on stderr."""
    for one in plan["peers"]:
        output.say(f"peer {output.clean(one['name'])} ({output.clean(one['id'])[:12]}): {_heard(one)}")
    rows = [(row["network"], row["first"], row["last"], row["size"]) for row in plan["ranges"]]
    for line in output.table(RANGES[:4], rows):
        output.data(line)
    for one in plan["in_use"]:
        where = f"{output.clean(one['address'])} of network {output.clean(one['network'])} ({output.clean(one['of'])})"
        output.say(f"in use there, and reserved until it is released: {where}")
    agree = ", ".join(map(output.clean, plan["must_agree"]))
    output.say(f"must agree: {agree or 'nobody else'}" + ("; --force does not wait for them" if force else ""))
    if plan["unreachable"]:
        output.say(f"of these unreachable: {', '.join(map(output.clean, plan['unreachable']))}")
    if not plan["possible"]:
        output.say(f"as it is, this is refused: {output.notice(plan['why_not'])}")
    if force:
        output.say("--force: should such a peer be alive somewhere, its addresses will be given out a second time")


def _refuse(plan: Mapping[str, Any]) -> None:
    why_not = plan["why_not"]
    raise MeshnetError(str(why_not["what"]), str(why_not["why"]), str(why_not["fix"]))
