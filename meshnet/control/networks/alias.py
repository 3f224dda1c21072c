"""What a host-side link says of the endpoint behind it, so that the endpoint outlives the loss of its row. PURE.

Purpose: the kernel keeps a link's alias as long as the link; a daemon whose state lost the row reads there which
address is in use, and claims it back before it gives out anything.
Rule: an alias holds words without spaces in a fixed order; what is not exactly that, or of another mesh, is no alias.
Where it would be too long, what only people read goes first, then the namespace: address and MAC always fit.
Flow: `Alias.text` when the link is made -> the kernel -> `Alias.parse` at a start (`adoption`).
Reference: design §6 (addresses in use but unknown); docs/addresses.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Final

from meshnet.host.ports import MAX_ALIAS_BYTES

__all__ = ["MESH_DIGITS", "Alias"]

MARK: Final = "meshnet/1"
MESH_DIGITS: Final = 8
"""So much of the mesh id tells a link of this mesh from one that an earlier mesh left behind."""
NOTHING: Final = "-"
FIELDS: Final = 9


@dataclass(frozen=True, slots=True)
class Alias:
    """An endpoint as its link knows it.

    mesh: 16 bytes. network, number: name and number. addresses: "a.b.c.d/len", one or more. mac: 6 bytes.
    endpoint: its id, as in the link's name. netns, ifname, target: "" where they did not fit.
    """

    mesh: bytes
    network: str
    number: int
    addresses: tuple[str, ...]
    mac: bytes
    endpoint: bytes
    netns: str = ""
    ifname: str = ""
    target: str = ""

    def text(self) -> str:
        """The alias of the link, at most MAX_ALIAS_BYTES; "" when not even the addresses fit."""
        needed = [
            MARK,
            self.mesh.hex()[:MESH_DIGITS],
            self.network,
            f"{self.number:x}",
            ",".join(self.addresses),
            self.mac.hex(),
            self.endpoint.hex(),
        ]
        short = " ".join(needed)
        place = f"{short} {_word(self.netns)} {_word(self.ifname)}"
        if len(place) > MAX_ALIAS_BYTES:
            return short if len(short) <= MAX_ALIAS_BYTES else ""
        return f"{place} {_word(self.target)}"[:MAX_ALIAS_BYTES].rstrip()

    @classmethod
    def parse(cls, text: str, mesh: bytes) -> Alias | None:
        """What an alias says, or None when it is none of this mesh."""
        words = text.split(" ", FIELDS)
        if len(words) < FIELDS - 2 or words[:2] != [MARK, mesh.hex()[:MESH_DIGITS]]:
            return None
        network, number, addresses, mac, endpoint = words[2:7]
        place = [*("" if word == NOTHING else word for word in words[7:]), "", "", ""]
        try:
            listed = tuple(str(ip_interface(each)) for each in addresses.split(","))
            found = cls(mesh, network, int(number, 16), listed, bytes.fromhex(mac), bytes.fromhex(endpoint), *place[:3])
        except ValueError:
            return None
        whole = len(found.mac) == 6 and 0 < found.number < 2**32 and found.endpoint and "/" in addresses
        return found if whole else None


def _word(text: str) -> str:
    """The text as one printable ASCII word."""
    return "".join(char if char.isascii() and char.isprintable() and char != " " else "_" for char in text) or NOTHING
