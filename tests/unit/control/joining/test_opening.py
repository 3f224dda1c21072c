"""Opening this host's state: made once, found again, refused when it does not fit, and nothing left by a failure."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.errors import LocalError
from crypto.keys import IdentityKey
from crypto.password import password_key
from crypto.primitives import Suite
from crypto.token import Token
from meshnet.cli.private_input import by_password, by_token
from meshnet.config import DEFAULT_RANGE, Options, Places
from meshnet.control.joining import opening as module
from meshnet.control.joining.join import JoinReply
from meshnet.control.joining.opening import WayIn, choose_range, choose_suite, make, read_secret, refuse_second, resume
from meshnet.control.keys import identity_file, keyfile
from meshnet.control.keys.membership import found
from meshnet.control.store.row import PutLike, Row
from meshnet.control.store.store import Store, StoreError
from meshnet.errors import ExitCode, MeshnetError

PASSWORD = "olive trombone quarry 7 lantern"
OPTIONS = Options.parse(name="alpha", listen=["127.0.0.1:7000"], underlay_mtu=1400, cipher="chacha")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    return Places(tmp_path / "run", directory)


@pytest.fixture
def token() -> str:
    issuer = found("alpha", Suite.CHACHAPOLY, os.urandom)
    return Token(
        mesh=issuer.mesh,
        suite=issuer.suite,
        addresses=("127.0.0.1:1",),
        issuer_identity=issuer.identity.public,
        issuer_static=issuer.static.public,
        secret=bytes(32),
        expires=int(time.time()) + 60,
        uses=1,
    ).encode()


def left(places: Places) -> list[str]:
    return sorted(entry.name for entry in places.state_dir.iterdir())


# --- launch


async def test_what_launch_made_is_what_start_finds(places: Places) -> None:
    opened = await make(places, OPTIONS, None, os.urandom)
    assert opened.fresh and opened.statements == [] and opened.membership.suite is Suite.CHACHAPOLY
    assert set(opened.membership.roles) == {"invite", "admin"}
    assert not keyfile.exists(places.state_dir), "not a peer before it is sealed"
    await opened.seal()
    opened.discard()
    again = await resume(places)
    assert (again.membership, again.options, again.fresh) == (opened.membership, OPTIONS, False)
    again.discard()
    assert keyfile.exists(places.state_dir) and (places.state_dir / "state.db").exists()


async def test_an_attempt_that_was_never_sealed_leaves_nothing(places: Places) -> None:
    opened = await make(places, OPTIONS, None, os.urandom)
    await opened.store.commit([Row("meta", b"more", b"x")])
    opened.discard()
    assert left(places) == []
    with pytest.raises(MeshnetError, match="there is no mesh"):
        await resume(places)
    second = await make(places, OPTIONS, None, os.urandom)
    second.discard()


async def test_options_that_cannot_be_stored_leave_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    async def commit(self: Store, puts: list[PutLike]) -> None:
        raise StoreError("cannot write", "No space left on device", "make room")

    monkeypatch.setattr(Store, "commit", commit)
    with pytest.raises(StoreError):
        await make(places, OPTIONS, None, os.urandom)
    assert left(places) == []


async def test_a_state_directory_with_a_mesh_is_not_changed(places: Places) -> None:
    opened = await make(places, OPTIONS, None, os.urandom)
    await opened.seal()
    opened.discard()
    before = {name: (places.state_dir / name).read_bytes() for name in left(places)}
    for secret in (None, by_token("mesh1-anything"), by_password("a password")):
        with pytest.raises(MeshnetError, match="already holds a mesh") as caught:
            await make(places, OPTIONS, secret, os.urandom)
        assert "meshnet start" in caught.value.fix
    assert {name: (places.state_dir / name).read_bytes() for name in left(places)} == before
    with pytest.raises(MeshnetError):
        refuse_second(places)


# --- join


async def test_join_keeps_what_the_issuer_answered(places: Places, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    granted = found("beta", Suite.CHACHAPOLY, os.urandom)
    asked: list[object] = []

    async def answer(given: Token, name: str, *_: object, **__: object) -> JoinReply:
        asked.append((given.encode(), name))
        return JoinReply(granted, b"i" * 32, [b"one", b"two"])

    monkeypatch.setattr(module, "join", answer)
    opened = await make(places, OPTIONS, by_token(f"  {token}\n"), os.urandom)
    assert asked == [(token, "alpha")]
    assert (opened.membership, opened.statements, opened.fresh) == (granted, [b"one", b"two"], True)
    opened.discard()


@pytest.mark.parametrize("text", [" ", "mesh1-", "not a token", "mesh9-AAAA", "mesh1-" + "A" * 100])
async def test_what_is_no_token_is_said_without_showing_it(places: Places, text: str) -> None:
    with pytest.raises(MeshnetError) as caught:
        await make(places, OPTIONS, by_token(text), os.urandom)
    assert caught.value.code is ExitCode.USAGE and caught.value.what == "this is no token"
    assert len(text) < 5 or text not in str(caught.value)
    assert left(places) == []


async def test_a_refused_join_leaves_nothing(places: Places, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(*_: object, **__: object) -> JoinReply:
        raise MeshnetError("the token was used up", "by somebody", "create another")

    monkeypatch.setattr(module, "join", answer)
    with pytest.raises(MeshnetError, match="used up"):
        await make(places, OPTIONS, by_token(token), os.urandom)
    assert left(places) == []


# --- by password


async def test_launch_with_a_password_admits_by_it_from_the_first_moment(places: Places) -> None:
    opened = await make(places, OPTIONS, by_password(PASSWORD), os.urandom)
    assert opened.membership.password_key == password_key(PASSWORD, opened.membership.mesh)
    await opened.seal()
    opened.discard()
    assert keyfile.load(places.state_dir) == opened.membership
    assert all(PASSWORD.encode() not in (places.state_dir / name).read_bytes() for name in left(places))


async def test_a_weak_password_launches_nothing(places: Places) -> None:
    with pytest.raises(MeshnetError, match="too easy to guess"):
        await make(places, OPTIONS, by_password("hunter2"), os.urandom)
    assert left(places) == []


async def test_join_by_password_goes_to_the_address(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    granted = found("beta", Suite.CHACHAPOLY, os.urandom)
    asked: list[tuple[str, str, str]] = []

    async def answer(address: str, password: str, name: str, *_: object, **__: object) -> JoinReply:
        asked.append((address, password, name))
        return JoinReply(granted, b"i" * 32, [b"one"])

    monkeypatch.setattr(module, "join_by_password", answer)
    opened = await make(places, OPTIONS, by_password(PASSWORD, "192.0.2.7:6799"), os.urandom)
    assert asked == [("192.0.2.7:6799", PASSWORD, "alpha")]
    assert (opened.membership, opened.statements) == (granted, [b"one"])
    opened.discard()


@pytest.mark.parametrize(
    "text", ["", "mesh1-s3cret", "{}", "[]", '{"token": 7}', '{"token": "s3cret", "password": "s3cret"}', "[" * 9_000]
)
async def test_a_secret_of_another_form_is_refused_and_not_shown(places: Places, text: str) -> None:
    with pytest.raises(MeshnetError, match="started wrongly") as caught:
        await make(places, OPTIONS, text, os.urandom)
    assert "s3cret" not in str(caught.value) and left(places) == []


def test_what_lets_a_host_in_is_not_shown() -> None:
    assert "s3cret" not in repr(WayIn(token="s3cret")) + repr(WayIn(password="s3cret", address="192.0.2.7:6799"))


# --- an identity made before


@pytest.mark.parametrize("action", ["launch", "join"])
async def test_the_identity_that_was_shown_is_the_one_that_joins_and_is_then_removed(
    places: Places, token: str, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    used: list[IdentityKey] = []

    async def answer(_: Token, name: str, identity: IdentityKey, *__: object, **___: object) -> JoinReply:
        used.append(identity)
        return JoinReply(found(name, Suite.CHACHAPOLY, os.urandom, identity), b"i" * 32, [])

    monkeypatch.setattr(module, "join", answer)
    shown = identity_file.public_key(places.state_dir, os.urandom)
    secret = None if action == "launch" else by_token(token)
    opened = await make(places, OPTIONS, secret, os.urandom)
    opened.discard()
    assert identity_file.public_key(places.state_dir, os.urandom) == shown, "a failed attempt keeps it"
    opened = await make(places, OPTIONS, secret, os.urandom)
    assert opened.membership.identity.public == shown
    assert [identity.public for identity in used] == [shown] * (2 if action == "join" else 0)
    await opened.seal()
    opened.discard()
    assert "identity.json" not in left(places)
    assert identity_file.public_key(places.state_dir, os.urandom) == shown


# --- start


async def test_nothing_to_start_is_said_with_the_remedy(places: Places) -> None:
    with pytest.raises(MeshnetError) as caught:
        await resume(places)
    assert caught.value.code is ExitCode.NOT_FOUND and "meshnet launch" in caught.value.fix


async def sealed(places: Places) -> None:
    opened = await make(places, OPTIONS, None, os.urandom)
    await opened.seal()
    opened.discard()


async def test_a_database_that_is_missing_or_anothers_is_refused(places: Places) -> None:
    await sealed(places)
    places.database.rename(places.state_dir / "kept")
    with pytest.raises(MeshnetError):
        await resume(places)
    Store.open(places.database, bytes(16), create=True).close()
    with pytest.raises(MeshnetError):
        await resume(places)


@pytest.mark.parametrize("value", [None, b"{}", b'{"name": "A B"}', b'{"name": "a", "later": 1}', b"not json", b"\xff"])
async def test_stored_options_that_cannot_be_read_are_refused(places: Places, value: bytes | None) -> None:
    await sealed(places)
    store = Store.open(places.database, keyfile.load(places.state_dir).state_id, create=False)
    await store.commit([Row(module.SPACE, module.OPTIONS_KEY, value)])
    store.close()
    for _ in range(2):
        with pytest.raises(MeshnetError):
            await resume(places)


# --- choices


@pytest.mark.parametrize(
    ("flags", "suite"),
    [
        ("flags : fpu aes pclmulqdq avx2", Suite.AESGCM),
        ("Features : fp asimd aes pmull sha1", Suite.AESGCM),
        ("flags : fpu avx2", Suite.CHACHAPOLY),
        ("flags : fpu aes", Suite.CHACHAPOLY),
        ("flags : vaes-ish haes pclmulqdq", Suite.CHACHAPOLY),
        ("", Suite.CHACHAPOLY),
    ],
)
def test_the_cipher_is_what_the_cpu_is_good_at(tmp_path: Path, flags: str, suite: Suite) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\n{flags}\n")
    assert choose_suite("auto", cpuinfo) is suite
    assert choose_suite("aes", cpuinfo) is Suite.AESGCM and choose_suite("chacha", cpuinfo) is Suite.CHACHAPOLY


def test_an_unreadable_cpu_gets_the_cipher_that_is_good_anywhere(tmp_path: Path) -> None:
    assert choose_suite("auto", tmp_path / "missing") is Suite.CHACHAPOLY


def test_the_default_range_gives_way_to_the_next_free_one() -> None:
    assert choose_range(None, []) == (DEFAULT_RANGE, None)
    assert choose_range(None, [("192.168.0.0/16", "eth0"), ("2001:db8::/32", "eth0")]) == (DEFAULT_RANGE, None)
    pool, why = choose_range(None, [("10.33.7.0/24", "docker0")])
    assert pool == "10.48.0.0/12" and why is not None and "10.33.7.0/24 dev docker0" in why
    assert choose_range(None, [("10.32.0.0/12", "a"), ("10.48.0.1/32", "b")])[0] == "10.64.0.0/12"
    upper = [(f"10.{number}.0.0/12", "a") for number in range(32, 256, 16)]
    assert choose_range(None, upper)[0] == "10.0.0.0/12", "behind the last one comes the first"


def test_no_range_left_and_a_wanted_one_that_is_taken_are_errors() -> None:
    with pytest.raises(MeshnetError, match=r"no /12 of 10\.0\.0\.0/8 is free"):
        choose_range(None, [("10.0.0.0/8", "tun0")])
    with pytest.raises(MeshnetError, match="overlaps a route"):
        choose_range("10.99.0.0/16", [("10.0.0.0/8", "tun0")])
    assert choose_range("10.99.0.0/16", [("10.98.0.0/16", "tun0"), ("fd00::/8", "tun0")]) == ("10.99.0.0/16", None)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    yield os.pipe()


def test_the_secret_is_read_from_its_pipe_and_the_pipe_closed(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.write(writer, b"mesh1-secret\n\xff")
    os.close(writer)
    assert read_secret(reader) == "mesh1-secret\n�"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)


def test_the_examples_of_tokens_above_are_none() -> None:
    with pytest.raises(LocalError):
        Token.decode("mesh1-" + "A" * 100)
    assert json.loads(json.dumps(OPTIONS.to_json())) == OPTIONS.to_json()


@pytest.mark.parametrize("wipe", [False, True])
def test_after_leaving_the_state_is_aside_or_gone_and_another_mesh_may_begin(tmp_path: Path, wipe: bool) -> None:
    places = Places(tmp_path / "run", tmp_path)
    half = places.state_dir / "keys.json.new"
    half.write_bytes(b"secret")
    files = [places.keys, places.database, places.database.with_name(f"{places.database.name}-wal")]
    for file in files:
        file.write_bytes(b"secret")
    module.retire(places, wipe)
    module.retire(places, wipe)
    assert not any(file.exists() for file in [*files, half]), "what a crash left of the keys goes either way"
    assert sorted(tmp_path.iterdir()) == ([] if wipe else sorted(file.with_name(f"{file.name}.left") for file in files))
