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

ADDRESS_CORPUS: Mapping[int, str] = {
    1: "an edition whose author died before it said that it was settled held up all later ones",
    21: "an admin left for good while its reclaim ran: what it had asked consent for could never be reclaimed",
    47: "a finished reclaim was promised anew once a register had let some of its grants go",
    82: "the same, by another way",
    182: "views differed for ever after a peer left in the step of its new incarnation",
    411: "a peer left before it heard of a range it was given: an admin must be able to take that over",
    545: "an admin left for good while its reclaim ran: promises to it kept back what a live peer gave",
    670: "a host left before anybody heard a word of it: what it owns can be taken over by force alone",
    1195: "a network was removed before its remover heard of an endpoint on it: that is said until it is detached",
    1182: "a host was cut off when it was reclaimed: networks it had founded there, which nobody heard of, are gone",
    9031: "the same, founded after the reclaim and before it heard of that",
    2006: "a host that knew of nobody but the dead one took over what that had given to hosts it let in later",
}
"""The same of lives of addresses (`tests.sim.address_life`)."""
