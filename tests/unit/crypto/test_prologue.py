"""The prologue: every part changes it, and only possible parts are taken."""

from __future__ import annotations

import pytest

from crypto.errors import KeyFormatError
from crypto.primitives import Suite
from crypto.prologue import Channel, prologue

MESH = bytes(range(16))


def test_layout() -> None:
    made = prologue(Channel.LINK, MESH, Suite.AESGCM, 7, b"hellos")
    assert made == b"meshnet/1" + b"\x02" + MESH + b"\x01\x07" + b"hellos"


def test_every_part_matters() -> None:
    made = {
        prologue(channel, mesh, suite, epoch, hellos)
        for channel in Channel
        for mesh in (MESH, bytes(16))
        for suite in Suite
        for epoch in (0, 255)
        for hellos in (b"", b"x")
    }
    assert len(made) == 4 * 2 * 2 * 2 * 2


@pytest.mark.parametrize(("mesh", "epoch"), [(bytes(15), 0), (bytes(17), 0), (MESH, -1), (MESH, 256)])
def test_impossible_parts(mesh: bytes, epoch: int) -> None:
    with pytest.raises(KeyFormatError):
        prologue(Channel.UDP, mesh, Suite.AESGCM, epoch)
