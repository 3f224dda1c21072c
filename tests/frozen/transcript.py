"""The whole transcript as one value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crypto.handshake import WIRE_VERSION
from crypto.primitives import Suite
from tests.frozen import datagrams, statements, streams
from tests.frozen.cast import MESH, SECRET

STORED = Path(__file__).with_name(f"wire-{WIRE_VERSION}.json")


def transcript() -> dict[str, Any]:
    """Everything, as text that JSON can hold; bytes are hexadecimal."""
    return {
        "wire version": WIRE_VERSION,
        "mesh": MESH.hex(),
        "mesh secret": {"generation": SECRET.generation, "key": SECRET.key.hex()},
        "udp": {suite.value: datagrams.section(suite) for suite in Suite},
        "streams": streams.section(),
        "state": statements.section(),
    }


def rendered(content: dict[str, Any]) -> str:
    """The text of the file: the same for the same content."""
    return json.dumps(content, indent=1) + "\n"
