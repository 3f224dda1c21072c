"""The shapes of requests: what has a default, and every wrong value refused."""

from __future__ import annotations

import msgspec
import pytest

from meshnet.control.requests import EndpointRequest, ExposeRequest, LeaveRequest, NetworkRequest, TokenRequest


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [
        (TokenRequest, b"{}", TokenRequest(1, 3600, [])),
        (NetworkRequest, b'{"name": "web"}', NetworkRequest("web", [], None)),
        (NetworkRequest, b'{"name": "w", "mtu": 9000}', NetworkRequest("w", [], 9000)),
        (ExposeRequest, b"{}", ExposeRequest("default", False, None)),
        (LeaveRequest, b"{}", LeaveRequest(False)),
        (
            EndpointRequest,
            b'{"target": "web", "netns": "4:1"}',
            EndpointRequest("web", "4:1", "default", None, "mesh0"),
        ),
    ],
)
def test_what_is_left_out_has_a_default(kind: type[msgspec.Struct], body: bytes, value: msgspec.Struct) -> None:
    assert msgspec.json.decode(body, type=kind) == value


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (NetworkRequest, b'{"name": "a_b"}'),
        (NetworkRequest, b'{"name": "' + b"a" * 64 + b'"}'),
        (NetworkRequest, b'{"name": "web", "mtu": 575}'),
        (NetworkRequest, b'{"name": "web", "subnet": []}'),
        (ExposeRequest, b'{"network": ""}'),
        (ExposeRequest, b'{"ip": 7}'),
        (LeaveRequest, b'{"wipe": null}'),
        (LeaveRequest, b'{"force": true}'),
    ],
)
def test_wrong_values_and_unknown_fields_are_refused(kind: type[msgspec.Struct], body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=kind)
