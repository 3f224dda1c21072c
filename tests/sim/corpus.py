"""Lives that are run whatever seeds are chosen beside them.

Rule: a seed that ever broke an invariant is added here with what it showed, and stays; a change of the simulation that
makes it another life is told by the fault it no longer notices (tests/planted).
"""

from __future__ import annotations

from collections.abc import Mapping

CORPUS: Mapping[int, str] = {
    0: "notices a grant sent before it is stored, a donor that forgets its grants, a claimer without its grant",
    1: "notices a merge that ignores seq, a registrar that gives one name twice, an answer before it is stored",
    184: "the founder left while it had heard of nobody: its ranges and the number pool were lost",
    376: "the same, by another way",
}
