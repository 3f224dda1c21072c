"""The underlay between simulated hosts: streams with delay, cuts, partitions and silence.

Rule: a stream delivers in order or breaks, as TCP does; it may break in one direction only. A partition swallows what
is under way and leaves both ends believing in the stream until their heartbeats tell them; a cut tells both ends; what
a host sent before it died arrives. Delays are drawn from the world's rng. Beyond what TCP does, a world may ask that
messages inside a stream are lost, doubled or overtaken (`loss`, `double`, `overtake`): a core must stay safe then, and
agree again by its digests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.sim.clock import Clock

MIN_DELAY_S = 0.0005
MAX_DELAY_S = 0.08


@dataclass(slots=True)
class End:
    """One end of a stream: the host, its life, its id for the link, what to call."""

    host: int
    life: int
    link: int
    receive: Callable[[bytes], None]
    down: Callable[[], None]
    arrives_at: float = 0.0


@dataclass(slots=True)
class Stream:
    """A stream between two ends; `broken` swallows, `closed` is known to be over."""

    ends: tuple[End, End]
    broken: bool = False
    closed: bool = False
    mute: int | None = None
    """The host whose packets are lost while the other's arrive."""

    def other(self, host: int) -> End:
        """The end that is not that host's."""
        return self.ends[1] if self.ends[0].host == host else self.ends[0]


@dataclass(slots=True)
class Network:
    """All streams, by (host, link id)."""

    clock: Clock
    rng: Random
    side: dict[int, int] = field(default_factory=dict)
    streams: dict[tuple[int, int], Stream] = field(default_factory=dict)
    loss: float = 0.0
    double: float = 0.0
    overtake: float = 0.0

    def joined(self, one: int, two: int) -> bool:
        """Whether the two hosts can exchange packets."""
        return self.side.get(one, 0) == self.side.get(two, 0)

    def partition(self, sides: dict[int, int]) -> None:
        """Hosts of different sides hear nothing of each other; streams between them are broken silently."""
        self.side = dict(sides)
        for stream in self.streams.values():
            if not self.joined(stream.ends[0].host, stream.ends[1].host):
                stream.broken = True

    def delay(self) -> float:
        """A one-way delay."""
        return self.rng.uniform(MIN_DELAY_S, MAX_DELAY_S)

    def open(self, one: End, two: End) -> None:
        """A stream is established."""
        stream = Stream((one, two))
        for end in stream.ends:
            self.streams[end.host, end.link] = stream

    def send(self, host: int, link: int, message: bytes) -> None:
        """Send on a stream; nothing happens on one that is over."""
        stream = self.streams.get((host, link))
        if stream is None or stream.broken or stream.closed or stream.mute == host:
            return
        end = stream.other(host)

        def deliver() -> None:
            if not stream.broken and stream.mute != host:
                end.receive(message)

        for at in self._arrivals(end):
            self.clock.at(at, deliver)

    def close(self, host: int, link: int, silently: bool = False) -> None:
        """One end is gone. What it sent still arrives; the other hears of the end after that, unless silently."""
        stream = self.streams.pop((host, link), None)
        if stream is None:
            return
        other = stream.other(host)
        if not stream.broken and not stream.closed and not silently and stream.mute != host:
            other.arrives_at = max(self.clock.now + self.delay(), other.arrives_at)
            self.clock.at(other.arrives_at, other.down)
        stream.closed = True

    def disorder(self, loss: float, double: float, overtake: float) -> None:
        """From now on so many of the messages inside streams are lost, doubled or overtaken."""
        self.loss, self.double, self.overtake = loss, double, overtake

    def mute(self) -> None:
        """From now on one end of a random stream is not heard by the other, and neither is told."""
        key = self._any()
        if key is not None:
            self.streams[key].mute = key[0]

    def cut(self) -> None:
        """Break a random stream, both ends hearing of it."""
        key = self._any()
        if key is not None:
            stream = self.streams[key]
            stream.closed = stream.broken = True
            for end in stream.ends:
                self.streams.pop((end.host, end.link), None)
                self.clock.after(self.delay(), end.down)

    def _arrivals(self, end: End) -> list[float]:
        """When a message sent now arrives: once, unless this network does what no stream does."""
        at = self.clock.now + self.delay()
        if self.overtake and self.rng.random() < self.overtake:
            return [at + self.rng.choice((0.0, MAX_DELAY_S, 1.0))]
        end.arrives_at = max(at, end.arrives_at)
        if self.loss and self.rng.random() < self.loss:
            return []
        if self.double and self.rng.random() < self.double:
            return [end.arrives_at, end.arrives_at + self.delay()]
        return [end.arrives_at]

    def _any(self) -> tuple[int, int] | None:
        whole = [key for key, stream in sorted(self.streams.items()) if not stream.closed]
        return self.rng.choice(whole) if whole else None
