"""An attacker on the path, at one port of the switch: forges beside what passes, or copies it from another address.

    onpath.py forge OUTPORT SOURCE TARGET UDPPORT SEED
        for every record datagram SOURCE → TARGET that leaves by OUTPORT, one forged in the same name
    onpath.py copy INPORT OUTPORT SOURCE TARGET UDPPORT COPIERMAC COPIER
        every datagram SOURCE → TARGET that comes in by INPORT leaves by OUTPORT once more, sent by COPIER

Rule: it sees what an attacker sees, so it knows indexes and counters and no key. Forgeries are of six kinds in turn:
another ciphertext, another number of slices, another tail, a parity that was never sent, a far counter, and the first
slice of a long train that never comes. Prints `ready` once it sees, and on SIGTERM one line of JSON: {"seen", "sent"}.
The standard library alone; it runs in the switch's namespace.

Reference: packet(7): a packet socket does not see what it sent itself; docs/wire.md (records).
"""

from __future__ import annotations

import json
import random
import signal
import socket
import struct
import sys

IPV4, UDP, TYPE_RECORD = 0x0800, 17, 4
EVERY_PROTOCOL = 3  # ETH_P_ALL of linux/if_ether.h
ETHERNET, IP_HEAD, UDP_HEAD, RECORD_HEAD = 14, 20, 8, 16
AT_UDP = ETHERNET + IP_HEAD
AT_PAYLOAD = AT_UDP + UDP_HEAD
LARGEST = 65535
AHEAD = 40  # how far beyond the counter seen a forged one may lie
KINDS = 6
LAYOUT = struct.Struct(">BBBBIHHI")


def is_record(payload: bytes) -> bool:
    """Whether a datagram is a slice of a record."""
    return len(payload) > RECORD_HEAD and payload[0] & 15 == TYPE_RECORD


def is_ours(frame: bytes, source: bytes, target: bytes, port: int) -> bool:
    """Whether the frame is a whole UDP datagram over IPv4 from source to target's port."""
    return (
        len(frame) > AT_PAYLOAD
        and frame[12:14] == IPV4.to_bytes(2, "big")
        and frame[ETHERNET] == 0x45
        and frame[ETHERNET + 9] == UDP
        and frame[ETHERNET + 12 : ETHERNET + 20] == source + target
        and frame[AT_UDP + 2 : AT_UDP + 4] == port.to_bytes(2, "big")
    )


def forged(payload: bytes, number: int, rng: random.Random) -> bytes:
    """A record datagram that resembles `payload`, forged in way `number` modulo KINDS."""
    kind, lane, piece, pieces, index, tail, high, low = LAYOUT.unpack_from(payload)
    body = bytearray(payload[RECORD_HEAD:])
    counter = high << 32 | low
    way = number % KINDS
    if way == 0:
        body[rng.randrange(len(body))] ^= 1 + rng.randrange(255)
    elif way == 1:
        pieces = 1 + (pieces + rng.randrange(254)) % 255
        piece %= pieces
    elif way == 2:
        tail = 1 + (tail + rng.randrange(1, 1400)) % 1400
    elif way == 3:
        kind, piece = TYPE_RECORD | 1 << 4, pieces
    elif way == 4:
        counter, piece, pieces, tail = counter + 1 + rng.randrange(AHEAD), 0, 1, len(body)
        body = bytearray(rng.randbytes(len(body)))
    else:
        counter, piece, pieces = counter + 1 + rng.randrange(AHEAD), 0, 200
        body = bytearray(rng.randbytes(1400))
    return LAYOUT.pack(kind, lane, piece, pieces, index, tail, counter >> 32, counter & 0xFFFFFFFF) + bytes(body)


def reframed(frame: bytes, payload: bytes, *, mac: bytes = b"", source: bytes = b"") -> bytes:
    """The frame with another payload, and another sender where one is given."""
    head = bytearray(frame[:AT_UDP])
    if mac:
        head[6:12] = mac
    if source:
        head[ETHERNET + 12 : ETHERNET + 16] = source
    head[ETHERNET + 2 : ETHERNET + 4] = (IP_HEAD + UDP_HEAD + len(payload)).to_bytes(2, "big")
    head[ETHERNET + 10 : ETHERNET + 12] = bytes(2)
    total = sum(struct.unpack(">10H", head[ETHERNET:]))
    total = (total & 0xFFFF) + (total >> 16)
    head[ETHERNET + 10 : ETHERNET + 12] = (~(total + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
    udp = struct.pack(">HH", UDP_HEAD + len(payload), 0)
    return bytes(head) + frame[AT_UDP : AT_UDP + 4] + udp + payload


def door(ifname: str) -> socket.socket:
    """A packet socket on one port of the switch; only one for every protocol is shown what leaves there."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((ifname, EVERY_PROTOCOL))
    return sock


class Stopped(Exception):
    """SIGTERM came."""


def _stop(number: int, frame: object) -> None:
    raise Stopped


def forge(outport: str, source: str, target: str, port: str, seed: str) -> None:
    rng = random.Random(int(seed))
    ends = socket.inet_aton(source), socket.inet_aton(target)
    seen = sent = 0
    with door(outport) as wire:
        print("ready", flush=True)
        try:
            while True:
                frame = wire.recv(LARGEST)
                payload = frame[AT_PAYLOAD:]
                if not (is_ours(frame, *ends, int(port)) and is_record(payload)):
                    continue
                seen += 1
                try:
                    wire.send(reframed(frame, forged(payload, sent, rng)))
                    sent += 1
                except OSError:  # longer than the link takes, or no room
                    continue
        except Stopped:
            print(json.dumps({"seen": seen, "sent": sent}), flush=True)


def copy(inport: str, outport: str, source: str, target: str, port: str, mac: str, copier: str) -> None:
    ends = socket.inet_aton(source), socket.inet_aton(target)
    sender = bytes.fromhex(mac)
    seen = sent = 0
    with door(inport) as ear, door(outport) as mouth:
        print("ready", flush=True)
        try:
            while True:
                frame, where = ear.recvfrom(LARGEST)
                if where[2] == socket.PACKET_OUTGOING or not is_ours(frame, *ends, int(port)):
                    continue
                seen += 1
                mouth.send(reframed(frame, frame[AT_PAYLOAD:], mac=sender, source=socket.inet_aton(copier)))
                sent += 1
        except Stopped:
            print(json.dumps({"seen": seen, "sent": sent}), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    if sys.argv[1] == "forge":
        forge(*sys.argv[2:])
    else:
        copy(*sys.argv[2:])
