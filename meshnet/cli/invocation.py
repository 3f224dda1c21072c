"""How the daemon is started: everything of its command line, none of it secret.

Rule: the CLI writes these arguments and the daemon reads them through this one class, so they cannot differ.
Reference: design §2.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NoReturn

from meshnet.config import Options, Places
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["Action", "Invocation"]

Action = Literal["launch", "join", "start"]
ACTIONS: tuple[Action, ...] = ("launch", "join", "start")
FLAGS = ("--run-dir", "--state-dir", "--ready-fd", "--secret-fd")


@dataclass(frozen=True, slots=True)
class Invocation:
    """One start of a daemon.

    `options` is None for `start`, which resumes from the state directory.  `ready_fd` gets one JSON line when
    the daemon is ready or has failed; `secret_fd` carries a token or a password, as JSON.  With `foreground` the
    daemon logs to stderr, and Ctrl-C ends it and its forwarder.
    """

    places: Places
    action: Action
    options: Options | None = None
    foreground: bool = False
    ready_fd: int | None = None
    secret_fd: int | None = None

    def argv(self) -> list[str]:
        """The daemon's arguments behind `python -m meshnet`; `parse` is its inverse (without the first)."""
        words = ["meshnetd", "--run-dir", str(self.places.run_dir), "--state-dir", str(self.places.state_dir)]
        if self.ready_fd is not None:
            words += ["--ready-fd", str(self.ready_fd)]
        if self.secret_fd is not None:
            words += ["--secret-fd", str(self.secret_fd)]
        content: dict[str, object] = {"foreground": self.foreground}
        if self.options is not None:
            content["options"] = self.options.to_json()
        return [*words, self.action, json.dumps(content, separators=(",", ":"))]

    @classmethod
    def parse(cls, argv: Sequence[str]) -> "Invocation":
        """The invocation in the arguments after `meshnetd`; raises MeshnetError (USAGE)."""
        flags: dict[str, str] = {}
        rest = list(argv)
        while rest and rest[0].startswith("--"):
            flag = rest.pop(0)
            if flag not in FLAGS or not rest:
                _misstarted(f"{flag[:40]!r} is unknown or has no value")
            flags[flag] = rest.pop(0)
        action = next((known for known in ACTIONS if rest[:1] == [known]), None)
        if action is None or len(rest) > 2:
            _misstarted("after the flags come launch, join or start and one JSON argument")
        foreground, options = _content(rest[1] if len(rest) == 2 else "{}")
        if (options is None) != (action == "start"):
            _misstarted("launch and join have options, start has none")
        places = Places.of(flags.get("--run-dir"), flags.get("--state-dir"))
        return cls(places, action, options, foreground, _fd(flags, "--ready-fd"), _fd(flags, "--secret-fd"))

    @staticmethod
    def ready_fd_of(argv: Sequence[str]) -> int | None:
        """Where to say why `parse` refuses these arguments, if they name a place at all."""
        text = dict(pairwise(argv)).get("--ready-fd", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _content(text: str) -> tuple[bool, Options | None]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        _misstarted("the argument is no JSON")
    if not isinstance(value, dict) or not set(value) <= {"foreground", "options"}:
        _misstarted("the argument holds `foreground` and `options`")
    foreground = value.get("foreground", False)
    if not isinstance(foreground, bool):
        _misstarted("`foreground` is true or false")
    return foreground, Options.from_json(value["options"]) if "options" in value else None


def _fd(flags: Mapping[str, str], flag: str) -> int | None:
    text = flags.get(flag)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        _misstarted(f"{flag} is the number of an open file descriptor")
    return int(text)


def _misstarted(why: str) -> NoReturn:
    raise MeshnetError(
        "meshnetd was started wrongly",
        why,
        "use `meshnet launch`, `meshnet join` or `meshnet start`",
        ExitCode.USAGE,
    )
