"""Places and options: every accepted form, every refusal with the option's name, and the JSON round trip."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet import config
from meshnet.config import Bind, HostPort, Options, Places
from meshnet.errors import ExitCode, MeshnetError


def test_places_default_and_absolute() -> None:
    assert Places.of() == Places(Path("/run/meshnet"), Path("/var/lib/meshnet"))
    places = Places.of("here", "there")
    assert places.socket == Path(os.getcwd(), "here/meshnet.sock")
    assert places.keys == Path(os.getcwd(), "there/keys.json")


def test_run_dir_must_leave_room_for_a_socket() -> None:
    Places.of("/" + "r" * 91)
    with pytest.raises(MeshnetError, match="--run-dir") as caught:
        Places.of("/" + "r" * 92)
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1:7000", HostPort("192.0.2.1", 7000)),
        ("192.0.2.1", HostPort("192.0.2.1", 6799)),
        ("[2001:DB8::1]:7000", HostPort("2001:db8::1", 7000)),
        ("[fe80::1%eth0]:7000", HostPort("fe80::1%eth0", 7000)),
        ("2001:db8::1", HostPort("2001:db8::1", 6799)),
        ("[::1]", HostPort("::1", 6799)),
        (":7000", HostPort("*", 7000)),
        ("*:7000", HostPort("*", 7000)),
    ],
)
def test_listen_forms(text: str, expected: HostPort) -> None:
    assert config.parse_listen(text) == expected
    assert config.parse_listen(str(expected)) == expected


def test_advertise_takes_the_given_port() -> None:
    assert config.parse_advertise("192.0.2.1", 7000) == HostPort("192.0.2.1", 7000)
    assert config.parse_advertise("192.0.2.1:7001", 7000) == HostPort("192.0.2.1", 7001)


def test_an_address_has_one_spelling_and_a_port() -> None:
    assert str(config.parse_address("192.0.2.1")) == f"192.0.2.1:{config.DEFAULT_PORT}"
    assert str(config.parse_address("[2001:DB8:0::7]:7001")) == "[2001:db8::7]:7001"
    assert str(config.parse_address("2001:db8::7")) == f"[2001:db8::7]:{config.DEFAULT_PORT}"


BAD: list[tuple[Callable[[str], object], str, list[str]]] = [
    (
        config.parse_listen,
        "--listen",
        ["", "host:1", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:", "1.2.3.4:x", "[::1", "[::1]x", "1:2:3", "224.0.0.1"],
    ),
    (
        config.parse_advertise,
        "--advertise",
        ["", "0.0.0.0", "[::]:6799", "224.0.0.1:1", "*", "a.example", "1.2.3.4:+1"],
    ),
    (config.parse_address, "the address", ["", "0.0.0.0", "[::]:1", "224.0.0.1:1", "*", "a.example", "1.2.3.4:0"]),
    (config.parse_name, "--name", ["", "-a", "a-", "A", "a_b", "a" * 64, "a\n", "ä"]),
    (
        config.parse_range,
        "--range",
        ["", "x", "10.0.0.0/7", "10.0.0.0/30", "10.32.0.1/12", "224.0.0.0/8", "127.0.0.0/8", "fd00::/64", "10.0.0.1"],
    ),
    (config.parse_underlay_mtu, "--underlay-mtu", ["", "575", "65536", "-1", "1e3", "1500 ", "٣٣٣٣"]),
    (config.parse_cipher, "--cipher", ["", "AES", "none"]),
]


@pytest.mark.parametrize(("parse", "option", "text"), [(p, o, t) for p, o, texts in BAD for t in texts])
def test_refusals_name_their_option(parse: Callable[[str], object], option: str, text: str) -> None:
    with pytest.raises(MeshnetError) as caught:
        parse(text)
    assert caught.value.code is ExitCode.USAGE
    assert option in caught.value.what
    assert "\n" not in caught.value.what


def test_range_is_canonical_and_says_the_right_one() -> None:
    assert config.parse_range("10.32.0.0/255.240.0.0") == "10.32.0.0/12"
    with pytest.raises(MeshnetError) as caught:
        config.parse_range("10.33.0.0/12")
    assert caught.value.fix == "--range 10.32.0.0/12"


@given(st.text(max_size=80))
def test_a_name_made_from_any_host_name_is_valid(hostname: str) -> None:
    assert config.parse_name(config.name_from_host(hostname))


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    for parse, _, _ in BAD:
        try:
            parse(text)
        except MeshnetError:
            pass


def test_listening_everywhere_does_not_require_a_family() -> None:
    assert Options("a").binds() == (Bind("0.0.0.0", 6799, False), Bind("::", 6799, False))
    options = Options.parse(name="a", listen=["192.0.2.1:7000", ":7000", "192.0.2.1:7000"], advertise=["192.0.2.9"])
    assert options.binds() == (
        Bind("192.0.2.1", 7000, True),
        Bind("0.0.0.0", 7000, False),
        Bind("::", 7000, False),
    )
    assert options.advertise == (HostPort("192.0.2.9", 7000),)
    assert options.port == 7000


def test_name_defaults_to_the_host() -> None:
    assert Options.parse(hostname="Host_A.example.org").name == "host-a"
    assert Options.parse(hostname="").name == "peer"


def test_options_survive_json() -> None:
    options = Options.parse(
        name="a",
        listen=["[2001:db8::1]:7000", ":7000"],
        advertise=["192.0.2.1"],
        range="10.64.0.0/12",
        underlay_mtu="1400",
        cipher="chacha",
    )
    assert Options.from_json(json.loads(json.dumps(options.to_json()))) == options
    assert Options.from_json(json.loads(json.dumps(Options("b").to_json()))) == Options("b")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"name": 5},
        {"name": "a", "listen": "x"},
        {"name": "a", "listen": [5]},
        {"name": "a", "underlay_mtu": True},
        {"name": "a", "colour": "red"},
        {"name": "a", "cipher": "rot13"},
        {"name": "a", "hostname": "b"},
    ],
)
def test_other_json_is_refused(value: object) -> None:
    with pytest.raises(MeshnetError):
        Options.from_json(value)


def test_too_many_addresses_are_refused() -> None:
    with pytest.raises(MeshnetError, match="--listen"):
        Options.parse(name="a", listen=[f"127.0.0.{n}:1" for n in range(1, 20)])


def test_pools_of_one_network_share_no_address() -> None:
    assert config.parse_ranges([], "--subnet") == []
    assert config.parse_ranges(["10.1.0.0/16", "10.2.0.0/16"], "--subnet") == ["10.1.0.0/16", "10.2.0.0/16"]
    with pytest.raises(MeshnetError, match=r"--subnet 10\.1\.4\.0/24 overlaps --subnet 10\.1\.0\.0/16"):
        config.parse_ranges(["10.1.0.0/16", "10.3.0.0/16", "10.1.4.0/24"], "--subnet")
