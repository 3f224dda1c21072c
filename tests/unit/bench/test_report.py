"""The table and the JSON of a run."""

from __future__ import annotations

import json
from pathlib import Path

from bench.report import document, save, spread, text
from bench.run import Table


def table() -> Table:
    samples = {"meshnet": {"tcp×1": [4.0, 6.0]}, "vxlan": {"tcp×1": [8.0, 8.0]}}
    return Table("nic", 0.01, samples, {"meshnet": {"mtu": 1500}, "vxlan": {}}, 1.25, 42)


def test_spread_is_median_and_range() -> None:
    assert spread([1.0, 3.0, 2.0]) == "2 (1–3)"
    assert spread([]) == "–"


def test_the_table_names_wire_loss_and_bases_that_were_measured() -> None:
    lines = text([table()], {"tcp×1": "Gb/s"}, ["vxlan", "none"]).splitlines()
    assert lines[0] == "nic wire, loss 1.000%, 42 datagrams dropped: tcp×1, Gb/s (steal 1.2 %)"
    assert lines[1].split() == ["peer", "Gb/s", "÷", "vxlan"]
    assert lines[2].split() == ["meshnet", "5", "(4–6)", "0.625", "(0.5–0.75)"]
    assert lines[3].split() == ["vxlan", "8", "(8–8)", "1"]


def test_the_document_holds_all_samples(tmp_path: Path) -> None:
    found = document("throughput", [table()], {"kernel": "6.18"}, {"repeat": 2})
    path = save(found, tmp_path / "deep" / "out.json")
    read = json.loads(path.read_text())
    assert read["schema"] == "meshnet.bench/v1"
    assert read["tables"][0]["samples"]["meshnet"]["tcp×1"] == [4.0, 6.0]
    assert (read["machine"], read["arguments"]) == ({"kernel": "6.18"}, {"repeat": 2})
