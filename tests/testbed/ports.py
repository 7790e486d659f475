"""Free TCP and UDP ports on loopback."""

from __future__ import annotations

import os
import random
import socket
from collections import deque
from collections.abc import Iterable

#: Below the ports that Linux gives to outgoing connections (32768…): none of those can take a port between the moment
#: we find it free and the moment the server binds it.
_ALL = range(20_000, 32_000)


class Ports:
    """Ports that go round: one that has been given comes again only after all the others.

    A test may count on a port that nobody listens on, or close one and open it again; and a whole run asks for more
    ports than there are.
    """

    def __init__(self, ports: Iterable[int]) -> None:
        self._ring = deque(ports)

    def free(self) -> int:
        """Return a port that nobody uses now, neither for TCP nor for UDP.

        Raises:
            OSError: All of them are in use.
        """
        for _ in range(len(self._ring)):
            port = self._ring[0]
            self._ring.rotate(-1)
            if _is_free(port):
                return port
        raise OSError("no free port on this machine")


def of_process(worker: str, workers: int) -> range:
    """Return the ports of one process of pytest-xdist (``gw0``, ``gw1``, …): each has ports of its own."""
    return _ALL[int(worker.removeprefix("gw")) :: workers]


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


_OURS = of_process(os.environ.get("PYTEST_XDIST_WORKER", "gw0"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
_PORTS = Ports(random.sample(_OURS, len(_OURS)))


def free_port() -> int:
    """Return a port that nobody uses now, and that this process does not get again soon: see `Ports`."""
    return _PORTS.free()
