"""What is inserted where, from made-up listings, and what happens when a command is missing or refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from meshnet.host import nft
from meshnet.host.errors import HostError
from meshnet.host.nft import BRIDGED, ENTERING, LEAVING, Done, Firewall, masquerade_script, plan, run_command
from meshnet.host.ports import FirewallPort

PLAIN = "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n"
DOCKER = (
    PLAIN + "-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n-A FORWARD -o docker0 -j DOCKER\n-A DOCKER-USER -j RETURN\n"
)
RULE = "-i mn+ -o mn+ -m physdev --physdev-is-bridged -m comment --comment meshnet -j ACCEPT"


class FakeTables:
    """iptables of both families as a list of lines that -I and -D change; ip6tables does as iptables just did."""

    def __init__(self, listed: str = PLAIN) -> None:
        self.lines = listed.splitlines()
        self.failing: dict[str, Done] = {}
        self.ran: list[list[str]] = []
        self.scripts: list[str] = []

    def __call__(self, argv: Sequence[str], stdin: str) -> Done:
        self.ran.append(list(argv))
        if argv[0] in self.failing:
            return self.failing[argv[0]]
        if argv[0] == "nft":
            self.scripts.append(stdin)
        elif argv[0] == "iptables":
            self._act(list(argv[3:]))
        return Done(0, "\n".join(self.lines) + "\n", "")

    def _act(self, words: list[str]) -> None:
        if words[0] == "-D":
            self.lines.remove(" ".join(["-A", *words[1:]]))
        elif words[0] == "-I":
            chain, place = words[1], int(words[2])
            at = [number for number, line in enumerate(self.lines) if line.startswith(f"-A {chain} ")]
            self.lines.insert(
                at[place - 1] if len(at) >= place else len(self.lines), " ".join(["-A", chain, *words[3:]])
            )


@pytest.fixture
def tables() -> FakeTables:
    return FakeTables()


@pytest.fixture
def firewall(tables: FakeTables, tmp_path: Path) -> Firewall:
    (tmp_path / "bridge").mkdir()
    (tmp_path / "ip_forward").write_text("0\n")
    return Firewall(tables, tmp_path / "bridge", tmp_path / "ip_forward")


def test_the_script_replaces_the_whole_table() -> None:
    assert masquerade_script([]) == "table inet meshnet\ndelete table inet meshnet\n"
    script = masquerade_script(["fd00::/64", "10.77.0.0/16", "10.77.0.0/16"])
    assert script.count("10.77.0.0/16 ip daddr != 10.77.0.0/16") == 1
    assert 'ip6 saddr fd00::/64 ip6 daddr != fd00::/64 oifname != "mn*" masquerade' in script
    assert script.startswith("table inet meshnet\ndelete table inet meshnet\ntable inet meshnet {\n")


def test_without_docker_the_rule_is_the_first_of_forward() -> None:
    assert plan(PLAIN, [BRIDGED]) == [("-I", "FORWARD", "1", *BRIDGED)]
    assert plan(PLAIN + f"-A FORWARD {RULE}\n-A FORWARD -j DROP\n", [BRIDGED]) == []


def test_behind_another_rule_it_is_moved_to_the_head() -> None:
    listed = PLAIN + f"-A FORWARD -j DROP\n-A FORWARD {RULE}\n"
    assert plan(listed, [BRIDGED]) == [("-D", "FORWARD", *RULE.split()), ("-I", "FORWARD", "1", *BRIDGED)]


def test_docker_user_is_the_place_where_forward_jumps_there() -> None:
    assert plan(DOCKER, [BRIDGED]) == [("-I", "DOCKER-USER", "1", *BRIDGED)]
    moved = plan(DOCKER + f"-A FORWARD {RULE}\n", [BRIDGED])
    assert moved == [("-D", "FORWARD", *RULE.split()), ("-I", "DOCKER-USER", "1", *BRIDGED)]
    orphan = PLAIN + "-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n"
    assert plan(orphan, [BRIDGED])[0][1] == "FORWARD"


def test_two_of_ours_become_one_and_none_when_none_is_wanted() -> None:
    listed = PLAIN + f"-A FORWARD {RULE}\n-A FORWARD {RULE}\n"
    assert len(plan(listed, [BRIDGED])) == 3
    assert plan(listed, []) == [("-D", "FORWARD", *RULE.split())] * 2
    assert plan(PLAIN + "-A FORWARD -m comment --comment meshnetting -j ACCEPT\n", []) == []


async def test_what_passes_is_inserted_once_kept_and_removed(firewall: FirewallPort, tables: FakeTables) -> None:
    assert await firewall.pass_frames(False)
    assert not await firewall.pass_frames(False)
    assert tables.lines[-1] == f"-A FORWARD {RULE}"
    tables.lines = PLAIN.splitlines()  # somebody flushes
    assert await firewall.pass_frames(False)
    assert await firewall.pass_frames(True)
    assert [nft._shape(line.split()[2:]) for line in tables.lines[3:]] == [
        nft._shape(rule) for rule in (BRIDGED, LEAVING, ENTERING)
    ]
    await firewall.remove()
    assert tables.lines == PLAIN.splitlines()
    assert tables.scripts == [masquerade_script([])]


async def test_without_br_netfilter_no_rule_loads_it(firewall: Firewall, tables: FakeTables, tmp_path: Path) -> None:
    (tmp_path / "bridge").rmdir()
    assert not await firewall.pass_frames(False)
    assert all("physdev" not in words for words in tables.ran)


async def test_masquerading_switches_forwarding_on_and_ending_it_does_not(
    firewall: Firewall, tables: FakeTables, tmp_path: Path
) -> None:
    await firewall.masquerade([])
    assert (tmp_path / "ip_forward").read_text() == "0\n"
    await firewall.masquerade(["10.77.0.0/16"])
    assert (tmp_path / "ip_forward").read_text() == "1"
    assert tables.scripts[-1] == masquerade_script(["10.77.0.0/16"])


async def test_what_the_host_lacks_is_an_error_or_a_note(
    firewall: Firewall, tables: FakeTables, tmp_path: Path
) -> None:
    tables.failing = {"nft": Done(127, "", "there is no command nft"), "ip6tables": Done(1, "", "no\nIPv6")}
    with pytest.raises(HostError, match="no command nft"):
        await firewall.masquerade(["10.77.0.0/16"])
    assert await firewall.pass_frames(False)
    assert firewall.notes() == ["ip6tables cannot be asked whether mesh frames pass: no IPv6"]
    tables.failing.pop("ip6tables")
    await firewall.pass_frames(False)
    assert firewall.notes() == []
    tables.failing.pop("nft")
    (tmp_path / "ip_forward").unlink()
    with pytest.raises(HostError, match="forwarding"):
        await firewall.masquerade(["10.77.0.0/16"])


def test_commands_are_bounded_and_a_missing_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_command(["no-such-command-here"]).code == 127
    assert run_command(["cat"], "text") == Done(0, "text", "")
    assert run_command(["sh", "-c", "echo no >&2; exit 3"]) == Done(3, "", "no\n")
    monkeypatch.setattr(nft, "COMMAND_S", 0.05)
    assert run_command(["sleep", "5"]).code == 124
