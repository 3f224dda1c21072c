"""`python -m tests.fuzz`: one target under atheris, or all of them one after another.

    python -m tests.fuzz NAME [--seconds N]     until a finding, or N seconds
    python -m tests.fuzz --all [--seconds N]    N seconds for each, every one in a process of its own
    python -m tests.fuzz --list

Rule: our packages are imported under atheris' instrumentation, so they are imported here and not at the top. A finding
leaves its input as crash-… in the current directory; `python -m tests.fuzz NAME FILE` runs it again. atheris exists
for Python 3.12 and newer on x86_64 alone: elsewhere this says so and ends with 0.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = ["crypto", "gossip", "meshnet", "tests.fuzz"]
LONGEST = 70_000
RSS_MB = 2048
SAID = 20_000  # characters of what a finding printed that are shown


def fuzz(name: str, seconds: int, files: list[str]) -> None:
    """Drive one target; atheris ends the process."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.targets import TARGETS, seeds
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(name)):
            Path(corpus, str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-rss_limit_mb={RSS_MB}", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, *(files or [corpus])], TARGETS[name])
        atheris.Fuzz()


def everything(seconds: int) -> int:
    """All targets; the exit code of the first that found something, after all have run."""
    from tests.fuzz.targets import TARGETS

    worst = 0
    for name in TARGETS:
        argv = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, errors="replace")
        if done.returncode:
            print(done.stdout[-SAID:] + done.stderr[-SAID:])
        print(
            f"fuzz {name}: {'ok' if done.returncode == 0 else f'FOUND SOMETHING, exit {done.returncode}'}", flush=True
        )
        worst = worst or done.returncode
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="fuzz decoders of remote bytes")
    parser.add_argument("name", nargs="?")
    parser.add_argument("files", nargs="*", help="inputs to run once instead of fuzzing")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seconds", type=int, default=60)
    chosen = parser.parse_args()
    if chosen.list:
        from tests.fuzz.targets import TARGETS

        print("\n".join(TARGETS))
        return 0
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("!!! NOT RUN: no atheris here (it exists for Python 3.12 and newer on x86_64)")
        return 0
    if chosen.all:
        return everything(chosen.seconds)
    if chosen.name is None:
        parser.error("name a target, or say --all")
    fuzz(chosen.name, chosen.seconds, chosen.files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
