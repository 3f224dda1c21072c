"""Whether this host serves Docker: the plugin's socket, switched on and off and remembered.

Rule: the switch is a row of the space "docker", so a daemon that starts again serves where it served; the socket is
there exactly while a meshnetd answers on it, because Docker waits 15 s for one that is left behind.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from docker_plugin.errors import Refused
from docker_plugin.server import SOCKET_NAME, PluginServer
from meshnet.control.docker.docker import Docker
from meshnet.control.docker.docker_pools import SPANNING
from meshnet.control.docker.docker_rows import SPACE
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["PLUGIN_DIR", "DockerService"]

log = logging.getLogger(__name__)

PLUGIN_DIR: Final = "/run/docker/plugins"
SWITCH: Final = b"plugin"
SWEEP_S: Final = 10.0
SOCKET_PATH_BYTES: Final = 107


class DockerService:
    """The plugin of one daemon, from `start` to `close`."""

    def __init__(self, docker: Docker, store: Store) -> None:
        self._docker = docker
        self._store = store
        self._directory = next((value.decode() for key, value in store.load(SPACE) if key == SWITCH), "")
        self._server: PluginServer | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._failure: str | None = None
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Adopt what Docker has here, and serve where this was switched on.  `status` tells of a socket in the way."""
        await self._docker.reconcile()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep(), name="docker-sweep")
        if self._directory:
            try:
                await self._serve(self._directory)
            except MeshnetError as error:
                self._failure = f"{error.what}: {error.why}"
                log.error("docker is not served: %s", error)

    async def close(self) -> None:
        """Remove the socket and end."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
            self._sweeper = None
        await self._end()

    def own_links(self) -> list[str]:
        """The links here that are Docker's endpoints', also while Docker is not served."""
        return self._docker.own_links()

    def held(self) -> list[tuple[int, bytes]]:
        """Network and key of every lease that is kept for Docker."""
        return self._docker.held()

    def said(self) -> list[tuple[int, bytes]]:
        """Network and MAC of every endpoint of Docker's in the mesh."""
        return self._docker.said()

    def own_bridges(self) -> list[str]:
        """The bridges here that are of Docker's networks of this host alone."""
        return self._docker.own_bridges()

    async def enable(self, directory: str) -> dict[str, object]:
        """Serve in a directory (absolute) from now on, also after starts.  Idempotent; raises MeshnetError."""
        async with self._changing:
            path = str(Path("/") / directory)
            if len(os.fsencode(f"{path}/{SOCKET_NAME}")) > SOCKET_PATH_BYTES:
                raise MeshnetError(
                    "the plugin directory is too long",
                    f"a unix socket's path holds {SOCKET_PATH_BYTES} bytes",
                    f"leave --plugin-dir out for {PLUGIN_DIR}, where Docker looks",
                    ExitCode.USAGE,
                )
            if self._server is None or path != self._directory:
                await self._end()
                await self._serve(path)
            await self._store.commit([Row(SPACE, SWITCH, path.encode())])
            self._directory = path
            return self.status()

    async def disable(self) -> dict[str, object]:
        """Serve no longer; refused while Docker has networks here, which it could not take down then."""
        async with self._changing:
            networks = self._docker.described()["networks"]
            if isinstance(networks, list) and networks:
                raise MeshnetError(
                    "Docker still uses meshnet on this host",
                    f"it has {len(networks)} networks: {', '.join(str(each['id'])[:12] for each in networks)}",
                    "remove them with `docker network rm` first",
                )
            await self._store.commit([Row(SPACE, SWITCH, None)])
            self._directory = ""
            await self._end()
            return self.status()

    def status(self) -> dict[str, object]:
        """meshnet.docker/v1"""
        return {
            "schema": "meshnet.docker/v1",
            "enabled": bool(self._directory),
            "serving": self._server is not None,
            "socket": None if not self._directory else f"{self._directory}/{SOCKET_NAME}",
            "problem": self._failure,
            "spanning": SPANNING,
            **self._docker.described(),
        }

    async def _serve(self, directory: str) -> None:
        server = PluginServer(Path(directory), self._docker)
        try:
            await server.start()
        except Refused as error:
            raise MeshnetError(
                "Docker cannot be served", str(error), "clear the way, then run `meshnet docker enable` again"
            ) from error
        self._server, self._failure = server, None

    async def _end(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._docker.sweep()
            except Exception:
                log.exception("a sweep of Docker's endpoints failed")
