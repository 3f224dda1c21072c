"""Talking between namespaces: small senders, listeners and a TCP ping-pong, run as a script inside a
namespace.

Rule: a listener prints `ready` once its socket is bound, then one line `<source> <hex of the payload>` per
message, and ends by itself after `--count` messages or `--seconds`; so the caller waits for an answer and
never for a while. The standard library alone, so that it starts quickly in any namespace.

    talk.py listen udp|tcp ADDRESS PORT [--count N] [--seconds S] [--group G]
    talk.py send udp|tcp ADDRESS PORT HEX|- [--from ADDRESS] [--times N]       `-`: the hex comes from stdin
    talk.py raw ADDRESS FROMPORT PORT HEX        one UDP datagram over IPv4 from a port that another process
    holds talk.py echo ADDRESS PORT                    TCP: returns whatever arrives, until it is ended
    talk.py pingpong ADDRESS PORT SECONDS SIZE   prints {"count", "p50_us", "p99_us"} of half round trips
    talk.py unreachable ADDRESS CODE FROM FROMPORT TO TOPORT
                                                 sends ADDRESS an ICMP "unreachable" (code 1 host, 3 port)
                                                 that quotes a UDP datagram FROM -> TO, as a router on the way
                                                 would
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import socket
import struct
import sys
import time

LARGEST = 65535
MULTICAST_TTL = 4


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(arguments: argparse.Namespace) -> None:
    kind = socket.SOCK_DGRAM if arguments.protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(family_of(arguments.address), kind) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((arguments.group or arguments.address, arguments.port))
        if arguments.group:
            member = socket.inet_aton(arguments.group) + socket.inet_aton(arguments.address)
            door.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        if kind is socket.SOCK_STREAM:
            door.listen()
        door.settimeout(arguments.seconds)
        print("ready", flush=True)
        for _ in range(arguments.count):
            if kind is socket.SOCK_DGRAM:
                message, source = door.recvfrom(LARGEST)
            else:
                message, source = whole_stream(door)
            print(source[0], message.hex(), flush=True)


def whole_stream(door: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """Accept one connection and read it to its end."""
    stream, source = door.accept()
    parts = []
    with stream:
        stream.settimeout(door.gettimeout())
        while part := stream.recv(LARGEST):
            parts.append(part)
    return b"".join(parts), source


def send(arguments: argparse.Namespace) -> None:
    message = bytes.fromhex(sys.stdin.read() if arguments.hex == "-" else arguments.hex)
    if arguments.protocol == "tcp":
        with socket.create_connection((arguments.address, arguments.port), timeout=10) as stream:
            stream.sendall(message * arguments.times)
        return
    with socket.socket(family_of(arguments.address), socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if arguments.source:
            sender.bind((arguments.source, 0))
            if sender.family == socket.AF_INET:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(arguments.source))
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, MULTICAST_TTL)
        for _ in range(arguments.times):
            sender.sendto(message, (arguments.address, arguments.port))


def echo(arguments: argparse.Namespace) -> None:
    with socket.create_server((arguments.address, arguments.port), family=family_of(arguments.address)) as door:
        print("ready", flush=True)
        while True:
            stream, _ = door.accept()
            with stream:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while part := stream.recv(LARGEST):
                    stream.sendall(part)


def pingpong(arguments: argparse.Namespace) -> None:
    message = bytes(arguments.size)
    halves: list[float] = []
    with socket.create_connection((arguments.address, arguments.port), timeout=10) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + arguments.seconds
        now = time.perf_counter()
        while now < end:
            stream.sendall(message)
            left = arguments.size
            while left:
                left -= len(stream.recv(left)) or sys.exit("the other end closed")
            then, now = now, time.perf_counter()
            halves.append((now - then) / 2 * 1e6)
    halves.sort()
    found = {
        "count": len(halves),
        "p50_us": halves[len(halves) // 2],
        "p99_us": halves[len(halves) * 99 // 100],
    }
    print(json.dumps(found))


def unreachable(arguments: argparse.Namespace) -> None:
    quoted = struct.pack(
        ">BBHHHBBH4s4sHHHH",
        *(0x45, 0, 128, 0, 0, 64, socket.IPPROTO_UDP, 0),
        *(ipaddress.IPv4Address(address).packed for address in (arguments.source, arguments.target)),
        *(arguments.source_port, arguments.target_port, 108, 0),
    )
    message = struct.pack(">BBHI", 3, arguments.code, 0, 0) + quoted
    total = sum(struct.unpack(f">{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.sendto(message[:2] + struct.pack(">H", checksum) + message[4:], (arguments.address, 0))


def raw(arguments: argparse.Namespace) -> None:
    payload = bytes.fromhex(arguments.hex)
    header = struct.pack(">HHHH", arguments.source_port, arguments.port, 8 + len(payload), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sender:
        sender.sendto(header + payload, (arguments.address, 0))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description="senders and listeners of the lab")
    verbs = top.add_subparsers(required=True)

    def verb(name: str, *positional: tuple[str, type]) -> argparse.ArgumentParser:
        added = verbs.add_parser(name)
        for word, kind in positional:
            added.add_argument(word, type=kind)
        added.set_defaults(act=globals()[name])
        return added

    listener = verb("listen", ("protocol", str), ("address", str), ("port", int))
    listener.add_argument("--count", type=int, default=1)
    listener.add_argument("--seconds", type=float, default=20.0)
    listener.add_argument("--group")
    sender = verb("send", ("protocol", str), ("address", str), ("port", int), ("hex", str))
    sender.add_argument("--from", dest="source")
    sender.add_argument("--times", type=int, default=1)
    verb("raw", ("address", str), ("source_port", int), ("port", int), ("hex", str))
    verb("echo", ("address", str), ("port", int))
    verb("pingpong", ("address", str), ("port", int), ("seconds", float), ("size", int))
    ends = (("source", str), ("source_port", int), ("target", str), ("target_port", int))
    verb("unreachable", ("address", str), ("code", int), *ends)
    return top


if __name__ == "__main__":
    chosen = parser().parse_args()
    chosen.act(chosen)
