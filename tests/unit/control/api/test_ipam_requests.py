"""What is asked about addresses: shapes that refuse what makes no sense."""

from __future__ import annotations

import msgspec
import pytest

from meshnet.control.api.ipam_requests import MAX_PEERS, AddressRequest, ReclaimRequest, RegistrarRequest


def test_an_address_is_one_of_the_default_network_unless_another_is_named() -> None:
    assert msgspec.json.decode(b'{"address": "10.32.0.7"}', type=AddressRequest).network == "default"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (AddressRequest, {"address": "10.32.0.7", "network": "No Name"}),
        (AddressRequest, {"address": "1" * 65}),
        (AddressRequest, {"address": "10.32.0.7", "force": True}),
        (ReclaimRequest, {"peers": []}),
        (ReclaimRequest, {"peers": ["web-3"] * (MAX_PEERS + 1)}),
        (ReclaimRequest, {"peers": ["web 3"]}),
        (RegistrarRequest, {"peer": ""}),
    ],
)
def test_nonsense_has_no_shape(kind: type[msgspec.Struct], body: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(body), type=kind)
