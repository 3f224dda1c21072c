"""The bench's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import case_of, parser, peer


def test_lists_are_given_with_commas() -> None:
    chosen = parser().parse_args(["throughput", "--wire", "nic,plain", "--streams", "1,4", "--peers", "none"])
    assert (chosen.wire, chosen.streams, chosen.peers) == (["nic", "plain"], ["1", "4"], ["none"])
    assert case_of(chosen)[2] == {"tcp×1": "Gb/s", "tcp×4": "Gb/s"}


@pytest.mark.parametrize("case", ["latency", "pps"])
def test_every_case_has_figures(case: str) -> None:
    assert case_of(parser().parse_args([case]))[2]


def test_peers_by_name() -> None:
    assert [peer(name, Path("p.py")).name for name in ("meshnet", "vxlan", "none", "prototype")] == [
        "meshnet",
        "vxlan",
        "none",
        "prototype",
    ]
    with pytest.raises(ValueError, match="needs --prototype"):
        peer("prototype", None)
    with pytest.raises(ValueError, match="no peer wireguard"):
        peer("wireguard", None)
