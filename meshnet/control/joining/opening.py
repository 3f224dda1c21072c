"""Open this host's state: made by launch or join, found again by start.

Rule: the key file is written last, and its existence is what makes this host a peer; an attempt that fails before
that leaves nothing but an identity that was made beforehand, for the next one.  Keys and database carry one state
id, checked at every start.  What lets this host in (token, password) comes through a pipe and is shown nowhere.
"""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Final

import msgspec

from crypto.errors import LocalError
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite
from crypto.token import Token
from meshnet.config import DEFAULT_RANGE, Options, Places
from meshnet.control.joining.join import JoinReply, join
from meshnet.control.joining.join_password import join_by_password
from meshnet.control.joining.password import check_strength, derive
from meshnet.control.keys import identity_file, keyfile, private_file
from meshnet.control.keys.membership import Membership, found
from meshnet.control.store import store_file
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["Opened", "WayIn", "choose_range", "choose_suite", "make", "make_directory", "resume", "retire"]

SPACE: Final = "meta"
OPTIONS_KEY: Final = b"options"
CPUINFO: Final = Path("/proc/cpuinfo")
RANGE_BITS: Final = 12


class WayIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the secret's pipe carries, as JSON: a token; or a password, with the address to join at or, at launch,
    without.
    """

    token: str = ""
    password: str = ""
    address: str = ""

    def __repr__(self) -> str:
        return f"WayIn(address={self.address!r})"

    @classmethod
    def decode(cls, text: str) -> "WayIn":
        """Raises MeshnetError (USAGE), which shows nothing of the text."""
        try:
            way = msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            way = cls()
        if bool(way.token) == bool(way.password):
            raise MeshnetError(
                "meshnetd was started wrongly",
                "its secret is neither a token nor a password",
                "use `meshnet launch` or `meshnet join`",
                ExitCode.USAGE,
            )
        return way


@dataclass(slots=True)
class Opened:
    """This host's state, open.  `seal` makes a new one count; `statements` came with a join."""

    membership: Membership
    store: Store
    options: Options
    statements: list[bytes]
    fresh: bool
    directory: Path

    async def seal(self) -> None:
        """Write the key file: from here on this host is a peer."""
        if self.fresh:
            await asyncio.to_thread(keyfile.create, self.directory, self.membership)
            identity_file.remove(self.directory)

    def discard(self) -> None:
        """The attempt failed before `seal`: leave nothing of it."""
        self.store.close()
        if self.fresh and not keyfile.exists(self.directory):
            for path in store_file.family(self.store.path):
                path.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make the state directory where it is missing; raises MeshnetError when it cannot be one."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise MeshnetError(
            f"cannot use {path}", error.strerror or str(error), "choose another --state-dir, or make room for this one"
        ) from error


def retire(places: Places, wipe: bool) -> None:
    """The host left its mesh: delete keys and state, or put them aside as *.left; then another mesh may begin here."""
    private_file.fresh_path(places.keys).unlink(missing_ok=True)  # keys all the same, if a crash left it
    identity_file.remove(places.state_dir)
    for path in (places.keys, *store_file.family(places.database)):
        if wipe:
            path.unlink(missing_ok=True)
        elif path.exists():
            path.replace(path.with_name(f"{path.name}{store_file.LEFT}"))


async def resume(places: Places) -> Opened:
    """What `start` goes on with.  Raises MeshnetError when there is no mesh here, or its files do not fit."""
    if not keyfile.exists(places.state_dir):
        raise MeshnetError(
            f"there is no mesh in {places.state_dir}",
            "this host was never launched or joined with this state directory",
            "use `meshnet launch` for a new mesh, or `meshnet join TOKEN`",
            ExitCode.NOT_FOUND,
        )
    membership = keyfile.load(places.state_dir)
    store = Store.open(places.database, membership.state_id, create=False)
    try:
        held = dict(store.load(SPACE)).get(OPTIONS_KEY)
        if held is None:
            raise MeshnetError(
                f"{places.database} holds no options",
                "it was not written to its end",
                "remove the state directory and join anew",
            )
        try:
            options = Options.from_json(json.loads(held))
        except ValueError:
            raise MeshnetError(
                f"the options in {places.database} cannot be read",
                "they are damaged, or of another release",
                "run the meshnet release that wrote them, or remove the state directory and join anew",
            ) from None
        return Opened(membership, store, options, [], False, places.state_dir)
    except BaseException:
        store.close()
        raise


async def make(places: Places, options: Options, secret: str | None, entropy: Callable[[int], bytes]) -> Opened:
    """What `launch` and `join` begin with.  Raises MeshnetError.

    secret: what `WayIn.decode` reads; None at a launch that sets no password.
    """
    refuse_second(places)
    way = None if secret is None else WayIn.decode(secret)
    identity = identity_file.load(places.state_dir) or IdentityKey.generate(entropy)
    statements: list[bytes] = []
    if way is None:
        membership = found(options.name, choose_suite(options.cipher), entropy, identity)
    elif not way.token and not way.address:
        await asyncio.to_thread(check_strength, way.password)
        membership = found(options.name, choose_suite(options.cipher), entropy, identity)
        membership = replace(membership, password_key=await derive(way.password, membership.mesh))
    else:
        reply = await _joined(way, options.name, identity, entropy)
        membership, statements = reply.membership, reply.statements
    store = Store.open(places.database, membership.state_id, create=True)
    opened = Opened(membership, store, options, statements, True, places.state_dir)
    try:
        await store.commit([Row(SPACE, OPTIONS_KEY, json.dumps(options.to_json()).encode())])
    except BaseException:
        opened.discard()
        raise
    return opened


async def _joined(way: WayIn, name: str, identity: IdentityKey, entropy: Callable[[int], bytes]) -> JoinReply:
    static = StaticKey.generate(entropy)
    if way.password:
        return await join_by_password(way.address, way.password, name, identity, static, entropy=entropy)
    try:
        token = Token.decode(way.token.strip())
    except LocalError as error:
        raise MeshnetError(
            "this is no token", error.reason, "paste the whole line `meshnet token create` printed", ExitCode.USAGE
        ) from None
    return await join(token, name, identity, static, entropy=entropy)


def refuse_second(places: Places) -> None:
    """A state directory that has a mesh stays as it is."""
    if keyfile.exists(places.state_dir):
        raise MeshnetError(
            f"{places.state_dir} already holds a mesh",
            "launch and join begin a new state and never change one",
            "run `meshnet start` to go on with it, or choose another --state-dir",
        )


def choose_suite(cipher: str, cpuinfo: Path = CPUINFO) -> Suite:
    """The mesh's cipher: AES-GCM where this CPU has instructions for it, unless told otherwise."""
    if cipher == "auto":
        try:
            flags = cpuinfo.read_text(errors="replace").split()
        except OSError:
            flags = []
        cipher = "aes" if "aes" in flags and ("pclmulqdq" in flags or "pmull" in flags) else "chacha"
    return Suite.AESGCM if cipher == "aes" else Suite.CHACHAPOLY


def choose_range(wanted: str | None, routes: list[tuple[str, str]]) -> tuple[str, str | None]:
    """The default network's pool and, where it is not the one expected, a line that says why.

    A wanted range that overlaps a route is refused; the default one gives way to the next free /12 of 10.0.0.0/8.
    """
    taken = [(ip_network(cidr), device) for cidr, device in routes if ":" not in cidr]

    def overlap(pool: IPv4Network) -> str | None:
        return next((f"{net} dev {device}" for net, device in taken if pool.overlaps(IPv4Network(net))), None)

    if wanted is not None:
        clash = overlap(IPv4Network(wanted))
        if clash is not None:
            raise MeshnetError(
                f"--range {wanted} overlaps a route of this host",
                f"{clash} is routed already",
                "choose a range that no host of the mesh routes",
            )
        return wanted, None
    first = IPv4Network(DEFAULT_RANGE)
    clash = overlap(first)
    if clash is None:
        return DEFAULT_RANGE, None
    blocks = list(IPv4Network("10.0.0.0/8").subnets(new_prefix=RANGE_BITS))
    start = blocks.index(first)
    for block in blocks[start + 1 :] + blocks[:start]:
        if overlap(block) is None:
            return str(block), f"{DEFAULT_RANGE} overlaps {clash}: the default network uses {block}"
    raise MeshnetError(
        "no /12 of 10.0.0.0/8 is free", f"{DEFAULT_RANGE} overlaps {clash}, the others overlap too", "give --range CIDR"
    )


def read_secret(descriptor: int) -> str:
    """What the secret's pipe carries, for `make`; the descriptor is closed."""
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read(65_536).decode("utf-8", "replace")
