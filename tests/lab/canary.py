"""Looks for known secrets wherever they must not be: arguments, environments, files, answers.

Rule: a secret is looked for as it is, in hexadecimal and in both base64 alphabets, the latter also at the two odd
offsets, so that it is found inside a larger encoded value too. A watch that never saw a process proves nothing, so it
says how many it has read.

Flow: `needles = Needles()`, `needles.add("mesh secret", key)`, `with Watch(lab_mark, needles) as watch: …`,
`watch.found`, `needles.within(text)`.
"""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from types import TracebackType

from tests.lab.errors import LabError
from tests.lab.processes import marked

SHORTEST = 8
TURN_S = 0.005
END_S = 5.0


class Needles:
    """Secrets by the name they are reported under."""

    def __init__(self) -> None:
        self._forms: dict[bytes, str] = {}

    def add(self, name: str, secret: bytes | str) -> None:
        """Look for this secret from now on; `LabError` when it is too short to be told from chance."""
        raw = secret.encode() if isinstance(secret, str) else secret
        if len(raw) < SHORTEST:
            raise LabError(f"{name}: {len(raw)} bytes may stand anywhere by chance")
        for form in forms(raw):
            self._forms[form] = name

    def within(self, data: bytes | str) -> list[str]:
        """The names of the secrets that stand in `data`, sorted."""
        text = data.encode() if isinstance(data, str) else data
        lowered = text.lower()
        return sorted({name for form, name in self._forms.items() if form in text or form in lowered})


def forms(raw: bytes) -> list[bytes]:
    """The ways a secret may be written down."""
    found = [raw, raw.hex().encode()]
    for offset in range(3):
        padded = bytes(offset) + raw
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The first characters mix in what stands before, the last ones what comes behind.
            whole = encode(padded).rstrip(b"=")
            found.append(whole[(0, 2, 3)[offset] : len(padded) * 4 // 3 - (len(padded) % 3 != 0)])
    return [form for form in found if len(form) >= SHORTEST]


class Watch:
    """A thread that reads arguments and environments of the lab's processes again and again."""

    def __init__(self, mark: str, needles: Needles) -> None:
        self._mark = mark
        self._needles = needles
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary-watch", daemon=True)
        self.found: set[tuple[str, str]] = set()
        self.seen: set[int] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(END_S)

    def look(self) -> None:
        """One turn: whatever runs now."""
        for process in marked(self._mark, []):
            self.seen.add(process.pid)
            for file in ("cmdline", "environ"):
                try:
                    data = Path(f"/proc/{process.pid}/{file}").read_bytes()
                except OSError:
                    continue  # it ended, or is not readable: nobody else reads it either
                for name in self._needles.within(data):
                    self.found.add((name, f"{file} of {process.argv[:4]}"))

    def _run(self) -> None:
        while not self._stop.wait(TURN_S):
            self.look()
