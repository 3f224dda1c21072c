"""A damaged database: noticed whatever is broken, replaced by the last good copy, kept aside, and said in one line."""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from meshnet.control.store import last_good, schema, store_file
from meshnet.control.store import store as module
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.errors import MeshnetError

STATE = bytes(range(16))
ROWS = [Row("a", n.to_bytes(2, "big"), bytes([n % 256]) * 50) for n in range(400)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run that ended in order: rows on more than one page, and the last good copy."""
    path = tmp_path_factory.mktemp("sound") / "state.db"

    async def run() -> None:
        store = Store.open(path, STATE, create=True)
        await store.commit([Row("gossip.own", b"incarnation", (7).to_bytes(8, "big")), *ROWS])
        store.close()

    asyncio.run(run())
    return files(path.parent)


@pytest.fixture
def path(tmp_path: Path, sound: dict[str, bytes]) -> Path:
    for name, content in sound.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path / "state.db"


def files(directory: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in directory.iterdir() if entry.is_file()}


def commit(store: Store, row: Row) -> None:
    asyncio.run(store.commit([row]))


def at(raw: bytes, where: float) -> int:
    return int(len(raw) * where)


def cut(where: float) -> Callable[[bytes], bytes]:
    return lambda raw: raw[: at(raw, where)]


def flip(where: float) -> Callable[[bytes], bytes]:
    return lambda raw: raw[: at(raw, where)] + bytes([raw[at(raw, where)] ^ 0x10]) + raw[at(raw, where) + 1 :]


def blank(where: float) -> Callable[[bytes], bytes]:
    return lambda raw: raw[: at(raw, where)] + bytes(64) + raw[at(raw, where) + 64 :]


DAMAGE = {
    "gone": lambda raw: b"",
    "no database": lambda raw: b"not a database " * 1000,
    "header only": lambda raw: raw[:100],
    **{f"cut at {n}%": cut(n / 100) for n in (1, 10, 50, 90, 99)},
    **{f"blank at {n}%": blank(n / 100) for n in (30, 60, 95)},
    "a bit of a value": lambda raw: raw.replace(bytes([7]) * 50, bytes([7]) * 49 + bytes([6]), 1),
    "a bit of a name": lambda raw: raw.replace(b"incarnation", b"incarnatioo", 1),
    "no text": lambda raw: raw.replace(b"gossip.own", b"gossip.ow\xff", 1),
}


@pytest.mark.parametrize("spoil", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_file_gives_way_to_its_last_good_copy(
    path: Path, spoil: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    broken = spoil(path.read_bytes())
    path.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        store = Store.open(path, STATE, create=False)
    try:
        assert len(store.load("a")) == 400
        said = [record.getMessage() for record in caplog.records]
        assert said == [store.rolled_back] and "state.db.damaged" in said[0] and "\n" not in said[0]
        assert path.with_name("state.db.damaged").read_bytes() == broken
        assert path.stat().st_mode & 0o777 == 0o600
        commit(store, Row("a", b"more", b"v"))
    finally:
        store.close()
    again = Store.open(path, STATE, create=False)
    try:
        assert again.rolled_back is not None, "it stays so until the mesh was heard"
        asyncio.run(again.trust())
    finally:
        again.close()
    trusted = Store.open(path, STATE, create=False)
    assert trusted.rolled_back is None and len(trusted.load("a")) == 401
    trusted.close()


@pytest.mark.parametrize("where", [n / 61 for n in range(61)])
def test_no_flipped_bit_ends_in_other_state(path: Path, where: float) -> None:
    """Refused as another's, or restored, or harmless: never other rows than were written."""
    path.write_bytes(flip(where)(path.read_bytes()))
    try:
        store = Store.open(path, STATE, create=False)
    except MeshnetError:
        return
    assert store.load("a") == [(row.key, row.value) for row in ROWS]
    store.close()


def test_a_damaged_file_without_a_sound_copy_is_refused_and_both_stay(path: Path) -> None:
    path.write_bytes(b"")
    path.with_name("state.db.good").write_bytes(b"rubbish")
    before = files(path.parent)
    with pytest.raises(MeshnetError, match="its last good copy neither"):
        Store.open(path, STATE, create=False)
    assert files(path.parent) == before


def test_a_copy_of_another_state_is_not_used(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Store.open(other / "state.db", bytes(16), create=True).close()
    path.write_bytes(b"")
    path.with_name("state.db.good").write_bytes((other / "state.db.good").read_bytes())
    with pytest.raises(MeshnetError, match="state id differs"):
        Store.open(path, STATE, create=False)


def test_a_log_that_is_gone_makes_the_state_one_that_was_rolled_back(path: Path, tmp_path: Path) -> None:
    killed = Store.open(path, STATE, create=False)
    commit(killed, Row("a", b"lost", b"v"))
    copy = tmp_path / "copy"  # what a killed process leaves, without the log
    copy.mkdir()
    (copy / "state.db").write_bytes(path.read_bytes())
    killed.close()
    store = Store.open(copy / "state.db", STATE, create=False)
    try:
        assert store.rolled_back is not None and "state.db-wal is gone" in store.rolled_back
        (value,) = [value for key, value in store.load("gossip.own") if key == b"incarnation"]
        assert int.from_bytes(value, "big") == 7 + last_good.MARGIN
    finally:
        store.close()


# --- the log


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a daemon that was killed: its log holds 20 commits."""
    path = tmp_path_factory.mktemp("killed") / "state.db"
    store = Store.open(path, STATE, create=True)
    for row in ROWS[:20]:
        commit(store, row)
    left = files(path.parent)
    store.close()
    return left


def opened(directory: Path, left: dict[str, bytes]) -> Store:
    for name, content in left.items():
        (directory / name).write_bytes(content)
    return Store.open(directory / "state.db", STATE, create=False)


LOG = "state.db-wal"


@pytest.mark.parametrize("spoil", [cut, flip, blank], ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("where", [n / 23 for n in range(23)])
def test_a_damaged_log_is_noticed_wherever_it_is_broken(
    tmp_path: Path, killed: dict[str, bytes], spoil: Callable[[float], Callable[[bytes], bytes]], where: float
) -> None:
    store = opened(tmp_path, {**killed, LOG: spoil(where)(killed[LOG])})
    lost = len(store.load("a")) < 20
    assert (store.rolled_back is not None) == lost
    assert lost or spoil is not cut, "what is cut off is missed"
    store.close()


def test_a_lost_end_of_the_log_is_said_once_and_marks_the_state(
    tmp_path: Path, killed: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        store = opened(tmp_path, {**killed, LOG: flip(0.6)(killed[LOG])})
    left = len(store.load("a"))
    assert 0 < left < 20
    assert [record.getMessage() for record in caplog.records] == [store.rolled_back]
    assert f"lacks its last {20 - left} commits" in str(store.rolled_back)
    (value,) = [value for key, value in store.load("gossip.own") if key == b"incarnation"]
    assert int.from_bytes(value, "big") == last_good.MARGIN
    for row in ROWS[:3]:
        commit(store, row)
    store.close()
    again = Store.open(tmp_path / "state.db", STATE, create=False)
    assert again.rolled_back is not None, "it stays so until the mesh was heard"
    asyncio.run(again.trust())
    again.close()
    trusted = Store.open(tmp_path / "state.db", STATE, create=False)
    assert trusted.rolled_back is None
    trusted.close()


@pytest.mark.parametrize("tail", [b"", bytes(4096), b"torn" * 300], ids=["as it was", "zeros", "torn"])
def test_a_log_whose_commits_are_all_there_raises_no_doubt(
    tmp_path: Path, killed: dict[str, bytes], tail: bytes
) -> None:
    """Whatever stands behind them: a transaction that was under way was promised to nobody."""
    store = opened(tmp_path, {**killed, LOG: killed[LOG] + tail})
    assert len(store.load("a")) == 20 and store.rolled_back is None
    store.close()


def test_an_older_database_under_the_tally_of_a_newer_one_is_noticed(
    tmp_path: Path, path: Path, sound: dict[str, bytes]
) -> None:
    store = Store.open(path, STATE, create=False)
    commit(store, Row("a", b"later", b"v"))
    store.close()
    path.write_bytes(sound["state.db"])
    back = Store.open(path, STATE, create=False)
    assert "an older file took its place" in str(back.rolled_back)
    back.close()


# --- the copy


async def test_the_last_good_copy_follows_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_FIRST_S", 0.01)
    monkeypatch.setattr(module, "KEEP_S", 0.01)
    path = tmp_path / "fresh.db"
    good = path.with_name("fresh.db.good")
    store = Store.open(path, STATE, create=True)
    try:
        for n in range(3):
            await store.commit([Row("a", b"k", bytes([n]))])
            await poll(lambda n=n: value_of(good) == bytes([n]))  # type: ignore[misc]
        assert good.stat().st_mode & 0o777 == 0o600 and store.copy_failure is None
        at_rest = good.stat().st_mtime_ns
        await store.probe()
        assert good.stat().st_mtime_ns == at_rest, "nothing changed, nothing is written"
    finally:
        store.close()


async def test_a_copy_that_cannot_be_made_is_said_and_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sqlite3.Connection, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "KEEP_FIRST_S", 0.01)
    monkeypatch.setattr(module, "KEEP_S", 0.01)
    monkeypatch.setattr(last_good, "keep", fail)
    store = Store.open(tmp_path / "fresh.db", STATE, create=True)
    try:
        await poll(lambda: store.copy_failure is not None)
        assert "No space left" in str(store.copy_failure)
        await store.commit([Row("a", b"k", b"v")])
        monkeypatch.undo()
        await poll(lambda: store.copy_failure is None)
    finally:
        store.close()


def value_of(path: Path) -> bytes | None:
    if not path.exists():
        return None
    with closing(store_file.read_only(path)) as connection:
        return schema.get(connection, "a", b"k")


async def poll(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not met():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
