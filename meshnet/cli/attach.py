"""attach, detach: put a namespace on a network and take it off again.

Rule: meshnetd leases the address and makes the link, this command (root) moves and configures it; whatever fails on
the way undoes all of it.  The namespace is opened once, so a pid that is used anew cannot be mistaken for it.
Flow: resolve TARGET -> POST endpoint -> move the link -> configure it inside -> confirm.  Reference: design §2, §9.
"""

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from meshnet.cli import output
from meshnet.cli.verbs import Settings, pass_settings, verb
from meshnet.config import parse_ip
from meshnet.errors import ExitCode, MeshnetError

if TYPE_CHECKING:
    from meshnet.host.netlink import HostError

__all__ = ["attach", "detach"]

_IFNAME = re.compile(r"(?!\.{1,2}$)[!-.0-9;-~]{1,15}")
DENIED = (errno.EPERM, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Target:
    """A namespace: how the operator named it, its key "device:inode", and an open descriptor of it."""

    text: str
    key: str
    fd: int


@verb()
@click.argument("target")
@click.option("--ip", metavar="ADDR", help="The address to have [any free one].")
@click.option("--ifname", metavar="NAME", default="mesh0", help="The interface's name inside [mesh0].")
@click.option("--network", metavar="NAME", default="default", help="The network to be on [default].")
@pass_settings
def attach(settings: Settings, /, *, target: str, ip: str | None, ifname: str, network: str) -> None:
    """Put TARGET, a namespace's name or path or a pid, on a network."""
    request = _request(target, ip, ifname, network)
    _need_root("attach", settings)
    found = _open(target)
    try:
        endpoint = settings.ask("POST", "/v1/endpoints", {**request, "netns": found.key})
        answer = _install(settings, found, endpoint)
    finally:
        os.close(found.fd)
    if settings.json:
        output.json_data(answer)
        return
    addresses = ", ".join(map(str, answer["addresses"]))
    output.say(f"{target} is on network {output.clean(answer['network'])}: {ifname} has {addresses}")
    for address in answer["addresses"]:
        output.data(output.clean(address))


@verb()
@click.argument("target")
@pass_settings
def detach(settings: Settings, /, *, target: str) -> None:
    """Take TARGET off its networks and give its addresses back."""
    _need_root("detach", settings)
    endpoints = _endpoints_of(settings, target)
    if not endpoints:
        raise MeshnetError(
            f"{target} is on no network",
            "this host has no endpoint for it",
            f"see `{settings.line('status')}`",
            ExitCode.NOT_FOUND,
        )
    for one in endpoints:
        answer = settings.ask("DELETE", f"/v1/endpoints/{one['endpoint']}")
        if settings.json:
            output.json_data(answer)
        else:
            addresses = ", ".join(map(str, one.get("addresses", ())))
            output.say(f"{target} is off network {output.clean(one.get('network'))}; {addresses} is free again")


def _request(target: str, ip: str | None, ifname: str, network: str) -> dict[str, object]:
    """The request for these options; raises MeshnetError (USAGE) naming the one that is wrong."""
    if ip is not None:
        ip = parse_ip(ip)
    if not _IFNAME.fullmatch(ifname):
        raise MeshnetError(
            f"--ifname {ifname[:40]!r} is no name for an interface",
            "the kernel takes 1 to 15 characters without spaces, `/` and `:`",
            "for example --ifname mesh1",
            ExitCode.USAGE,
        )
    return {"target": target, "network": network, "ip": ip, "ifname": ifname}


def _need_root(what: str, settings: Settings) -> None:
    if os.geteuid() != 0:
        raise MeshnetError(
            f"you may not {what}",
            "only root may configure another network namespace",
            f"run `sudo {settings.line(what + ' TARGET')}`",
            ExitCode.PERMISSION,
        )


def _open(text: str) -> Target:
    """The namespace an operator means, held open; raises MeshnetError (NOT_FOUND) when there is none."""
    from meshnet.host import netlink

    try:
        found = netlink.resolve(text)
        fd = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
    except netlink.HostError as error:
        raise _of_host(error, ExitCode.NOT_FOUND) from error
    except OSError as error:
        raise _gone(text, error.strerror or str(error)) from None
    seen = os.fstat(fd)
    if f"{seen.st_dev}:{seen.st_ino}" != found.key:
        os.close(fd)
        raise _gone(text, "it changed while it was looked at")
    return Target(text, found.key, fd)


def _gone(text: str, why: str) -> MeshnetError:
    return MeshnetError(f"no network namespace {text!r}", why, "see `ip netns list`", ExitCode.NOT_FOUND)


def _of_host(error: "HostError", code: ExitCode = ExitCode.FAILED) -> MeshnetError:
    denied = error.errno in DENIED
    return MeshnetError(error.what, error.why, error.fix, ExitCode.PERMISSION if denied else code)


def _install(settings: Settings, target: Target, endpoint: dict[str, Any]) -> dict[str, Any]:
    """Move the endpoint's link into the namespace, configure and confirm it; undoes all of it on any failure."""
    from meshnet.host import netlink

    link, ifname = str(endpoint["link"]), str(endpoint["ifname"])
    inside = False
    try:
        netlink.move_link(link, target.fd)
        notes = netlink.configure(
            target.fd, link, ifname, endpoint["addresses"], endpoint["routes"], int(endpoint["mtu"])
        )
        inside = True
        answer = settings.ask("POST", f"/v1/endpoints/{endpoint['endpoint']}/confirm")
    except BaseException as error:
        _undo(settings, endpoint, lambda: netlink.restore_link(target.fd, ifname, link) if inside else None)
        if isinstance(error, netlink.HostError):
            raise _of_host(error) from error
        raise
    for note in notes:
        output.say(f"note: {output.clean(note)}")
    return answer


def _undo(settings: Settings, endpoint: dict[str, Any], take_back: Callable[[], None]) -> None:
    """Delete the endpoint, and with it the link wherever that is; without a daemon, take the link back at least."""
    from meshnet.host.netlink import HostError

    try:
        settings.ask("DELETE", f"/v1/endpoints/{endpoint['endpoint']}")
        output.say("nothing was attached; the address is free again")
    except MeshnetError as error:
        output.say(f"the address could not be given back: {output.clean(error)}")
        try:
            take_back()
        except HostError as second:
            output.say(f"the interface could not be taken back: {output.clean(second)}")


def _endpoints_of(settings: Settings, text: str) -> list[dict[str, Any]]:
    """This host's endpoints in the namespace; where that is gone, those that were made for this word."""
    try:
        target = _open(text)
    except MeshnetError as error:
        if error.code is not ExitCode.NOT_FOUND:
            raise
        known = settings.ask("GET", "/v1/status")["endpoints"]
        left = [one for one in known if text in (one["target"], one["endpoint"])]
        if not left:
            raise
        return left
    os.close(target.fd)
    listed: list[dict[str, Any]] = settings.ask("GET", f"/v1/endpoints?netns={target.key}")["endpoints"]
    return listed
