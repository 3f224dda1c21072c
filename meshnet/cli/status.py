"""status: one screen, worst news first.

Rule: being degraded is information, so the exit code is 0 whenever the daemon answered; scripts use --check, which
exits with 7 when something is wrong.
"""

from collections.abc import Mapping
from typing import Any

import click

from meshnet.cli import output
from meshnet.cli.peer import peer_table, state_of
from meshnet.cli.verbs import Settings, pass_settings, verb
from meshnet.errors import ExitCode

__all__ = ["screen", "status", "unhealthy"]

FULL_SCREEN = 50
"""Up to so many peers are all listed; of more only those that need a look, unless --all is given."""
WELL = ("up", "idle", "revoked")
SHORT_ID = 12


@verb()
@click.option("--check", is_flag=True, help="Exit with 7 when something is wrong.")
@click.option("--all", "every", is_flag=True, help=f"List every peer, also where there are over {FULL_SCREEN}.")
@pass_settings
def status(settings: Settings, /, *, check: bool, every: bool) -> None:
    """Show the mesh as this host sees it."""
    answer = settings.ask("GET", "/v1/status")
    if settings.json:
        output.json_data(answer)
    else:
        for line in screen(answer, every, output.coloured(settings.no_color)):
            output.data(line)
    troubles = unhealthy(answer) if check else []
    for trouble in troubles:
        output.say(f"unhealthy: {trouble}")
    if troubles:
        click.get_current_context().exit(int(ExitCode.UNHEALTHY))


def unhealthy(state: Mapping[str, Any]) -> list[str]:
    """What is wrong, one line each; empty when all is well."""
    troubles = []
    if state.get("state") != "ready":
        troubles.append(f"the daemon is {output.clean(state.get('state'))}, not ready")
    if not state.get("forwarder", {}).get("running"):
        troubles.append("no forwarder runs")
    troubles += [
        f"peer {output.clean(one.get('name'))} is {output.clean(state_of(one))}"
        for one in state.get("peers", ())
        if state_of(one) not in WELL
    ]
    troubles += [output.notice(notice) for notice in state.get("notices", ())]
    return troubles


def screen(state: Mapping[str, Any], every: bool = False, colour: bool = False) -> list[str]:
    """The lines of the status text."""
    lines = [_headline(state, colour)]
    lines += [f"! {output.notice(notice)}" for notice in state.get("notices", ())]
    peers = state.get("peers", [])
    shown = peers
    if len(peers) > FULL_SCREEN and not every:
        shown = [one for one in peers if state_of(one) not in WELL]
        lines.append(f"{len(peers)} peers, {len(peers) - len(shown)} of them well (--all lists them)")
    lines += peer_table(shown, colour) if peers else ["no other peer yet"]
    networks = state.get("networks", ())
    if networks:
        lines += ["", *_networks(networks)]
    endpoints = state.get("endpoints", ())
    if endpoints:
        lines += ["", *_endpoints(endpoints)]
    return [*lines, "", *_secret(state), *_footer(state)]


def _secret(state: Mapping[str, Any]) -> list[str]:
    """A line about the mesh secret's replacement, while one is under way."""
    rotation = state.get("mesh", {}).get("rotation")
    if not rotation or rotation.get("phase") == "drop":
        return []
    lacking = [output.clean(name) for name in rotation.get("lacking", ())]
    missing = f", lacking it: {', '.join(lacking)}" if lacking else ""
    number, phase = output.clean(rotation.get("generation")), output.clean(rotation.get("phase"))
    return [f"mesh secret {number}: {phase}{missing}"]


def _headline(state: Mapping[str, Any], colour: bool) -> str:
    peer, mesh = state.get("peer", {}), state.get("mesh", {})
    parts = (
        f"meshnet {output.clean(state.get('version'))}",
        f"{output.clean(peer.get('name'))} ({output.clean(peer.get('id'))[:SHORT_ID]})",
        f"mesh {output.clean(mesh.get('id'))[:SHORT_ID]}",
        output.paint(output.clean(state.get("state")).upper(), colour),
        f"up {output.age(peer.get('uptime_s'))}",
        f"port {output.clean(peer.get('port'))}",
        f"cipher {output.clean(mesh.get('cipher'))}",
    )
    return "  ".join(parts)


def _networks(networks: list[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            one.get("name"),
            one.get("number"),
            ", ".join(map(str, one.get("pools", ()))),
            one.get("mtu"),
            one.get("endpoints"),
            ", ".join(map(str, one.get("members", ()))),
            ", ".join(map(str, one.get("owned", ()))),
        )
        for one in networks
    ]
    return output.table(("NETWORK", "NUMBER", "POOLS", "MTU", "ENDPOINTS", "MEMBERS", "OWNED HERE"), rows)


def _endpoints(endpoints: list[Mapping[str, Any]]) -> list[str]:
    rows = [
        (
            one.get("endpoint"),
            one.get("network"),
            one.get("target"),
            one.get("ifname"),
            one.get("mac"),
            ", ".join(map(str, one.get("addresses", ()))),
        )
        for one in endpoints
    ]
    return output.table(("ENDPOINT", "NETWORK", "TARGET", "INTERFACE", "MAC", "ADDRESSES"), rows)


def _footer(state: Mapping[str, Any]) -> list[str]:
    forwarder = state.get("forwarder", {})
    lines = ["forwarder not running"]
    if forwarder.get("running"):
        lines = [f"forwarder pid {output.clean(forwarder.get('pid'))}, up {output.age(forwarder.get('age_s'))}"]
    lines += [f"note: {output.clean(note)}" for note in forwarder.get("notes", ())]
    drops = {reason: count for reason, count in state.get("drops", {}).items() if count}
    if drops:
        counted = ", ".join(f"{output.clean(reason)} {output.clean(drops[reason])}" for reason in sorted(drops))
        lines.append(f"dropped: {counted}")
    return lines
