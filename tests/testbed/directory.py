"""A real LDAP directory: OpenLDAP's slapd, with the entries that a test wants."""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path

from tests.testbed.errors import TestbedError
from tests.testbed.pki import Certificate, Pki
from tests.testbed.ports import free_port
from tests.testbed.program import Program
from tests.testbed.rootfs import Rootfs, RunDirectory

#: Where everything stands. Anybody may read below ``ou=people``; ``ou=staff`` is for who has logged in.
BASE = "dc=example,dc=org"
_USER = "openldap"

_CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {here}/slapd.pid
TLSCertificateFile {here}/tls.crt
TLSCertificateKeyFile {here}/tls.key
database mdb
suffix "{base}"
rootdn "{user}"
rootpw {password}
directory {here}/data
maxsize 10485760
access to dn.subtree="ou=staff,{base}" by anonymous auth by * none
access to * by * read
"""

_TREE = """
dn: {base}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people

dn: ou=staff,{base}
objectClass: organizationalUnit
ou: staff
"""


class Directory(Program):
    """slapd on 127.0.0.1.

    Args:
        rootfs: where the program is.
        entries: LDIF (RFC 2849) of what stands in it below `BASE`.
        host: the name in its certificate.
        certificate: what it shows.

    Attributes:
        port: plain, with StartTLS for who asks for it.
        tls_port: for ``ldaps``.
        user, password: who may read all.
    """

    def __init__(
        self, rootfs: Rootfs, entries: str = "", host: str = "127.0.0.1", certificate: Certificate = "good"
    ) -> None:
        super().__init__("slapd")
        self.rootfs = rootfs
        self.entries = entries
        self.host = host
        self.certificate = certificate
        self.port = free_port()
        self.tls_port = free_port()
        self.user = f"cn=reader,{BASE}"
        self.password = secrets.token_hex(16)
        self._pki = Pki()
        self._stack = contextlib.ExitStack()
        self._directory: RunDirectory | None = None

    @property
    def ca_file(self) -> Path:
        """The CA that clients must trust, as PEM."""
        return self._place().outside / "ca.pem"

    @property
    def label(self) -> str:
        return f"OpenLDAP {self.rootfs.versions()['slapd']}"

    @property
    def log_file(self) -> Path:
        return self._place().outside / "output"

    @property
    def output_file(self) -> Path:
        return self.log_file

    def _place(self) -> RunDirectory:
        if self._directory is None:
            raise TestbedError(f"{self.name} is not running")
        return self._directory

    def _prepare(self) -> None:
        directory = self._directory = self._stack.enter_context(self.rootfs.run_directory("slapd", _USER))
        here = directory.inside
        directory.directory("data")
        directory.write("ca.pem", self._pki.ca, mode=0o644)
        pair = self._pki.issue(self.certificate, self.host)
        directory.write("tls.key", pair.key)
        directory.write("tls.crt", pair.chain)
        configuration = _CONFIGURATION.format(here=here, base=BASE, user=self.user, password=self.password)
        directory.write("slapd.conf", configuration)
        directory.write("tree.ldif", f"{_TREE.format(base=BASE).strip()}\n\n{self.entries.strip()}\n")
        self.rootfs.run("slapadd", "-f", f"{here}/slapd.conf", "-l", f"{here}/tree.ldif", user=_USER)

    def _clean_up(self) -> None:
        self._stack.close()
        self._directory = None

    def _command(self) -> list[str]:
        addresses = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        configuration = str(self._place().inside / "slapd.conf")
        # -d keeps it in the foreground, and makes it log operations to stderr.
        return self.rootfs.command("slapd", "-f", configuration, "-h", addresses, "-d", "stats", user=_USER)

    def _environment(self) -> dict[str, str]:
        return self.rootfs.environment()

    def _probe(self) -> None:
        for port in (self.port, self.tls_port):
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
