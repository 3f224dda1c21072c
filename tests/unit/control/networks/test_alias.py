"""A link's alias: read back as it was written, cut where it is too long, and nothing at all where it is not ours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshnet.control.networks.alias import Alias
from meshnet.host.ports import MAX_ALIAS_BYTES

MESH = bytes(range(16))
WEB = Alias(
    mesh=MESH,
    network="web",
    number=0xBEEF,
    addresses=("10.77.0.2/16",),
    mac=b"\2\0\0\0\0\1",
    endpoint=bytes.fromhex("0a1b2c3d4e"),
    netns="4:4026531840",
    ifname="mesh0",
    target="/run/netns/web",
)


def test_an_alias_is_one_line_that_says_whose_the_link_is() -> None:
    text = WEB.text()
    assert text == "meshnet/1 00010203 web beef 10.77.0.2/16 020000000001 0a1b2c3d4e 4:4026531840 mesh0 /run/netns/web"
    assert Alias.parse(text, MESH) == replace(WEB, mesh=MESH)


def test_what_is_not_known_stays_empty() -> None:
    docker = replace(WEB, netns="", ifname="", target="docker-6f6f6f6f6f6f", addresses=("10.77.0.2/16", "fd00::2/64"))
    assert Alias.parse(docker.text(), MESH) == docker


def test_what_only_people_read_goes_first() -> None:
    long = replace(WEB, target="x" * 255)
    found = Alias.parse(long.text(), MESH)
    assert len(long.text()) == MAX_ALIAS_BYTES and found is not None
    assert replace(found, target="") == replace(WEB, target="") and long.target.startswith(found.target)
    longer = replace(
        WEB,
        network="n" * 63,
        addresses=("fd00:1111:2222:3333:4444:5555:6666:7777/64",) * 3,
        netns="9" * 20 + ":" + "9" * 20,
    )
    assert len(longer.text()) <= MAX_ALIAS_BYTES
    assert Alias.parse(longer.text(), MESH) == replace(longer, netns="", ifname="", target="")
    assert replace(WEB, addresses=("fd00:1111:2222:3333:4444:5555:6666:7777/64",) * 6).text() == ""


@pytest.mark.parametrize("target", ["my web", "web\n", "wéb", "\x00"])
def test_an_alias_holds_words_of_printable_ascii(target: str) -> None:
    text = replace(WEB, target=target).text()
    assert text.isascii() and text.isprintable() and Alias.parse(text, MESH) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "uplink to the switch",
        WEB.text().replace("meshnet/1", "meshnet/2"),
        WEB.text().replace("10.77.0.2/16", "10.77.0.2/99"),
        WEB.text().replace("10.77.0.2/16", "10.77.0.2"),
        WEB.text().replace("10.77.0.2/16", ""),
        WEB.text().replace("020000000001", "0200"),
        WEB.text().replace("beef", "0"),
        WEB.text().replace("beef", "1beefbeef"),
        WEB.text().replace("0a1b2c3d4e", "zz"),
        "meshnet/1 00010203 web beef 10.77.0.2/16",
    ],
)
def test_what_is_not_whole_is_no_alias(text: str) -> None:
    assert Alias.parse(text, MESH) is None


def test_a_link_of_another_mesh_is_not_ours() -> None:
    assert Alias.parse(WEB.text(), bytes(16)) is None
