"""docker enable, disable, status: whether this host's Docker finds meshnet.

Rule: `enable` starts serving at once and at every start of meshnetd; it is not needed to restart Docker.
"""

from typing import Any

import click

from meshnet.cli import output
from meshnet.cli.verbs import Group, Settings, pass_settings, verb

__all__ = ["docker"]

PLUGIN_DIR = "/run/docker/plugins"
HEADINGS = ("DOCKER NETWORK", "NETWORK", "SUBNETS", "MTU", "ENDPOINTS")


@click.group("docker", cls=Group)
def docker() -> None:
    """Networks of Docker that span hosts."""


@verb(docker, "enable")
@click.option("--plugin-dir", metavar="DIR", default=PLUGIN_DIR, help=f"Where Docker looks for plugins [{PLUGIN_DIR}].")
@pass_settings
def enable(settings: Settings, /, *, plugin_dir: str) -> None:
    """Serve this host's Docker, now and after every start."""
    answer = settings.ask("POST", "/v1/docker", {"enabled": True, "plugin_dir": plugin_dir})
    if settings.json:
        output.json_data(answer)
        return
    output.say(f"Docker finds meshnet at {output.clean(answer['socket'])}; on every host that is to be on network web:")
    output.data(output.clean(answer["spanning"]).replace("NAME", "web"))


@verb(docker, "disable")
@pass_settings
def disable(settings: Settings) -> None:
    """Serve it no longer."""
    answer = settings.ask("POST", "/v1/docker", {"enabled": False})
    if settings.json:
        output.json_data(answer)
    else:
        output.say("Docker does not find meshnet any more")


@verb(docker, "status")
@pass_settings
def status(settings: Settings) -> None:
    """Tell whether Docker is served, and its networks on this host."""
    answer = settings.ask("GET", "/v1/docker")
    if settings.json:
        output.json_data(answer)
        return
    if not answer["enabled"]:
        output.data(f"not served; `{settings.line('docker enable')}` switches it on")
        return
    how = f"not served: {output.clean(answer['problem'])}" if not answer["serving"] else "served"
    output.data(f"{how} at {output.clean(answer['socket'])}")
    networks = answer["networks"]
    if networks:
        for line in output.table(HEADINGS, [_row(each, answer["endpoints"]) for each in networks]):
            output.data(line)
    if any(each["alone"] for each in networks):
        output.say(f"a network of this host alone spans hosts when made by: {output.clean(answer['spanning'])}")


def _row(network: dict[str, Any], endpoints: list[dict[str, Any]]) -> list[object]:
    used = sum(endpoint["docker_network"] == network["id"] for endpoint in endpoints)
    name = network["network"] or "(this host alone)"
    return [str(network["id"])[:12], name, ", ".join(map(str, network["subnets"])), network["mtu"], used]
