"""version: of this command, and of the daemon where one runs."""

from meshnet import __version__
from meshnet.cli import output
from meshnet.cli.verbs import Settings, pass_settings, verb
from meshnet.errors import MeshnetError

__all__ = ["version"]


@verb()
@pass_settings
def version(settings: Settings) -> None:
    """Print the versions of this command and of the daemon."""
    client = settings.client()
    try:
        client.request("GET", "/v1/status")
    except MeshnetError:
        pass  # no daemon, or not for us: then there is only one version to tell
    if settings.json:
        output.json_data({"schema": "meshnet.version/v1", "client": __version__, "daemon": client.daemon_version})
        return
    output.data(f"meshnet {__version__}")
    output.data(f"meshnetd {output.clean(client.daemon_version)}")
