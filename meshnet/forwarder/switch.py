"""One network's switch: which peer a MAC address is behind, and who may speak.                     # HOT PATH

Rule: endpoints' MACs come from meshnetd, which has them from gossip, and are never overridden by what a frame says;
a MAC nobody announced (a bridge behind a port) is learned from authenticated frames, bounded per peer, and aged.
Only peers with an endpoint in the network are members: they alone get its broadcasts, and their frames alone enter.

`ports` is read once per frame with six bytes as the key; everything that changes it is off the hot path.
"""

from typing import Final

from meshnet.forwarder.table import Peer

__all__ = ["LEARNED_PER_PEER", "LEARNED_S", "LOCAL", "Network"]

LEARNED_PER_PEER: Final = 256
LEARNED_S: Final = 300.0


class _Local:
    """The port of this host's own endpoints."""

    __slots__ = ()


LOCAL: Final = _Local()


class Network:
    """A network as the forwarder serves it: its TAP, its table, its members."""

    __slots__ = ("_endpoints", "_learned", "device", "features", "members", "mtu", "number", "ports", "tap")

    def __init__(self, number: int, device: str, mtu: int, tap: int, features: int = 0) -> None:
        self.features = features
        self.number = number
        self.device = device
        self.mtu = mtu
        self.tap = tap
        self.ports: dict[bytes, Peer | _Local] = {}
        """MAC address (6 bytes) → where it is: endpoints and learned addresses in one table."""
        self.members: dict[Peer, int] = {}
        """Peers with an endpoint here → how many."""
        self._endpoints: dict[bytes, Peer | _Local] = {}
        self._learned: dict[Peer, dict[bytes, float]] = {}
        """Per peer, the addresses learned behind it and when."""

    def endpoints(self) -> list[bytes]:
        """The MACs of all announced endpoints."""
        return list(self._endpoints)

    def set_endpoint(self, mac: bytes, port: "Peer | _Local") -> None:
        """An endpoint with this MAC is behind `port` (announced, not learned)."""
        self.drop_endpoint(mac)
        self._unlearn(mac)
        self._endpoints[mac] = port
        self.ports[mac] = port
        if isinstance(port, Peer):
            self.members[port] = self.members.get(port, 0) + 1

    def drop_endpoint(self, mac: bytes) -> None:
        """The endpoint with this MAC is gone; unknown MACs are ignored."""
        port = self._endpoints.pop(mac, None)
        if port is None:
            return
        self.ports.pop(mac, None)
        if isinstance(port, Peer):
            left = self.members[port] - 1
            if left:
                self.members[port] = left
            else:
                del self.members[port]
                self.forget_learned(port)

    def inherit(self, old: "Network") -> None:
        """Take over what another device's switch of the same network knew."""
        for mac, port in old._endpoints.items():
            self.set_endpoint(mac, port)

    def admits(self, peer: Peer, source: bytes, now: float) -> bool:
        """Tell whether `peer` may send frames from MAC `source` into this network, learning it if it is nobody's.

        Called when `ports` does not already say that `source` is behind `peer`.
        """
        if source[0] & 1 or source in self._endpoints or peer not in self.members:
            return False
        behind = self._learned.setdefault(peer, {})
        if source not in behind and len(behind) >= LEARNED_PER_PEER:
            return False
        self._unlearn(source)
        behind[source] = now
        self.ports[source] = peer
        return True

    def age(self, now: float) -> None:
        """Forget addresses not learned again for LEARNED_S."""
        for behind in self._learned.values():
            for mac in [mac for mac, seen in behind.items() if now - seen > LEARNED_S]:
                del behind[mac]
                del self.ports[mac]

    def forget_learned(self, peer: Peer) -> None:
        """Forget every learned address behind `peer`."""
        for mac in self._learned.pop(peer, {}):
            del self.ports[mac]

    def _unlearn(self, mac: bytes) -> None:
        """Whoever an address was learned behind, it is there no more."""
        port = self.ports.get(mac)
        if isinstance(port, Peer) and mac not in self._endpoints:
            self._learned.get(port, {}).pop(mac, None)
            del self.ports[mac]

    def forget_peer(self, peer: Peer) -> None:
        """Forget a peer with all its endpoints and learned addresses."""
        for mac in [mac for mac, port in self._endpoints.items() if port is peer]:
            self.drop_endpoint(mac)
        self.forget_learned(peer)
