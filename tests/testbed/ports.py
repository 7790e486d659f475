"""Free TCP and UDP ports on loopback."""

from __future__ import annotations

import os
import random
import socket

#: Below the ports that Linux gives to outgoing connections (32768…): none of those can take a port between the moment
#: we find it free and the moment the server binds it.
_ALL = range(20_000, 32_000)

#: Each process of pytest-xdist (``gw0``, ``gw1``, …) has ports of its own, for the same reason.
_PROCESSES = 8
_RANGE = _ALL[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES :: _PROCESSES]
_taken: set[int] = set()


def free_port() -> int:
    """Return a port that nobody uses now, and that this process does not get again."""
    for port in random.sample(_RANGE, len(_RANGE)):
        if port not in _taken and _is_free(port):
            _taken.add(port)
            return port
    raise OSError("no free port on this machine")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
