"""Docker's remote network and IPAM drivers over a unix socket, for whoever offers a `backend.Backend`."""
