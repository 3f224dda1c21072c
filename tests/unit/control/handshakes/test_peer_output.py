"""The outputs: plain data that shows no key."""

from __future__ import annotations

import dataclasses

import pytest

from crypto.handshake import Choice, Established
from meshnet.control.handshakes.peer_output import DropSession, install

KEYS = (b"k" * 32, b"r" * 32)


def test_a_session_s_output() -> None:
    choice = Choice(bytes(8), 1, 5, 20_000)
    established = Established(7, 8, *KEYS, bytes(32), None, choice, bytes(32))
    output = install(b"p" * 32, established, ("192.0.2.1", 9), initiator=True, features=5, record=20_000)
    assert (output.local_index, output.remote_index, output.initiator, output.version) == (7, 8, True, 1)
    assert (output.send_key, output.receive_key) == KEYS
    assert (output.features, output.largest_record, output.address) == (5, 20_000, ("192.0.2.1", 9))
    assert not any(str(key) in repr(shown) for key in KEYS for shown in (output, established))


def test_outputs_are_data() -> None:
    output = DropSession(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        output.local_index = 2  # type: ignore[misc]
