"""How we encrypt as a client, and what to tell an administrator when it fails."""

from __future__ import annotations

import ssl
from pathlib import Path

from agi_xmpp.errors import ConfigError

# Codes of OpenSSL's x509_vfy.h
_EXPIRED = 10
_SELF_SIGNED = frozenset({18, 19, 20, 21})
_WRONG_HOST = frozenset({62, 64})


def client_context(ca_file: Path | None = None, *, accept_any_certificate: bool = False) -> ssl.SSLContext:
    """Return the rules for connecting to a server.

    Args:
        ca_file: certificates to trust besides the system's (PEM).
        accept_any_certificate: no check at all.

    Raises:
        ConfigError: ``ca_file`` cannot be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325 section 3.1.1
    if accept_any_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except ssl.SSLError:
            raise ConfigError(f"ca_file {ca_file}: it holds no certificate (PEM)") from None
        except OSError as error:
            raise ConfigError(f"ca_file {ca_file}: {error.strerror}") from None
    return context


def distrust(error: ssl.SSLCertVerificationError, place: str, name: str) -> str:
    """Return one sentence for why a certificate is not accepted.

    Args:
        error: of the handshake.
        place: host and port.
        name: the name that the certificate should have.
    """
    code, reason = error.verify_code, error.verify_message
    if code in _WRONG_HOST:
        return f"the certificate of {place} is not valid for {name}; the server needs one for that name ({reason})"
    if code in _SELF_SIGNED:
        return (
            f"the certificate of {place} is signed by nobody whom this machine trusts; if it is your own CA, "
            f"name its file in ca_file ({reason})"
        )
    if code == _EXPIRED:
        return f"the certificate of {place} has expired; renew it on the server ({reason})"
    return f"the certificate of {place} cannot be trusted: {reason}"


def handshake_reason(error: ssl.SSLError) -> str:
    """Return what OpenSSL says, in small letters."""
    return (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
