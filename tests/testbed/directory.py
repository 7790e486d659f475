"""A real LDAP directory: OpenLDAP's slapd, with the entries that a test wants."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from tests.testbed.pki import Certificate, Pki
from tests.testbed.ports import free_port
from tests.testbed.program import TreeProgram
from tests.testbed.rootfs import Rootfs, RunDirectory

#: Where everything stands. Anybody may read below ``ou=people``; ``ou=staff`` is for who has logged in.
BASE = "dc=example,dc=org"

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


class Directory(TreeProgram):
    """slapd on 127.0.0.1.

    Args:
        rootfs: where the program is.
        entries: LDIF (RFC 2849) of what stands in it below `BASE`.
        host: the name in its certificate.
        certificate: what it shows.

    Attributes:
        port: plain, with StartTLS for who asks for it.
        tls_port: for ``ldaps``.
        reader, password: who may read all.
    """

    def __init__(
        self, rootfs: Rootfs, entries: str = "", host: str = "127.0.0.1", certificate: Certificate = "good"
    ) -> None:
        super().__init__("slapd", rootfs, "openldap")
        self.entries = entries
        self.host = host
        self.certificate = certificate
        self.port = free_port()
        self.tls_port = free_port()
        self.reader = f"cn=reader,{BASE}"
        self.password = secrets.token_hex(16)
        self._pki = Pki()

    @property
    def ca_file(self) -> Path:
        """The CA that clients must trust, as PEM."""
        return self._place().outside / "ca.pem"

    @property
    def label(self) -> str:
        return f"OpenLDAP {self.rootfs.versions()['slapd']}"

    def _configure(self, directory: RunDirectory) -> None:
        here = directory.inside
        directory.directory("data")
        directory.write("ca.pem", self._pki.ca, mode=0o644)
        pair = self._pki.issue(self.certificate, self.host)
        directory.write("tls.key", pair.key)
        directory.write("tls.crt", pair.chain)
        configuration = _CONFIGURATION.format(here=here, base=BASE, user=self.reader, password=self.password)
        directory.write("slapd.conf", configuration)
        directory.write("tree.ldif", f"{_TREE.format(base=BASE).strip()}\n\n{self.entries.strip()}\n")
        self.rootfs.run("slapadd", "-f", f"{here}/slapd.conf", "-l", f"{here}/tree.ldif", user=self.user)

    def _command(self) -> list[str]:
        addresses = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        configuration = str(self._place().inside / "slapd.conf")
        # -d keeps it in the foreground, and makes it log operations to stderr.
        return self.rootfs.command("slapd", "-f", configuration, "-h", addresses, "-d", "stats", user=self.user)

    def _probe(self) -> None:
        for port in (self.port, self.tls_port):
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
