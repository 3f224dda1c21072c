"""Reads what lets a host in and must not be seen: tokens and passwords.

Rule: a password is never an argument; a token may be one, or come from stdin or a file. Neither is shown by an
error. What goes on to the daemon goes as the JSON that `by_token` and `by_password` make, through a pipe.
Reference: docs/membership.md; design §3 "Joining".
"""

import json
import os
import sys

from meshnet.cli import output
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["by_password", "by_token", "read_password", "read_token"]

FILE_CHARACTERS = 16_384


def read_token(text: str) -> str:
    """The token named by an argument: itself, stdin's for `-`, a file's for `@FILE`."""
    source = "the argument"
    if text == "-":
        source, text = "stdin", _content("the token", "-")
    elif text.startswith("@"):
        source, text = text[1:], _content("the token", text[1:])
    words = text.split()
    if words[:2] == ["meshnet", "join"]:  # the whole line `launch` printed was saved
        words = words[2:]
    if len(words) != 1:
        why = "it is empty" if not words else "it has more than one word"
        fix = "give the one word behind `meshnet join`, as `meshnet launch` or `meshnet token create` printed it"
        raise MeshnetError(f"there is no token in {source}", why, fix, ExitCode.USAGE)
    return words[0]


def read_password(source: str) -> str:
    """The password in the file `source`, or from stdin for `-`: its one line, without the line's end."""
    text = _content("the password", source).removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or "\r" in text:
        why = "it has more than one line" if text else "it is empty"
        where = "stdin" if source == "-" else source
        raise MeshnetError(f"there is no password in {where}", why, "put it into one line", ExitCode.USAGE)
    return text


def by_token(token: str) -> str:
    """What the daemon reads from its pipe to join with a token."""
    return json.dumps({"token": token})


def by_password(password: str, address: str = "") -> str:
    """What the daemon reads to join at `address` ("host:port"), or to launch, with a password."""
    return json.dumps({"password": password, "address": address})


def _content(what: str, source: str) -> str:
    """The text of stdin for `-`, else of a file; says so when others can read the file."""
    try:
        if source == "-":
            return sys.stdin.read(FILE_CHARACTERS)
        with open(source, encoding="utf-8", newline="") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                output.say(f"note: others can read {output.clean(source)}; `chmod 600` it")
            return file.read(FILE_CHARACTERS)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        code = ExitCode.PERMISSION if isinstance(error, PermissionError) else ExitCode.USAGE
        where = "stdin" if source == "-" else source
        raise MeshnetError(f"cannot read {what} from {where}", str(why), "check the file's name", code) from None
