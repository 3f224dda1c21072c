"""The options of Docker that mean something to meshnet, read strictly.

Rule: an option that begins with `meshnet.` and is not known is refused by name, because CreateNetwork and RequestPool
are the only places where an operator sees the refusal; options of other owners are left alone.
"""

from collections.abc import Mapping

from docker_plugin.errors import BadRequest, Refused

__all__ = ["GENERIC", "INTERNAL", "MTU", "NETWORK", "generic", "mtu", "network_name"]

NETWORK = "meshnet.network"
MTU = "com.docker.network.driver.mtu"
GENERIC = "com.docker.network.generic"
INTERNAL = "com.docker.network.internal"
OURS = "meshnet."
MIN_MTU, MAX_MTU = 576, 65_535


def generic(options: Mapping[str, object] | None) -> dict[str, str]:
    """The `-o` options inside CreateNetwork's; raises BadRequest unless they are texts."""
    found = (options or {}).get(GENERIC)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise BadRequest(f"{GENERIC} is not a map of texts")
    return found


def network_name(options: Mapping[str, str] | None) -> str | None:
    """The mesh's network these options name, or None; raises Refused for an unknown option of ours."""
    given = options or {}
    unknown = sorted(key for key in given if key.startswith(OURS) and key != NETWORK)
    if unknown:
        raise Refused(f"unknown option {unknown[0]}: meshnet knows {NETWORK}=NAME")
    name = given.get(NETWORK)
    if name == "":
        raise Refused(f"{NETWORK} is empty: write {NETWORK}=NAME")
    return name


def mtu(options: Mapping[str, str]) -> int | None:
    """The MTU in bytes that was asked for, or None; raises Refused for anything but a sensible number."""
    text = options.get(MTU)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and MIN_MTU <= int(text) <= MAX_MTU):
        raise Refused(f"{MTU}={text}: an MTU is a number from {MIN_MTU} to {MAX_MTU}")
    return int(text)
