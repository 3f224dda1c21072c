"""`python -m bench CASE`, one of CASES: peers side by side in one run.

Needs root (those in ROOTLESS do not). Progress goes to stderr, the table to stdout, everything to JSON
under bench/results/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import report
from bench.cases import addresses, flood, gossip, handshakes, hosts, latency, pps, restart, throughput
from bench.machine import fingerprint
from bench.micro import runner
from bench.peers.adapter import Peer
from bench.peers.meshnet import Meshnet
from bench.peers.none import Direct
from bench.peers.prototype import Prototype
from bench.peers.vxlan import Vxlan
from bench.run import Probe, measure
from tests.lab.errors import LabError
from tests.lab.lab import missing
from tests.lab.wire import Wire

PEERS = ("meshnet", "vxlan", "none", "prototype")
BASES = ("vxlan", "none", "prototype")
CASES = ("throughput", "latency", "pps", "restart", "flood", "hosts", "handshakes", "gossip", "addresses", "micro")
ROOTLESS = ("handshakes", "gossip", "addresses", "micro")
WARM_SECONDS = 1


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def peer(name: str, prototype: Path | None) -> Peer:
    """The adapter of that name; ValueError for an unknown one."""
    if name == "prototype":
        if prototype is None:
            raise ValueError("the peer prototype needs --prototype PATH")
        return Prototype(prototype)
    adapters: dict[str, type[Meshnet] | type[Vxlan] | type[Direct]] = {
        "meshnet": Meshnet,
        "vxlan": Vxlan,
        "none": Direct,
    }
    if name not in adapters:
        raise ValueError(f"no peer {name}; there are {', '.join(PEERS)}")
    return adapters[name]()


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m bench", description="peers side by side in one run, as ratios")
    top.add_argument("case", choices=CASES)
    top.add_argument("modules", nargs="*", help="micro: these files of bench/micro only; gossip: these parts")
    top.add_argument("--peers", type=words, help=f"of {','.join(PEERS)}; default all that can run")
    top.add_argument("--prototype", type=Path, metavar="PATH", help="a fast-path prototype to measure too")
    top.add_argument("--wire", type=words, default=["offload", "plain", "nic"], help="default offload,plain,nic")
    top.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds, default 5")
    top.add_argument("--seconds", type=int, default=4, metavar="S", help="length of one measurement, default 4")
    top.add_argument("--streams", type=words, default=["1"], help="throughput: numbers of TCP streams, as in 1,4")
    top.add_argument("--loss", type=float, default=0.0, metavar="PERCENT", help="random loss in the middle")
    top.add_argument(
        "--sizes", type=words, default=["100", "200", "300", "1000"], help="gossip: default 100,200,300,1000 peers"
    )
    top.add_argument("--cut", type=float, default=3600.0, metavar="S", help="gossip: how long halves are cut off")
    top.add_argument("--json", type=Path, metavar="OUT", help="where the JSON goes, default bench/results/")
    return top


def case_of(chosen: argparse.Namespace) -> tuple[Probe, Probe, Mapping[str, str]]:
    """The probe, its short form for warming up, and the figures' units."""
    if chosen.case == "throughput":
        streams = [int(word) for word in chosen.streams]
        warm = throughput.probe(WARM_SECONDS, [1])
        return throughput.probe(chosen.seconds, streams), warm, throughput.units(streams)
    case = latency if chosen.case == "latency" else pps
    return case.probe(chosen.seconds), case.probe(WARM_SECONDS), case.UNITS


def compare(chosen: argparse.Namespace) -> None:
    machine = fingerprint()
    if chosen.case == "restart":
        units: Mapping[str, str] = restart.UNITS
        tables = [restart.measure(Wire(wire), chosen.repeat) for wire in chosen.wire]
    elif chosen.case == "flood":
        units = flood.UNITS
        tables = [flood.measure(Wire(wire), chosen.repeat, chosen.seconds) for wire in chosen.wire]
    elif chosen.case == "hosts":
        units = hosts.UNITS
        tables = [hosts.measure(Wire(wire), chosen.repeat) for wire in chosen.wire]
    elif chosen.case == "handshakes":
        units = handshakes.UNITS
        tables = [handshakes.measure(chosen.repeat, chosen.seconds)]
    elif chosen.case == "addresses":
        units = addresses.UNITS
        tables = [addresses.measure(chosen.repeat)]
    else:
        names = chosen.peers or [name for name in PEERS if name != "prototype" or chosen.prototype]
        probe, warm, units = case_of(chosen)
        tables = []
        for wire in chosen.wire:
            peers = [peer(name, chosen.prototype) for name in names]
            tables.append(measure(Wire(wire), peers, probe, warm, chosen.repeat, loss=chosen.loss / 100))
    arguments = {key: value.name if isinstance(value, Path) else value for key, value in vars(chosen).items()}
    found = report.document(chosen.case, tables, machine, arguments)
    print(report.text(tables, units, BASES))
    print(f"kernel {machine['kernel']}, {machine['cpus']} × {machine['cpu']}, python {machine['python']}")
    print(f"saved as {report.save(found, chosen.json)}")


def spread(chosen: argparse.Namespace) -> None:
    machine = fingerprint()
    parts = chosen.modules or gossip.PARTS
    found = [gossip.measure(gossip.Plan(int(size), chosen.cut, parts=parts)) for size in chosen.sizes]
    arguments = {"sizes": chosen.sizes, "cut": chosen.cut}
    document = report.document(chosen.case, [], machine, arguments) | {"goals": gossip.GOALS, "figures": found}
    print(gossip.table(found))
    print(f"saved as {report.save(document, chosen.json)}")


def micro(modules: Sequence[str]) -> None:
    for name, nanoseconds in runner.run(list(modules)).items():
        print(f"{name:<48}{nanoseconds:>12.0f} ns")


def main() -> int:
    chosen = parser().parse_args()
    if chosen.case == "micro":
        micro(chosen.modules)
        return 0
    if chosen.case == "gossip":
        spread(chosen)
        return 0
    reason = None if chosen.case in ROOTLESS else missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    try:
        compare(chosen)
    except (LabError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
