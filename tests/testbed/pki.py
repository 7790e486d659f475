"""Certificates of a private CA, and the three kinds that a client must refuse."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Literal

import trustme

#: ``good``; for another host; of a CA that nobody trusts; good until yesterday.
Certificate = Literal["good", "wrong-host", "unknown-ca", "expired"]


@dataclasses.dataclass(frozen=True, slots=True)
class KeyPair:
    """A server's key and certificate chain, as PEM."""

    key: str
    chain: str


class Pki:
    """A private CA."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="agi-xmpp testbed")
        self._stranger = trustme.CA(organization_name="nobody's CA")

    @property
    def ca(self) -> str:
        """The CA's certificate as PEM: what a client must trust."""
        return self._ca.cert_pem.bytes().decode()

    def issue(self, certificate: Certificate, *hosts: str) -> KeyPair:
        """Make a key and a certificate of the kind wanted for ``hosts``."""
        authority = self._stranger if certificate == "unknown-ca" else self._ca
        names = ["elsewhere.test"] if certificate == "wrong-host" else list(hosts)
        # Not for long: ejabberd cannot set its timer for a certificate that ends in the far future, and offers no TLS.
        days = -1 if certificate == "expired" else 30
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
        leaf = authority.issue_cert(*names, not_after=end)
        chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
        return KeyPair(leaf.private_key_pem.bytes().decode(), chain)
