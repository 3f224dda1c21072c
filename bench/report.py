"""Results as a table for people and as JSON for machines.

Rule: every figure is a median with its smallest and largest sample; every ratio is of one run, round by
round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.run import Table, median

RESULTS = Path(__file__).with_name("results")
SCHEMA = "meshnet.bench/v1"
NAME_WIDTH, CELL_WIDTH = 12, 24


def spread(values: Sequence[float]) -> str:
    """`median (smallest–largest)` with three digits."""
    return f"{median(values):.3g} ({min(values):.3g}–{max(values):.3g})" if values else "–"


def text(tables: Sequence[Table], units: Mapping[str, str], bases: Sequence[str]) -> str:
    """One block per wire and figure: each peer's value and its ratio to each of `bases` that was measured."""
    lines: list[str] = []
    for table in tables:
        loss = f", loss {table.loss:.3%}, {table.datagrams_lost} datagrams dropped" if table.loss else ""
        for figure, unit in units.items():
            present = [base for base in bases if base in table.samples]
            lines.append(f"{table.wire} wire{loss}: {figure}, {unit} (steal {table.steal_percent:.1f} %)")
            heads = [f"÷ {base}" for base in present]
            lines.append("".join(["peer".ljust(NAME_WIDTH), *(head.ljust(CELL_WIDTH) for head in (unit, *heads))]))
            for peer, samples in table.samples.items():
                cells = [spread(samples.get(figure, []))]
                cells += [spread(table.ratios(peer, base, figure)) if base != peer else "1" for base in present]
                lines.append("".join([peer.ljust(NAME_WIDTH), *(cell.ljust(CELL_WIDTH) for cell in cells)]).rstrip())
            lines.append("")
    return "\n".join(lines)


def document(
    case: str, tables: Sequence[Table], machine: Mapping[str, object], arguments: Mapping[str, object]
) -> dict[str, object]:
    """Everything that was measured, with what it was measured on and how."""
    return {
        "schema": SCHEMA,
        "case": case,
        "generated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(machine),
        "arguments": dict(arguments),
        "tables": [asdict(table) for table in tables],
    }


def save(found: Mapping[str, object], path: Path | None) -> Path:
    """Write it to `path`, or to bench/results/<case>-<time>.json."""
    if path is None:
        stamp = str(found["generated_at"]).partition("+")[0].replace(":", "").replace("-", "")
        path = RESULTS / f"{found['case']}-{stamp}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return path
