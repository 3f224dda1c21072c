"""Docker's networks and endpoints on this host, for `docker_plugin`."""
