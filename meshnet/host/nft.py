"""The host's packet filter: masquerading by nftables, and the way for our frames through the FORWARD chain.

Purpose: where br_netfilter is on (docker_gwbridge switches it on) and FORWARD drops (dockerd sets that), every frame
between two ports of a bridge dies. An ACCEPT for frames bridged on our bridges stands in DOCKER-USER where FORWARD
jumps there, else at the head of FORWARD, for IPv4 and IPv6. Masquerading is a table `inet meshnet` of our own.
Rule: only rules that carry our comment, and our own table, are ever touched. Only a rule of iptables knows
"bridged" (physdev), and asking for it loads br_netfilter: so nothing is inserted while that is not loaded, which
would change what happens to everybody's bridges.
Flow: masquerade -> one transaction of `nft -f -`; pass_frames -> `iptables -S` -> what is missing is inserted.
Reference: iptables-extensions(8) physdev, nft(8), Documentation/networking/ip-sysctl.rst; design §7, §8.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshnet.host.errors import HostError, os_reason

__all__ = ["Done", "Firewall"]

TABLE = "meshnet"
COMMENT = "meshnet"
BRIDGES = "mn"
BRIDGE_NETFILTER = Path("/proc/sys/net/bridge")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
COMMAND_S = 5.0
LOCK_WAIT_S = "2"
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
MARK = ("-m", "comment", "--comment", COMMENT)
BRIDGED = ("-i", f"{BRIDGES}+", "-o", f"{BRIDGES}+", "-m", "physdev", "--physdev-is-bridged", *MARK, "-j", "ACCEPT")
LEAVING = ("-i", f"{BRIDGES}+", "!", "-o", f"{BRIDGES}+", *MARK, "-j", "ACCEPT")
ENTERING = (
    *("!", "-i", f"{BRIDGES}+", "-o", f"{BRIDGES}+", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"),
    *(*MARK, "-j", "ACCEPT"),
)


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[[Sequence[str], str], Done]


def run_command(argv: Sequence[str], stdin: str = "") -> Done:
    """Run a system command, at most COMMAND_S; a missing one ends with 127."""
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    program = shutil.which(argv[0], path=path)
    if program is None:
        return Done(127, "", f"there is no command {argv[0]}")
    environment = {"PATH": path, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [program, *argv[1:]], input=stdin, capture_output=True, text=True, timeout=COMMAND_S, env=environment
        )
    except subprocess.TimeoutExpired:
        return Done(124, "", f"{argv[0]} did not end within {COMMAND_S:g} s")
    except OSError as error:
        return Done(126, "", os_reason(error))
    return Done(done.returncode, done.stdout, done.stderr)


def masquerade_script(pools: Sequence[str]) -> str:
    """The nft transaction that makes these pools, and no others, masqueraded; the table goes when there are none."""
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}"]
    if pools:
        lines += [f"table inet {TABLE} {{", "  chain postrouting {"]
        lines += ["    type nat hook postrouting priority srcnat; policy accept;"]
        for pool in sorted(dict.fromkeys(pools)):
            family = "ip6" if ":" in pool else "ip"
            lines.append(f'    {family} saddr {pool} {family} daddr != {pool} oifname != "{BRIDGES}*" masquerade')
        lines += ["  }", "}"]
    return "\n".join(lines) + "\n"


def plan(listed: str, rules: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Arguments of the iptables calls that bring the filter table to exactly `rules` of ours, given `iptables -S`.

    Ours stand in DOCKER-USER where FORWARD jumps there, else first in FORWARD; nothing is done where they do already.
    """
    lines = [line.split() for line in listed.splitlines()]
    docker = "-N DOCKER-USER" in listed and any(
        line[:2] == ["-A", "FORWARD"] and line[-2:] == ["-j", "DOCKER-USER"] for line in lines
    )
    home = "DOCKER-USER" if docker else "FORWARD"
    in_home = [line[2:] for line in lines if line[:2] == ["-A", home]]
    ours = [tuple(line) for line in lines if line[:1] == ["-A"] and _is_ours(line)]
    if [_shape(line) for line in in_home[: len(rules)]] == [_shape(rule) for rule in rules] and len(ours) == len(rules):
        return []
    removed = [("-D", *line[1:]) for line in ours]
    return [*removed, *(("-I", home, str(place), *rule) for place, rule in enumerate(rules, 1))]


def _is_ours(line: Sequence[str]) -> bool:
    words = [word.strip('"') for word in line]
    return any(words[at : at + 2] == ["--comment", COMMENT] for at in range(len(words)))


def _shape(rule: Sequence[str]) -> frozenset[str]:
    """What a rule says, whatever order and quotes iptables prints it in."""
    return frozenset(word.strip('"') for word in rule)


class Firewall:
    """The kernel's `FirewallPort`, by the commands nft, iptables and ip6tables."""

    def __init__(
        self, run: Run = run_command, bridge_netfilter: Path = BRIDGE_NETFILTER, forwarding: Path = FORWARDING
    ) -> None:
        self._run = run
        self._bridge_netfilter = bridge_netfilter
        self._forwarding = forwarding
        self._notes: dict[str, str] = {}
        self._turn = asyncio.Lock()

    async def masquerade(self, pools: Sequence[str]) -> None:
        """Masquerade exactly these pools; IPv4 forwarding is switched on where there is one. Raises HostError."""
        async with self._turn:
            await asyncio.to_thread(self._masquerade, list(pools))

    async def pass_frames(self, routed: bool) -> bool:
        """Insert what is missing; whether something was. What cannot be inserted is a note, since most hosts need
        none of it.
        """
        async with self._turn:
            return await asyncio.to_thread(self._pass_frames, routed)

    async def remove(self) -> None:
        """Take our table and rules away; what cannot be removed is a note."""
        async with self._turn:
            await asyncio.to_thread(self._remove)

    def notes(self) -> list[str]:
        """What this host refused, one line each."""
        return list(self._notes.values())

    def _masquerade(self, pools: list[str]) -> None:
        done = self._run(["nft", "-f", "-"], masquerade_script(pools))
        if done.code:
            fix = "install nftables, or leave --masquerade out"
            raise HostError("cannot masquerade", _reason(done), fix)
        if pools:
            self._forward()

    def _forward(self) -> None:
        try:
            if self._forwarding.read_text().strip() != "1":
                self._forwarding.write_text("1")
        except OSError as error:
            fix = "set it by hand: sysctl net.ipv4.ip_forward=1"
            raise HostError("cannot switch IPv4 forwarding on", os_reason(error), fix) from error

    def _pass_frames(self, routed: bool) -> bool:
        rules: list[tuple[str, ...]] = [BRIDGED] if self._bridge_netfilter.exists() else []
        if routed:
            rules += [LEAVING, ENTERING]
        return any([self._bring(command, rules) for command in ("iptables", "ip6tables")])

    def _bring(self, command: str, rules: Sequence[tuple[str, ...]]) -> bool:
        self._notes.pop(command, None)
        listed = self._run([command, "-w", LOCK_WAIT_S, "-S"], "")
        if listed.code:
            if rules:
                self._notes[command] = f"{command} cannot be asked whether mesh frames pass: {_reason(listed)}"
            return False
        calls = plan(listed.out, rules)
        for call in calls:
            done = self._run([command, "-w", LOCK_WAIT_S, *call], "")
            if done.code:
                self._notes[command] = f"{command} does not let mesh frames pass: {_reason(done)}"
                return False
        return bool(calls)

    def _remove(self) -> None:
        done = self._run(["nft", "-f", "-"], masquerade_script([]))
        if done.code and done.code != 127:
            self._notes["nft"] = f"the table inet {TABLE} stays: {_reason(done)}"
        for command in ("iptables", "ip6tables"):
            self._bring(command, [])


def _reason(done: Done) -> str:
    """One line of why a command failed."""
    said = " ".join(done.err.split())
    return said[:200] or f"it ended with {done.code}"
