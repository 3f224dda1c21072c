"""What a command writes: data on stdout, words on stderr.

Rule: tables are plain aligned columns, `-` where there is nothing; what came from other peers cannot move the
cursor; colour marks states only, on a terminal only, and never says what a word does not.  A closed pipe ends the
command quietly.  Reference: https://no-color.org.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence

from meshnet.errors import MeshnetError

__all__ = [
    "age",
    "amount",
    "clean",
    "coloured",
    "complain",
    "data",
    "json_data",
    "notice",
    "paint",
    "say",
    "table",
]

BROKEN_PIPE = 141
COLOURS = {"up": 32, "READY": 32, "connecting": 33, "down": 31, "unreachable": 31, "revoked": 31}
UNITS = ("", "K", "M", "G", "T", "P")


def data(text: str) -> None:
    """Write lines of data to stdout; exits with 141 when nobody reads them any more."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE) from None


def json_data(value: object) -> None:
    """Write one JSON object to stdout, keys in the daemon's order."""
    data(json.dumps(value, indent=2))


def say(text: str) -> None:
    """Write words for the operator to stderr."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        pass  # nobody reads the words; the command's work goes on


def complain(error: MeshnetError) -> None:
    """Write an error to stderr: what, why, what to do."""
    for label, text in (("error", error.what), ("why", error.why), ("fix", error.fix)):
        say(f"{label + ':':7}{clean(text)}")


def clean(value: object) -> str:
    """One line of printable text for a value; `-` for None and for nothing."""
    if value is None:
        return "-"
    text = "".join(char if char.isprintable() else "?" for char in str(value))
    return text or "-"


def notice(value: Mapping[str, object]) -> str:
    """One line for a notice of the daemon: what, why and what to do."""
    return f"{clean(value.get('what'))}: {clean(value.get('why'))} ({clean(value.get('fix'))})"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], colour: bool = False) -> list[str]:
    """Lines of left-aligned columns, two spaces apart; `rows` hold one value per heading."""
    cells = [list(headings), *([clean(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = []
    for row in cells:
        line = "  ".join(
            paint(cell, colour) + " " * (width - len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        lines.append(line.rstrip())
    return lines


def paint(word: str, colour: bool) -> str:
    """The word, in its state's colour where `colour`."""
    code = COLOURS.get(word) if colour else None
    return word if code is None else f"\x1b[{code}m{word}\x1b[0m"


def coloured(no_color: bool) -> bool:
    """Whether stdout is a terminal that wants colours."""
    wanted = not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and sys.stdout.isatty()


def age(seconds: object) -> str:
    """Seconds as `42s`, `3m12s`, `5h07m` or `3d4h`; `-` for None."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return "-"
    total = max(0, int(seconds))
    minutes, hours, days = total // 60, total // 3600, total // 86_400
    if total < 60:
        return f"{total}s"
    if hours < 1:
        return f"{minutes}m{total % 60:02}s"
    if days < 1:
        return f"{hours}h{minutes % 60:02}m"
    return f"{days}d{hours % 24}h"


def amount(count: object) -> str:
    """A number of bytes as `830`, `1.2K`, `45M`: steps of 1000, as networks count; `-` for None."""
    if not isinstance(count, int | float) or isinstance(count, bool):
        return "-"
    value = float(count)
    step = 0
    while value >= 999.5 and step < len(UNITS) - 1:
        value /= 1000
        step += 1
    digits = 1 if step and value < 9.95 else 0
    return f"{value:.{digits}f}{UNITS[step]}"
