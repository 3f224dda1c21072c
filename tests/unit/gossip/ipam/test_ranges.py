from __future__ import annotations

import pytest

from gossip.ipam.ranges import address_of, network_of, parse_interface, show


@pytest.mark.parametrize("text", ["10.1.2.3", "0.0.0.0", "255.255.255.255", "fd00::1", "ffff::"])
def test_addresses_survive(text: str) -> None:
    assert show(address_of(text)) == text


@pytest.mark.parametrize("text", ["", "10.0.0", "::1", "fe80::1%eth0", "10.0.0.1/8", "010.0.0.1"])
def test_what_no_pool_holds(text: str) -> None:
    with pytest.raises(ValueError):
        address_of(text)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0", "::/0", "::/96", "::ffff:0:0/200", "x/8", "10.0.0.0/33"])
def test_what_is_no_pool(text: str) -> None:
    with pytest.raises(ValueError):
        network_of(text)


@pytest.mark.parametrize(
    ("cidr", "reserved", "usable"),
    [
        ("10.0.0.0/29", ["10.0.0.0", "10.0.0.1", "10.0.0.7"], 5),
        ("10.0.0.0/30", ["10.0.0.0", "10.0.0.3"], 2),
        ("10.0.0.0/31", [], 2),
        ("10.0.0.0/32", [], 1),
        ("fd00::/126", ["fd00::"], 3),
        ("fd00::/127", [], 2),
    ],
)
def test_reserved_addresses(cidr: str, reserved: list[str], usable: int) -> None:
    pool = network_of(cidr)
    assert [show(a) for a in range(pool.start, pool.end) if pool.reserved(a)] == reserved
    assert pool.usable(pool.start, pool.end) == usable


def test_interfaces_carry_their_length() -> None:
    assert parse_interface("10.0.0.9/12") == (0x0A000009, 12)
    for text in ("10.0.0.9", "::9/64", "10.0.0.9/33"):
        with pytest.raises(ValueError):
            parse_interface(text)
