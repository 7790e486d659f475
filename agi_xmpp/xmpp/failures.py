"""From what goes wrong while connecting to one sentence that tells an administrator what to do."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence

import aiosasl
from aioxmpp import errors

from agi_xmpp import tls
from agi_xmpp.errors import ConfigError, LoginFailed, NotConnected, TlsFailed, XmppError
from agi_xmpp.xmpp.oauthbearer import TokenRefused

#: Characters of a server's list of login methods that are worth a log line.
_OFFER_LIMIT = 200

_LOGIN_REASONS = {
    "not-authorized": "refuses the password of {jid}",
    "account-disabled": "has disabled the account {jid}",
    "credentials-expired": "says that the password of {jid} has expired",
    "invalid-authzid": "does not let us be {jid}",
}


class NoStartTls(Exception):
    """The server does not offer STARTTLS, and we do not go on without."""


class NoTokenLogin(Exception):
    """The server offers no login by token, which we are to use.

    Args:
        offered: the names of what it offers.
    """

    def __init__(self, offered: Sequence[str]) -> None:
        super().__init__(*offered)
        self.offered = ", ".join(offered)[:_OFFER_LIMIT] or "nothing"


def explain(error: BaseException, *, jid: str, domain: str, place: str, timeout: float, secret: str) -> XmppError:
    """Return an error of ours for whatever ended an attempt to connect.

    Args:
        error: what ended it.
        jid: our bare JID.
        domain: its domain.
        place: host and port.
        timeout: seconds that the attempt had.
        secret: what we log in by: ``password`` or ``token``.

    Returns:
        `TlsFailed` and `LoginFailed` if trying again at once is of no use, else `NotConnected`.
    """
    if isinstance(error, XmppError):
        return error
    if isinstance(error, ConfigError):
        return LoginFailed(f"no {secret} for {jid}: {error}")
    if isinstance(error, (ssl.SSLError, NoStartTls)):
        return _tls(error, domain, place)
    if isinstance(error, (aiosasl.SASLError, errors.SASLUnavailable, errors.StreamNegotiationFailure, NoTokenLogin)):
        return _login(error, jid, place, secret)
    if isinstance(error, errors.StreamError):
        return _stream(error, domain, place)
    if isinstance(error, TimeoutError):
        return NotConnected(f"{place} did not answer within {timeout:g} s")
    if isinstance(error, OSError):
        return NotConnected(f"no connection to {place}: {_os_reason(error)}")
    return NotConnected(f"connecting to {place} failed: {type(error).__name__}: {error}")


def lost(error: BaseException | None) -> str:
    """Return why a session broke, for a log line."""
    if isinstance(error, errors.StreamError):
        text = f": {error.text}" if error.text else ""
        return f"the server ended the stream ({_name(error)}{text})"
    if error is not None and "dead time" in str(error):
        return "the server is silent"
    return str(error) if error and str(error) else type(error).__name__


def is_conflict(error: BaseException) -> bool:
    """Return True if another login with our resource threw us out (RFC 6120 section 4.9.3.3)."""
    return isinstance(error, errors.StreamError) and error.condition == errors.StreamErrorCondition.CONFLICT


def _tls(error: ssl.SSLError | NoStartTls, domain: str, place: str) -> TlsFailed:
    if isinstance(error, NoStartTls):
        return TlsFailed(
            f"{place} does not offer STARTTLS, and nothing is sent unencrypted; if it is a port for direct TLS, "
            f'set tls = "direct"'
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return TlsFailed(tls.distrust(error, place, domain))
    reason = tls.handshake_reason(error)
    advice = (
        '; it does not speak TLS from the first byte: set tls = "starttls"' if reason == "wrong version number" else ""
    )
    return TlsFailed(f"TLS with {place} failed: {reason}{advice}")


def _login(error: Exception, jid: str, place: str, secret: str) -> XmppError:
    if isinstance(error, NoTokenLogin):
        return LoginFailed(f"{place} offers no login by token (OAUTHBEARER), but {error.offered}")
    if isinstance(error, TokenRefused):
        return LoginFailed(f"the server refuses the token of {jid} ({error.text})")
    if isinstance(error, errors.SASLUnavailable):
        return LoginFailed(
            f"{place} offers no login method that we may use (SCRAM-SHA-256, SCRAM-SHA-1, and PLAIN on encrypted "
            f"connections only)"
        )
    if isinstance(error, errors.StreamNegotiationFailure):
        # The library's text about a password that cannot be prepared may quote a part of it: it is not repeated.
        return LoginFailed(f"the password of {jid} holds a character that no password may hold (RFC 4013)")
    condition = getattr(error, "opaque_error", None) or "no reason given"
    if condition == "temporary-auth-failure":
        return NotConnected(f"{place} cannot check {secret}s at the moment ({condition})")
    reason = _LOGIN_REASONS.get(condition)
    if reason is None:
        return LoginFailed(f"the login of {jid} at {place} failed: {getattr(error, 'text', None) or condition}")
    return LoginFailed(f"the server {reason.format(jid=jid)} ({condition})")


def _stream(error: errors.StreamError, domain: str, place: str) -> NotConnected:
    condition = _name(error)
    if condition == "host-unknown":
        return NotConnected(f"{place} does not serve the domain {domain} ({condition})")
    text = f": {error.text}" if error.text else ""
    return NotConnected(f"{place} refused the stream ({condition}{text})")


def _name(error: errors.StreamError) -> str:
    return str(error.condition.value[1])


def _os_reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name is not known ({error.strerror})"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, ConnectionError) or error.strerror is None:
        return str(error) or type(error).__name__
    return error.strerror


#: What may end an attempt without being a fault of ours.
EXPECTED = (
    XmppError,
    ConfigError,
    ssl.SSLError,
    NoStartTls,
    NoTokenLogin,
    aiosasl.SASLError,
    OSError,
)
