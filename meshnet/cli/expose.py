"""expose, hide: the host itself on a network.

Rule: the address is on the network's bridge; with --masquerade workloads that send by way of it reach what the host
reaches.  In text form the address stands alone on stdout.
"""

from urllib.parse import quote

import click

from meshnet.cli import output
from meshnet.cli.network import check_network
from meshnet.cli.verbs import Settings, pass_settings, verb
from meshnet.config import parse_ip

__all__ = ["expose", "hide"]


@verb()
@click.option("--network", metavar="NAME", default="default", help="The network to be on [default].")
@click.option("--ip", metavar="ADDR", help="The address to have [any free one].")
@click.option("--masquerade", is_flag=True, help="Let workloads reach, by way of this host, what it reaches.")
@pass_settings
def expose(settings: Settings, /, *, network: str, ip: str | None, masquerade: bool) -> None:
    """Give this host an address on a network."""
    check_network(network)
    if ip is not None:
        ip = parse_ip(ip)
    answer = settings.ask("POST", "/v1/expose", {"network": network, "ip": ip, "masquerade": masquerade})
    if settings.json:
        output.json_data(answer)
        return
    address = output.clean(answer["address"])
    output.say(f"this host is on network {network}: {output.clean(answer['device'])} has {address}")
    if answer["masquerade"]:
        way = address.partition("/")[0]
        output.say(f"workloads go beyond it after, in their namespace: ip route add default via {way}")
    output.data(address)


@verb()
@click.option("--network", metavar="NAME", default="default", help="The network to be off [default].")
@pass_settings
def hide(settings: Settings, /, *, network: str) -> None:
    """Take this host's address on a network back."""
    check_network(network)
    answer = settings.ask("DELETE", f"/v1/expose/{quote(network)}")
    if settings.json:
        output.json_data(answer)
    else:
        output.say(f"this host is off network {network}; {output.clean(answer['address'])} is free again")
