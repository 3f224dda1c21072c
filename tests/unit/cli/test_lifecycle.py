"""launch, join, start and stop: what the daemon is given, what the operator reads, and every way a start ends."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.cli import lifecycle
from meshnet.cli.invocation import Invocation
from meshnet.cli.main import main
from meshnet.config import Options, Places
from meshnet.control.joining.opening import WayIn
from tests.unit.cli.conftest import Double, Run, seen
from tests.unit.cli.fake import STATUS, TOKEN, FakeDaemon

ROOT = Path(__file__).resolve().parents[3]
SECRET = "mesh1-s3cret_word"


def test_launch_prints_the_join_line(run: Run, places: Places, double: Double) -> None:
    double("ready")
    ended = run(
        "launch", "--name", "a", "--state-dir", str(places.state_dir), "--listen", ":7000", "--range", "10.64.0.0/12"
    )
    assert (ended.code, ended.out) == (0, TOKEN["join"] + "\n")
    assert "peer host-a of mesh 5e5e" in ended.err
    assert f"meshnet --run-dir {places.run_dir} attach TARGET" in ended.err
    invocation = Invocation.parse(seen(places)["argv"][1:])
    assert invocation.options == Options.parse(name="a", listen=[":7000"], range="10.64.0.0/12")
    assert (invocation.places, invocation.action, invocation.foreground) == (places, "launch", False)
    assert seen(places)["argv"][0] == "meshnetd"


def test_launch_json(run: Run, places: Places, double: Double) -> None:
    double("ready")
    ended = run("--json", "launch", "--state-dir", str(places.state_dir))
    assert json.loads(ended.out) == {
        "schema": "meshnet.started/v1",
        "action": "launch",
        "join": TOKEN["join"],
        "status": STATUS,
    }


@pytest.mark.parametrize("form", ["word", "stdin", "file", "line"])
def test_the_token_goes_through_a_pipe_only(
    run: Run, places: Places, double: Double, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    double("ready")
    argument = {"word": SECRET, "stdin": "-"}.get(form, f"@{tmp_path / 'token'}")
    (tmp_path / "token").write_text(f"meshnet join {SECRET}\n" if form == "line" else f"{SECRET}\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(SECRET + "\n"))
    ended = run("join", argument, "--state-dir", str(places.state_dir))
    assert (ended.code, ended.out) == (0, "")
    assert "attach TARGET" in ended.err
    found = seen(places)
    assert WayIn.decode(found["secret"]) == WayIn(token=SECRET)
    assert SECRET not in json.dumps(found["argv"]) + json.dumps(found["environ"])
    assert SECRET not in ended.err + places.log.read_text()


@pytest.mark.parametrize("text", ["", "two words", "x" * 20_000])
def test_what_is_no_token_is_refused_unseen(run: Run, places: Places, text: str) -> None:
    ended = run("join", text, "--state-dir", str(places.state_dir))
    assert (ended.code, ended.out) == (2, "")
    assert "token" in ended.err
    assert not text or text not in ended.err


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (("launch",), ""),
        (("join", "192.0.2.7"), "192.0.2.7:6799"),
        (("join", "host-a.example:7000"), "host-a.example:7000"),
        (("join", "2001:db8::7"), "[2001:db8::7]:6799"),
        (("join", "[2001:db8::7]"), "[2001:db8::7]:6799"),
        (("join", "[2001:db8::7]:7000"), "[2001:db8::7]:7000"),
    ],
)
def test_the_password_goes_through_a_pipe_only(
    run: Run, places: Places, double: Double, tmp_path: Path, arguments: tuple[str, ...], address: str
) -> None:
    double("ready")
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    ended = run(*arguments, "--password-file", str(file), "--state-dir", str(places.state_dir))
    assert ended.code == 0 and "others can read" not in ended.err
    found = seen(places)
    assert WayIn.decode(found["secret"]) == WayIn(password=SECRET, address=address)
    assert SECRET not in json.dumps(found["argv"]) + json.dumps(found["environ"])
    assert SECRET not in ended.err + ended.out + places.log.read_text()


@pytest.mark.parametrize(
    "host", ["", ":6799", "host:", "host:0", "host:70000", "host:٣", "[2001:db8::7", "[::1]x", "a b", SECRET, "-"]
)
def test_what_is_no_host_is_refused_before_the_password_is_read(
    run: Run, places: Places, tmp_path: Path, host: str
) -> None:
    ended = run("join", "--password-file", str(tmp_path / "none"), "--state-dir", str(places.state_dir), "--", host)
    assert (ended.code, ended.out) == (2, "")
    assert "this is no host to join at" in ended.err and SECRET not in ended.err
    assert not places.run_dir.exists()


def test_a_failing_start_says_the_daemons_words(run: Run, places: Places, double: Double) -> None:
    double("fail")
    ended = run("launch", "--state-dir", str(places.state_dir))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "error: port in use\nwhy:   EADDRINUSE\nfix:   give --listen\n"


@pytest.mark.parametrize("arguments", [("launch",), ("join", SECRET)])
def test_a_second_mesh_is_refused_and_start_named(run: Run, places: Places, arguments: tuple[str, ...]) -> None:
    places.state_dir.mkdir()
    places.keys.write_text("keys")
    ended = run(*arguments, "--state-dir", str(places.state_dir))
    assert (ended.code, ended.out) == (1, "")
    assert f"start --state-dir {places.state_dir}" in ended.err
    assert places.keys.read_text() == "keys"
    assert not places.run_dir.exists()


def test_start_without_a_mesh_names_launch_and_join(run: Run, places: Places) -> None:
    places.state_dir.mkdir()
    ended = run("start", "--state-dir", str(places.state_dir))
    assert ended.code == 1
    assert "meshnet launch" in ended.err and "meshnet join" in ended.err


def test_start_gives_no_options(run: Run, places: Places, double: Double) -> None:
    double("ready")
    places.state_dir.mkdir()
    places.keys.write_text("keys")
    ended = run("start", "--state-dir", str(places.state_dir))
    assert (ended.code, ended.out) == (0, "")
    assert "status" in ended.err
    assert Invocation.parse(seen(places)["argv"][1:]).options is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", "A"),
        ("--listen", "x:1"),
        ("--advertise", "0.0.0.0"),
        ("--range", "10.0.0.0/40"),
        ("--underlay-mtu", "9"),
        ("--cipher", "rot13"),
        ("--run-dir", "/" + "x" * 120),
    ],
)
def test_a_wrong_option_is_named_and_nothing_starts(run: Run, places: Places, option: str, value: str) -> None:
    ended = run("launch", "--state-dir", str(places.state_dir), option, value)
    assert (ended.code, ended.out) == (2, "")
    assert option in ended.err
    assert not places.run_dir.exists()


def test_stop_waits_for_the_end_of_the_process(run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        watched: list[int] = []

        def pidfd(pid: int) -> int:
            watched.append(pid)
            return os.dup(watch)

        watch = os.pidfd_open(process.pid)
        monkeypatch.setattr(os, "pidfd_open", pidfd)
        monkeypatch.setattr(lifecycle, "STOP_S", 0.05)
        ended = run("stop")
        assert (ended.code, ended.out) == (6, "")
        assert watched == [os.getpid()]
        process.communicate(b"\n")
        ended = run("--json", "stop")
        os.close(watch)
    assert ended.code == 0
    assert json.loads(ended.out) == {"schema": "meshnet.stopped/v1", "stopping": True}


def test_stop_without_a_pidfd_watches_the_socket(run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: int) -> int:
        raise OSError(3, "No such process")

    monkeypatch.setattr(os, "pidfd_open", none)
    monkeypatch.setattr(lifecycle, "STOP_S", 0.01)
    assert run("stop").code == 6
    monkeypatch.setattr("meshnet.cli.client.Client.running", lambda _: False)
    ended = run("stop")
    assert ended.code == 0
    assert "start` resumes" in ended.err


def test_stop_where_nothing_runs(run: Run, tmp_path: Path) -> None:
    assert run("stop", "--run-dir", str(tmp_path)).code == 3


def test_main_returns_instead_of_exiting(tmp_path: Path) -> None:
    assert main(["status", "--run-dir", str(tmp_path)]) == 3
