"""The architecture as a test: import directions, purity, sizes, who may start tasks, a test and a benchmark each.

Every table that names an exception may only shrink: an entry that is no longer needed fails the test too.
The checks themselves are in tests/architecture.py; the last part of this file shows each of them failing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import architecture
from tests.architecture import Source

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("crypto", "gossip", "meshnet", "docker_plugin")
FILE_LINES = 400
FUNCTION_LINES = 60

# Left may import right; nothing else of ours. The longest row that fits a module decides; a row may import itself.
IMPORTS: dict[str, tuple[str, ...]] = {
    "crypto": (),
    "gossip": (),
    "docker_plugin": (),
    "meshnet.__init__": (),
    "meshnet.__main__": ("meshnet.cli", "meshnet.daemon"),
    "meshnet.errors": (),
    "meshnet.config": ("meshnet.errors",),
    "meshnet.boundary": (),
    "meshnet.forwarder": (
        "meshnet.boundary",
        "crypto.session",
        "crypto.replay",
        "crypto.cookie",
        "crypto.errors",
    ),
    "meshnet.host": (),
    "meshnet.control": (
        "crypto",
        "gossip",
        "meshnet.__init__",
        "meshnet.__version__",
        "meshnet.boundary",
        "meshnet.host",
        "meshnet.config",
        "meshnet.errors",
    ),
    "meshnet.control.docker": (
        "docker_plugin",
        "crypto",
        "gossip",
        "meshnet.boundary",
        "meshnet.host",
        "meshnet.errors",
        "meshnet.control",
    ),
    "meshnet.cli": ("meshnet.__init__", "meshnet.__version__", "meshnet.config", "meshnet.errors"),
    "meshnet.cli.key": ("meshnet.config", "meshnet.errors", "meshnet.control.keys.identity_file", "meshnet.cli"),
    "meshnet.cli.attach": ("meshnet.config", "meshnet.errors", "meshnet.host.netlink", "meshnet.cli"),
    "meshnet.daemon": ("meshnet", "crypto", "gossip"),
    "bench": ("tests.lab",),
    "bench.cases.addresses": ("bench", "gossip", "meshnet.cli", "meshnet.control", "tests.lab", "tests.sim"),
    "bench.cases.gossip": ("bench", "gossip", "tests.sim"),
    "bench.cases.handshakes": ("bench", "crypto", "meshnet.boundary", "meshnet.control"),
    "bench.micro": ("crypto", "gossip", "meshnet.forwarder", "meshnet.boundary"),
    "tests": ("crypto", "gossip", "docker_plugin", "meshnet"),
    "tests.unit.bench": ("bench", "tests.lab"),
}

PURE_FOLDERS = ("crypto/", "gossip/")
PURE_FILES = ("meshnet/control/handshakes/peers.py", "meshnet/control/keys/membership.py")
"""Decisions beside I/O that must stay pure; any other module whose docstring says PURE is held to it as well."""

# Third-party packages with one door into the project.
SOLE_IMPORTERS: dict[str, tuple[str, ...]] = {
    "cryptography": ("crypto/primitives.py",),
    "nacl": ("crypto/primitives.py",),
}

# Start-up time of a command is what its top-level imports cost.
HEAVY = ("asyncio", "aiohttp", "cryptography", "pyroute2", "rich")

# Who may start a task: each of these keeps what it starts and lets no failure vanish.
TASK_STARTERS: dict[str, str] = {
    "docker_plugin/server.py": "one task per call of Docker, kept to its end, so that no deadline cuts a change in two",
    "meshnet/control/links/dialling.py": "one try per address of a dial, all ended with it",
    "meshnet/control/docker/docker_service.py": "one sweep of what Docker forgot",
    "meshnet/control/networks/endpoints.py": "one expiry per endpoint that waits for its confirmation",
    "meshnet/control/links/links.py": "one dial per peer, bounded, kept until done",
    "meshnet/control/links/listener.py": "one handshake per accepted connection, with a deadline",
    "meshnet/control/mesh.py": "one making of a network's devices, awaited by whoever needs it",
    "meshnet/control/networks/passage.py": "one watch of the packet filter's rules",
    "meshnet/control/handshakes/paths.py": "one watch of the routes, and look-ups of an MTU that are kept until done",
    "meshnet/control/runner.py": "one drainer of the queue of steps",
    "meshnet/control/handshakes/sessions.py": "one commit of reserved stamps at a time, kept until done",
    "meshnet/control/supervise.py": "one restart of the forwarder at a time",
    "meshnet/control/upkeep.py": "one task for all that is looked after once a second, until the end",
}

# Modules without a test file of their name, and why. May only shrink.
UNTESTED: dict[str, str] = {}

# HOT modules without a benchmark of their name, and why. May only shrink.
UNMEASURED: dict[str, str] = {}

VAGUE_NAMES = ("utils", "util", "helpers", "helper", "manager", "common", "base", "misc")


def load(*folders: str) -> list[Source]:
    """Every Python file under `folders`, sorted by path."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]


EVERYTHING = load(*SHIPPED, "bench", "tests")
SHIPPED_SOURCES = [source for source in EVERYTHING if source.path.split("/")[0] in SHIPPED]


def all_of(check: Callable[[Source], list[str]], sources: list[Source]) -> str:
    """What `check` finds in all `sources`, one finding a line; empty when the rule holds."""
    assert sources, "nothing to check: the folders have moved"
    return "\n".join(finding for source in sources for finding in check(source))


# The rules


def test_imports_point_in_the_allowed_direction() -> None:
    assert not all_of(lambda source: architecture.wrong_imports(source, IMPORTS), EVERYTHING)


def test_every_row_of_the_import_table_names_a_module_of_ours() -> None:
    modules = {source.module for source in EVERYTHING}
    modules |= {name.removesuffix(".__init__") for name in modules} | {"meshnet.__version__"}
    assert not sorted({name for row, targets in IMPORTS.items() for name in (row, *targets)} - modules)


def test_pure_modules_have_no_clock_no_dice_and_no_io() -> None:
    pure = [s for s in SHIPPED_SOURCES if s.path.startswith((*PURE_FOLDERS, *PURE_FILES)) or architecture.is_pure(s)]
    assert set(PURE_FILES) <= {source.path for source in pure}, "a PURE file has moved"
    assert not all_of(architecture.impurities, pure)


def test_one_door_for_each_library_of_secrets() -> None:
    sources = [source for source in EVERYTHING if not source.path.startswith("tests/")]
    assert not all_of(lambda source: architecture.sole_importers(source, SOLE_IMPORTERS), sources)


def test_files_and_functions_fit_a_reader() -> None:
    sources = [*EVERYTHING, *load("requirements")]
    assert not all_of(lambda source: architecture.too_long(source, FILE_LINES, FUNCTION_LINES), sources)


def test_no_module_has_a_vague_name() -> None:
    assert not [source.path for source in EVERYTHING if Path(source.path).stem in VAGUE_NAMES]


def test_uvloop_is_never_installed_globally() -> None:
    assert not all_of(lambda source: architecture.calls_of(source, ("uvloop.install",)), EVERYTHING)


def test_tasks_are_started_only_where_they_are_kept() -> None:
    found = {source.path: architecture.calls_of(source, ("create_task", "ensure_future")) for source in SHIPPED_SOURCES}
    starters = {path for path, calls in found.items() if calls}
    assert not sorted(starters - set(TASK_STARTERS)), [found[path] for path in starters - set(TASK_STARTERS)]
    assert not sorted(set(TASK_STARTERS) - starters), "these start no task any more: take them out of the table"


def test_no_command_imports_what_is_slow_at_its_top() -> None:
    commands = [source for source in SHIPPED_SOURCES if source.path.startswith("meshnet/cli/")]
    assert not all_of(lambda source: architecture.heavy_imports(source, HEAVY), commands)


def test_every_module_has_a_test_file_of_its_name() -> None:
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    modules = [
        source.path
        for source in SHIPPED_SOURCES
        if source.path.startswith(("crypto/", "gossip/", "meshnet/")) and not Path(source.path).stem.startswith("__")
    ]
    stems = [Path(path).stem for path in modules]
    untested = {path for path in modules if not has_test(path, stems, tests)}
    assert not sorted(untested - set(UNTESTED)), "write tests/unit/<package>/test_<module>.py"
    assert not sorted(set(UNTESTED) - untested), "these have a test now, or are gone: take them out of the table"


def has_test(path: str, stems: list[str], tests: set[str]) -> bool:
    """A test file of the module's name: anywhere if the name is unique, else under its own package's folder."""
    stem, package = Path(path).stem, Path(path).parent.name
    named = [Path(test) for test in tests if Path(test).name == f"test_{stem}.py"]
    return bool(named) and (stems.count(stem) == 1 or any(package in test.parts for test in named))


def test_every_hot_module_has_a_benchmark_of_its_name() -> None:
    hot = {source.path for source in SHIPPED_SOURCES if architecture.is_hot(source)}
    assert hot, "no module says # HOT PATH: the marker has changed"
    unmeasured = {path for path in hot if not (ROOT / "bench" / "micro" / Path(path).name).is_file()}
    assert not sorted(unmeasured - set(UNMEASURED)), "write bench/micro/<module>.py"
    assert not sorted(set(UNMEASURED) - unmeasured), "these are measured now: take them out of the table"


# Each check can fail


def planted(text: str, path: str = "crypto/planted.py") -> Source:
    return Source(path, text)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("crypto/planted.py", "import gossip.node"),
        ("crypto/planted.py", "def f():\n    from meshnet import config"),
        ("gossip/ipam/planted.py", "from ...crypto import keys"),
        ("meshnet/forwarder/planted.py", "from crypto import noise"),
        ("meshnet/forwarder/planted.py", "from crypto.primitives import dh"),
        ("meshnet/boundary.py", "import meshnet.errors"),
        ("meshnet/cli/status.py", "from meshnet.host import netlink"),
        ("meshnet/control/planted.py", "from meshnet.forwarder import loop"),
        ("meshnet/daemon.py", "import tests.lab"),
        ("bench/planted.py", "import tests.sim.world"),
        ("tests/unit/planted.py", "from bench import run"),
        ("meshnet/newcomer.py", "import meshnet.errors"),
        ("meshnet/__init__.py", "from . import errors"),
    ],
)
def test_a_wrong_import_is_found(path: str, text: str) -> None:
    assert architecture.wrong_imports(planted(text, path), IMPORTS)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("crypto/planted.py", "from crypto import errors\nfrom .noise import HandshakeState\nimport hmac"),
        ("meshnet/forwarder/planted.py", "from crypto.session import Session\nfrom crypto import replay"),
        ("meshnet/cli/attach.py", "from meshnet.host import netlink"),
        ("bench/planted.py", "from tests.lab import hosts"),
    ],
)
def test_an_allowed_import_is_not_found(path: str, text: str) -> None:
    assert not architecture.wrong_imports(planted(text, path), IMPORTS)


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from os import urandom",
        "import random\nrandom.choice([])",
        "import random\nrng = random.Random()",
        "from random import Random",
        "def f():\n    import socket",
        "async def f():\n    pass",
        "open('x')",
        "X25519PrivateKey.generate()",
    ],
)
def test_an_impurity_is_found(text: str) -> None:
    assert architecture.impurities(planted(text))


def test_the_type_of_an_injected_random_is_pure() -> None:
    text = (
        "import random\ndef f(rng: random.Random, entropy: Entropy): return StaticKey.generate(entropy), rng.random()"
    )
    assert not architecture.impurities(planted(text))
    assert not architecture.impurities(planted("if TYPE_CHECKING:\n    from random import Random"))


def test_a_second_importer_a_heavy_import_and_a_stray_task_are_found() -> None:
    assert architecture.sole_importers(planted("from nacl import signing"), SOLE_IMPORTERS)
    assert architecture.heavy_imports(planted("import rich.live"), HEAVY)
    assert not architecture.heavy_imports(planted("def f():\n    import rich.live"), HEAVY)
    assert architecture.calls_of(planted("asyncio.create_task(f())"), ("create_task",))
    assert architecture.calls_of(planted("uvloop.install()"), ("uvloop.install",))


def test_a_long_file_and_a_long_function_are_found() -> None:
    assert architecture.too_long(planted("x = 1\n" * 401), FILE_LINES, FUNCTION_LINES)
    assert not architecture.too_long(planted("x = 1\n" * 400), FILE_LINES, FUNCTION_LINES)
    assert architecture.too_long(planted("def f():\n" + "    x = 1\n" * 60), FILE_LINES, FUNCTION_LINES)


def test_a_module_whose_name_is_shared_needs_the_test_of_its_own_package() -> None:
    assert not has_test("gossip/spreading/links.py", ["links", "links"], {"tests/unit/control/links/test_links.py"})
    assert has_test("gossip/spreading/links.py", ["links", "links"], {"tests/unit/gossip/spreading/test_links.py"})
    assert has_test("gossip/spreading/spread.py", ["spread"], {"tests/property/test_spread.py"})


def test_the_hot_marker_is_read_from_the_head_of_a_module() -> None:
    assert architecture.is_hot(planted('"""Seals.\n\n# HOT PATH\n"""'))
    assert not architecture.is_hot(planted("\n" * 30 + "# HOT PATH"))
