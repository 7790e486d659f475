"""A real Redis, empty at each start."""

from __future__ import annotations

import asyncio
import secrets
import socket

from tests.testbed.pki import Pki
from tests.testbed.ports import free_port
from tests.testbed.program import TreeProgram
from tests.testbed.rootfs import Rootfs, RunDirectory

_CONFIGURATION = """
bind 127.0.0.1
port {port}
tls-port {tls_port}
tls-cert-file {here}/tls.crt
tls-key-file {here}/tls.key
tls-ca-cert-file {here}/ca.pem
tls-auth-clients no
unixsocket {here}/redis.sock
unixsocketperm 777
requirepass {password}
dir {here}
save ""
"""


class Redis(TreeProgram):
    """redis-server on 127.0.0.1, for those who have its password.

    Args:
        rootfs: where the program is.

    Attributes:
        port: plain.
        tls_port: with TLS from the first byte.
        password: that it wants.
    """

    def __init__(self, rootfs: Rootfs) -> None:
        super().__init__("redis", rootfs, "redis")
        self.port = free_port()
        self.tls_port = free_port()
        self.password = secrets.token_hex(16)
        self._pki = Pki()

    @property
    def url(self) -> str:
        """Its address as the configuration of agi-xmpp has it."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def tls_url(self) -> str:
        """Likewise, with TLS and the CA that is to be trusted."""
        return f"rediss://:{self.password}@127.0.0.1:{self.tls_port}/0?ssl_ca_certs={self._place().outside / 'ca.pem'}"

    @property
    def socket_url(self) -> str:
        """Likewise, by its socket in the file system."""
        return f"unix://:{self.password}@{self._place().outside / 'redis.sock'}"

    async def ask(self, *words: str) -> str:
        """Let Redis's own client run a command, and return what it prints."""
        login = ("-p", str(self.port), "--no-auth-warning", "-a", self.password)
        return (await asyncio.to_thread(self.rootfs.run, "redis-cli", *login, *words, user=self.user)).strip()

    @property
    def label(self) -> str:
        return f"Redis {self.rootfs.versions()['redis-server']}"

    def _configure(self, directory: RunDirectory) -> None:
        pair = self._pki.issue("good", "127.0.0.1")
        directory.write("ca.pem", self._pki.ca, mode=0o644)
        directory.write("tls.key", pair.key)
        directory.write("tls.crt", pair.chain)
        ports = {"port": self.port, "tls_port": self.tls_port}
        directory.write("redis.conf", _CONFIGURATION.format(here=directory.inside, password=self.password, **ports))

    def _command(self) -> list[str]:
        return self.rootfs.command("redis-server", str(self._place().inside / "redis.conf"), user=self.user)

    def _probe(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            if not connection.recv(100).startswith(b"-NOAUTH"):
                raise OSError("it is not ready yet")
