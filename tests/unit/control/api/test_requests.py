"""The shapes of requests: what has a default, and every wrong value refused."""

from __future__ import annotations

import msgspec
import pytest

from meshnet.control.api.requests import (
    AcceptRequest,
    AllowRequest,
    EndpointRequest,
    ExposeRequest,
    FinishRequest,
    LeaveRequest,
    NetworkRequest,
    PasswordRequest,
    RevokeRequest,
    TokenRequest,
)


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [
        (TokenRequest, b"{}", TokenRequest(1, 3600, [])),
        (NetworkRequest, b'{"name": "web"}', NetworkRequest("web", [], None)),
        (NetworkRequest, b'{"name": "w", "mtu": 9000}', NetworkRequest("w", [], 9000)),
        (ExposeRequest, b"{}", ExposeRequest("default", False, None)),
        (LeaveRequest, b"{}", LeaveRequest(False)),
        (RevokeRequest, b"{}", RevokeRequest(None, False, "")),
        (FinishRequest, b"{}", FinishRequest(False)),
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
        (RevokeRequest, b'{"issued_from": 1.5}'),
        (RevokeRequest, b'{"reason": "' + b"x" * 121 + b'"}'),
        (AllowRequest, b'{"key": "' + b"A" * 64 + b'", "on": true}'),
        (PasswordRequest, b"{}"),
    ],
)
def test_wrong_values_and_unknown_fields_are_refused(kind: type[msgspec.Struct], body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=kind)


def test_what_is_secret_in_a_request_is_not_in_its_repr() -> None:
    assert "swordfish" not in repr(PasswordRequest("swordfish")) + repr(AcceptRequest("swordfish"))
