"""What an operator chooses: where meshnet's files are (`Places`) and how a peer runs (`Options`).

Rule: every value is checked here, once, by the same functions whether it comes from a flag, from the daemon's
command line or from the state directory; each error names the option.  No secret is an option.
Flow: the CLI parses flags into `Options` and hands them to the daemon as JSON; the daemon persists that JSON
and `start` resumes from it.  Reference: design §9.
"""

import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, cast

from meshnet.errors import ExitCode, MeshnetError

__all__ = [
    "API_VERSION",
    "DEFAULT_PORT",
    "DEFAULT_RANGE",
    "DEFAULT_RUN_DIR",
    "DEFAULT_STATE_DIR",
    "Bind",
    "Cipher",
    "HostPort",
    "Options",
    "Places",
    "name_from_host",
    "parse_address",
    "parse_advertise",
    "parse_cipher",
    "parse_ip",
    "parse_listen",
    "parse_name",
    "parse_range",
    "parse_ranges",
    "parse_underlay_mtu",
]

API_VERSION = 1
"""Version of the HTTP interface between the CLI and the daemon; unequal versions do not talk."""

DEFAULT_RUN_DIR = "/run/meshnet"
DEFAULT_STATE_DIR = "/var/lib/meshnet"
DEFAULT_PORT = 6799
DEFAULT_RANGE = "10.32.0.0/12"
SOCKET_PATH_BYTES = 107
"""Longest path of a unix socket (sockaddr_un.sun_path less its NUL)."""
MIN_UNDERLAY_MTU, MAX_UNDERLAY_MTU = 576, 65_535
MIN_RANGE_PREFIX, MAX_RANGE_PREFIX = 8, 29
MAX_ADDRESSES = 16
MAX_NAME = 63
ANY_HOST = "*"

Cipher = Literal["auto", "aes", "chacha"]
CIPHERS: tuple[Cipher, ...] = ("auto", "aes", "chacha")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _refuse(what: str, why: str, fix: str) -> NoReturn:
    raise MeshnetError(what, why, fix, ExitCode.USAGE)


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one daemon; both absolute."""

    run_dir: Path
    state_dir: Path

    @classmethod
    def of(cls, run_dir: str | None = None, state_dir: str | None = None) -> "Places":
        """The places for these directories, the defaults where None; raises MeshnetError (USAGE)."""
        run = os.path.abspath(run_dir or DEFAULT_RUN_DIR)
        longest = max(len(os.fsencode(f"{run}/{name}")) for name in ("meshnet.sock", "forwarder.sock"))
        if longest > SOCKET_PATH_BYTES:
            _refuse(
                "--run-dir is too long",
                f"a unix socket's path holds {SOCKET_PATH_BYTES} bytes, this one has {longest}",
                "choose a shorter directory",
            )
        return cls(Path(run), Path(os.path.abspath(state_dir or DEFAULT_STATE_DIR)))

    @property
    def socket(self) -> Path:
        """Where the API listens."""
        return self.run_dir / "meshnet.sock"

    @property
    def forwarder_socket(self) -> Path:
        """Where the forwarder listens for a meshnetd."""
        return self.run_dir / "forwarder.sock"

    @property
    def log(self) -> Path:
        """The log of a daemon that was started by hand."""
        return self.run_dir / "meshnetd.log"

    @property
    def keys(self) -> Path:
        """The key file; it exists exactly where this host is a peer of a mesh."""
        return self.state_dir / "keys.json"

    @property
    def database(self) -> Path:
        """The store of statements, leases and tokens."""
        return self.state_dir / "state.db"

    @property
    def lock(self) -> Path:
        """Held by the daemon that uses the state directory."""
        return self.state_dir / "lock"


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """A literal address (or `*`, every address of this host) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Bind:
    """One address to bind; where it is not required (a host without IPv6), failing is only a note."""

    host: str
    port: int
    required: bool


def _split(option: str, text: str) -> tuple[str, str | None]:
    """Host and port text of `host:port`, `[v6]:port`, `host` or a bare IPv6 address."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if bracket and not rest:
            return host, None
        if bracket and rest.startswith(":"):
            return host, rest[1:]
        _refuse(
            f"{option} {text!r} is not an address",
            "after `[` comes `ADDRESS]:PORT`",
            f"{option} [2001:db8::1]:6799",
        )
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port(option: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65_535):
        _refuse(
            f"{option}: {text!r} is not a port",
            "a port is a number from 1 to 65535",
            f"for example {DEFAULT_PORT}",
        )
    return int(text)


def _literal(option: str, host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        _refuse(
            f"{option}: {host!r} is not an IP address",
            "host names are not resolved here, so that an address cannot change behind the peers' backs",
            f"give a literal address, for example {option} 192.0.2.7:{DEFAULT_PORT}",
        )


def parse_listen(text: str) -> HostPort:
    """`HOST:PORT`, `[V6]:PORT`, `HOST`, or `:PORT` and `*:PORT` for every address of this host."""
    host, port = _split("--listen", text)
    number = DEFAULT_PORT if port is None else _port("--listen", port)
    if host in (ANY_HOST, "") and text:
        return HostPort(ANY_HOST, number)
    address = _literal("--listen", host)
    if address.is_multicast:
        _refuse(
            f"--listen {text!r} is a multicast address",
            "a peer listens on addresses of its own",
            "give one of this host's addresses",
        )
    return HostPort(str(address), number)


def parse_advertise(text: str, port: int = DEFAULT_PORT) -> HostPort:
    """`HOST[:PORT]`: where the other peers find this one; `port` is used where none is given."""
    host, given = _split("--advertise", text)
    number = port if given is None else _port("--advertise", given)
    address = _literal("--advertise", host)
    if address.is_unspecified or address.is_multicast:
        _refuse(
            f"--advertise {text!r} leads nowhere",
            "other hosts cannot connect to such an address",
            "give an address they can reach",
        )
    return HostPort(str(address), number)


def parse_address(text: str) -> HostPort:
    """`HOST[:PORT]`: where an operator says another peer is."""
    host, given = _split("the address", text)
    number = DEFAULT_PORT if given is None else _port("the address", given)
    address = _literal("the address", host)
    if address.is_unspecified or address.is_multicast:
        _refuse("the address leads nowhere", f"{text!r} is no address of one host", "give one that leads to the peer")
    return HostPort(str(address), number)


def parse_name(text: str) -> str:
    """A peer's name: 1 to 63 of a-z, 0-9 and `-`, no `-` at either end."""
    if not _NAME.fullmatch(text):
        _refuse(
            f"--name {text[:80]!r} is not a name",
            f"a name is 1 to {MAX_NAME} of a-z, 0-9 and `-`, and neither begins nor ends with `-`",
            f"for example --name {name_from_host(text)}",
        )
    return text


def name_from_host(hostname: str) -> str:
    """A valid peer name made from a host's name; `peer` where nothing of it is left."""
    plain = re.sub(r"[^a-z0-9]+", "-", hostname.split(".")[0].lower())
    return plain[:MAX_NAME].strip("-") or "peer"


def parse_range(text: str, option: str = "--range") -> str:
    """The pool of a network as a canonical IPv4 CIDR, /8 to /29; an error names `option`."""
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        _refuse(
            f"{option} {text!r} is not an IPv4 range",
            "a range is written ADDRESS/LENGTH",
            f"for example {option} {DEFAULT_RANGE}",
        )
    if not MIN_RANGE_PREFIX <= network.prefixlen <= MAX_RANGE_PREFIX:
        _refuse(
            f"{option} {text!r} has an unusable size",
            f"its length must be /{MIN_RANGE_PREFIX} to /{MAX_RANGE_PREFIX}",
            f"for example {option} {DEFAULT_RANGE}",
        )
    if "/" in text and ipaddress.IPv4Address(text.split("/")[0]) != network.network_address:
        _refuse(
            f"{option} {text!r} does not begin at a range's start",
            "bits behind the length are set",
            f"{option} {network}",
        )
    if network.is_multicast or network.is_loopback or network.is_link_local or network.is_unspecified:
        _refuse(
            f"{option} {text!r} cannot hold hosts",
            "it is set aside for another use",
            f"for example {option} {DEFAULT_RANGE}",
        )
    return str(network)


def parse_ranges(texts: Sequence[str], option: str) -> list[str]:
    """The pools of one network, each as `parse_range` says; no address may be in two of them."""
    found: list[ipaddress.IPv4Network] = []
    for network in (ipaddress.IPv4Network(parse_range(text, option)) for text in texts):
        if (other := next((each for each in found if each.overlaps(network)), None)) is not None:
            _refuse(f"{option} {network} overlaps {option} {other}", "an address belongs to one pool", "leave one out")
        found.append(network)
    return [str(network) for network in found]


def parse_ip(text: str, what: str = "--ip ") -> str:
    """One IPv4 address, without a length; `what`: the option it was given by, with a space, or nothing."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        fix = f"for example {what}10.32.0.9" + (", or leave it out for any free one" if what else "")
        _refuse(f"{what}{text[:60]!r} is not an IPv4 address", "it is written without a length", fix)


def parse_underlay_mtu(value: int | str) -> int:
    """Largest IP packet the underlay carries, bytes, 576 to 65535."""
    text = str(value)
    if not (text.isascii() and text.isdigit() and MIN_UNDERLAY_MTU <= int(text[:9]) <= MAX_UNDERLAY_MTU):
        _refuse(
            f"--underlay-mtu {text[:20]!r} is out of range",
            f"it is a number of bytes from {MIN_UNDERLAY_MTU} to {MAX_UNDERLAY_MTU}",
            "leave it out: the route's MTU is used then",
        )
    return int(text)


def parse_cipher(text: str) -> Cipher:
    """`auto` (AES where this CPU has instructions for it), `aes` or `chacha`."""
    for cipher in CIPHERS:
        if text == cipher:
            return cipher
    _refuse(
        f"--cipher {text[:20]!r} is unknown",
        "there are auto, aes and chacha",
        "leave it out to let meshnet choose",
    )


@dataclass(frozen=True, slots=True)
class Options:
    """How one peer runs.

    All fields are checked.  `range` None means the default or, where that overlaps a route of this host, the
    next free one.
    """

    name: str
    listen: tuple[HostPort, ...] = (HostPort(ANY_HOST, DEFAULT_PORT),)
    advertise: tuple[HostPort, ...] = ()
    range: str | None = None
    underlay_mtu: int | None = None
    cipher: Cipher = "auto"

    @property
    def port(self) -> int:
        """The port told to other peers where an advertised address names none: that of the first `listen`."""
        return self.listen[0].port

    def binds(self) -> tuple[Bind, ...]:
        """The addresses to bind, in order, once each; `*` is both families, and either may be missing."""
        binds: dict[tuple[str, int], Bind] = {}
        for entry in self.listen:
            hosts = ("0.0.0.0", "::") if entry.host == ANY_HOST else (entry.host,)
            for host in hosts:
                binds.setdefault((host, entry.port), Bind(host, entry.port, entry.host != ANY_HOST))
        return tuple(binds.values())

    @classmethod
    def parse(
        cls,
        *,
        name: str | None = None,
        listen: Sequence[str] = (),
        advertise: Sequence[str] = (),
        range: str | None = None,
        underlay_mtu: int | str | None = None,
        cipher: str = "auto",
        hostname: str = "",
    ) -> "Options":
        """Options from what was typed; raises MeshnetError (USAGE) naming the option that is wrong."""
        for option, given in (("--listen", listen), ("--advertise", advertise)):
            if len(given) > MAX_ADDRESSES:
                _refuse(f"too many {option}", f"there may be {MAX_ADDRESSES}", "leave some out")
        listening = tuple(dict.fromkeys(parse_listen(text) for text in listen)) or (HostPort(ANY_HOST, DEFAULT_PORT),)
        port = listening[0].port
        return cls(
            name=name_from_host(hostname) if name is None else parse_name(name),
            listen=listening,
            advertise=tuple(dict.fromkeys(parse_advertise(text, port) for text in advertise)),
            range=None if range is None else parse_range(range),
            underlay_mtu=None if underlay_mtu is None else parse_underlay_mtu(underlay_mtu),
            cipher=parse_cipher(cipher),
        )

    def to_json(self) -> dict[str, object]:
        """Plain JSON of every option; `from_json` is its inverse."""
        return {
            "name": self.name,
            "listen": [str(entry) for entry in self.listen],
            "advertise": [str(entry) for entry in self.advertise],
            "range": self.range,
            "underlay_mtu": self.underlay_mtu,
            "cipher": self.cipher,
        }

    @classmethod
    def from_json(cls, value: object) -> "Options":
        """Options from `to_json`'s object; raises MeshnetError for anything else."""
        if not isinstance(value, Mapping):
            _unreadable("they are no JSON object")
        kinds: dict[str, tuple[type, ...]] = {
            "name": (str,),
            "listen": (list,),
            "advertise": (list,),
            "range": (str, type(None)),
            "underlay_mtu": (int, type(None)),
            "cipher": (str,),
        }
        for key, item in value.items():
            if key not in kinds:
                _unreadable(f"{str(key)[:40]!r} is unknown")
            texts = not isinstance(item, list) or all(isinstance(text, str) for text in item)
            if not isinstance(item, kinds[key]) or isinstance(item, bool) or not texts:
                _unreadable(f"{key!r} has a wrong type")
        if "name" not in value:
            _unreadable("`name` is missing")
        return cls.parse(**cast("dict[str, str]", dict(value)))


def _unreadable(why: str) -> NoReturn:
    _refuse("the options cannot be read", why, "they were written by another version of meshnet; use that one")
