"""Writes requirements/lock.txt: one exact version of everything the project runs, tests and measures with.

Rule: pip alone resolves; this script only asks it once per supported Python and merges the answers.
Flow: pyproject.toml -> `pip install --dry-run --report` under each Python, the oldest first and its answer a
constraint for the newer ones, so that one version serves all wherever one exists -> a walk over the resolved
packages' own requirements for each machine, which finds what only some Pythons or machines need -> the lock.
Reference: pip's installation report (https://pip.pypa.io/en/stable/reference/installation-report/), PEP 508.

Usage: python requirements/lock.py PYTHON3.11 PYTHON3.12 PYTHON3.13     (what `make lock` does)
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
MACHINES = ("x86_64", "aarch64")
EXTRAS = ("bench", "dev")
WHEEL_PLATFORMS = {
    "x86_64": ("manylinux2014_x86_64", "manylinux_2_28_x86_64", "manylinux_2_34_x86_64"),
    "aarch64": ("manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64"),
}


class LockError(Exception):
    """The lock cannot be written; the text says what pip answered."""


@dataclass(frozen=True)
class Resolved:
    """What pip chose for one Python: versions and each package's own requirements, by canonical name."""

    python: str
    versions: Mapping[str, str]
    requires: Mapping[str, tuple[Requirement, ...]]


def direct_requirements() -> list[str]:
    """The requirement strings of pyproject.toml: run time, every extra, and what builds the wheel."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in EXTRAS:
        wanted += project["project"]["optional-dependencies"][extra]
    return wanted


def run(command: list[str]) -> str:
    """Run `command`; returns its stdout, raises LockError with its last words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LockError(f"{' '.join(command[:6])} …: {done.stderr.strip()[-2000:]}")
    return done.stdout


def resolve(python: str, wanted: list[str], constraints: Mapping[str, str], folder: Path) -> Resolved:
    """Ask `python`'s pip what it would install for `wanted`, held to `constraints` (name -> version)."""
    version = run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
    venv = folder / version
    run([python, "-m", "venv", str(venv)])
    limits, report = folder / f"{version}.constraints", folder / f"{version}.json"
    limits.write_text("".join(f"{name}=={exact}\n" for name, exact in sorted(constraints.items())))
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    run([*pip, "--report", str(report), "--constraint", str(limits), *wanted])
    versions: dict[str, str] = {}
    requires: dict[str, tuple[Requirement, ...]] = {}
    for entry in json.loads(report.read_text())["install"]:
        metadata = entry["metadata"]
        name = canonicalize_name(metadata["name"])
        versions[name] = metadata["version"]
        requires[name] = tuple(Requirement(text) for text in metadata.get("requires_dist", ()))
    return Resolved(version, versions, requires)


def needed(resolved: Resolved, wanted: Iterable[str], machine: str) -> set[str]:
    """Names that `wanted` reaches on `machine`, among what was resolved on this one."""
    environment = {key: str(value) for key, value in default_environment().items()}
    environment |= {
        "python_version": resolved.python,
        "python_full_version": f"{resolved.python}.0",
        "platform_machine": machine,
    }

    def holds(requirement: Requirement, extra: str) -> bool:
        return requirement.marker is None or requirement.marker.evaluate(environment | {"extra": extra})

    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in wanted]
    waiting = [requirement for requirement in waiting if holds(requirement, "")]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in found:
                continue
            found.add((name, extra))
            if name not in resolved.requires:
                raise LockError(f"{name}: needed on {machine}, unknown to the resolution for {resolved.python}")
            waiting += [inner for inner in resolved.requires[name] if holds(inner, extra)]
    return {name for name, _ in found}


def marker(places: set[tuple[str, str]], pythons: list[str]) -> str:
    """The PEP 508 marker for a set of (python, machine) pairs; empty when it is everywhere."""
    if places == {(python, machine) for python in pythons for machine in MACHINES}:
        return ""
    machines = sorted({machine for _, machine in places})
    versions = sorted({python for python, _ in places}, key=pythons.index)
    if places != {(python, machine) for python in versions for machine in machines}:
        raise LockError(f"no single marker describes {sorted(places)}")
    parts = []
    if len(versions) < len(pythons):
        parts.append("(" + " or ".join(f"python_version == '{python}'" for python in versions) + ")")
    if len(machines) < len(MACHINES):
        parts.append(f"platform_machine == '{machines[0]}'")
    return " and ".join(parts)


def lines_of(answers: list[Resolved], wanted: list[str]) -> list[str]:
    """The lock's lines, sorted by name then version."""
    places: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for answer in answers:
        for machine in MACHINES:
            for name in sorted(needed(answer, wanted, machine)):
                places.setdefault((name, answer.versions[name]), set()).add((answer.python, machine))
    pythons = [answer.python for answer in answers]
    lines = []
    for (name, version), where in sorted(places.items()):
        condition = marker(where, pythons)
        lines.append(f"{name}=={version}" + (f" ; {condition}" if condition else ""))
    return lines


def check_wheels(lines: list[str], python: str, pip_python: str, folder: Path) -> None:
    """Raise LockError unless every line exists as a wheel on its machines: nobody needs a compiler."""
    for machine in MACHINES:
        environment = {key: str(value) for key, value in default_environment().items()}
        environment |= {"python_version": python, "platform_machine": machine}
        chosen = []
        for line in lines:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                chosen.append(f"{requirement.name}{requirement.specifier}")
        platforms = [word for name in WHEEL_PLATFORMS[machine] for word in ("--platform", name)]
        pip = [
            pip_python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--no-deps",
            "--only-binary",
            ":all:",
        ]
        run([*pip, *platforms, "--python-version", python, "--target", str(folder / "none"), *chosen])


def main(pythons: list[str]) -> int:
    """Resolve under each Python (oldest first), merge, check the wheels, write the lock."""
    if len(pythons) < 2:
        print("usage: lock.py PYTHON PYTHON…  (every supported version, oldest first)", file=sys.stderr)
        return 2
    wanted = direct_requirements()
    answers: list[Resolved] = []
    with tempfile.TemporaryDirectory(prefix="meshnet-lock-") as name:
        folder = Path(name)
        try:
            for python in pythons:
                held = answers[0].versions if answers else {}
                answers.append(resolve(python, wanted, held, folder))
                print(f"resolved for Python {answers[-1].python}: {len(answers[-1].versions)} packages")
            lines = lines_of(answers, wanted)
            for answer in answers:
                pip_python = str(folder / answer.python / "bin" / "python")
                check_wheels(lines, answer.python, pip_python, folder)
                print(f"every wheel exists for Python {answer.python} on {' and '.join(MACHINES)}")
        except LockError as error:
            print(f"lock.txt is unchanged: {error}", file=sys.stderr)
            return 1
    versions = ", ".join(answer.python for answer in answers)
    header = f"# Written by `make lock` from pyproject.toml for Python {versions} on {' and '.join(MACHINES)}.\n"
    LOCK.write_text(header + "\n".join(lines) + "\n")
    print(f"{LOCK.relative_to(ROOT)}: {len(lines)} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
