"""What goes wrong while connecting becomes one sentence that an administrator can act on."""

from __future__ import annotations

import errno
import socket
import ssl

import aiosasl
import pytest
from aioxmpp import errors

from agi_xmpp.errors import ConfigError, LoginFailed, NotConnected, TlsFailed
from agi_xmpp.xmpp.failures import EXPECTED, NoStartTls, NoTokenLogin, explain, is_conflict, lost
from agi_xmpp.xmpp.oauthbearer import TokenRefused

PLACE = "xmpp.example.org:5222"


def said(error, secret="password"):
    return explain(error, jid="a@example.org", domain="example.org", place=PLACE, timeout=20, secret=secret)


def certificate(code, message):
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def stream(condition, text=None):
    return errors.StreamError(condition, text=text)


CONDITIONS = errors.StreamErrorCondition


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (TimeoutError(), NotConnected, "did not answer within 20 s"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), NotConnected, "no connection to xmpp.example.org:5222: Conn"),
        (socket.gaierror(-2, "Name or service not known"), NotConnected, "the name is not known"),
        (ConnectionResetError("closed without a word"), NotConnected, "closed without a word"),
        (NoStartTls(), TlsFailed, 'tls = "direct"'),
        (certificate(62, "Hostname mismatch"), TlsFailed, "not valid for example.org"),
        (certificate(20, "unable to get local issuer certificate"), TlsFailed, "ca_file"),
        (certificate(10, "certificate has expired"), TlsFailed, "has expired; renew it"),
        (certificate(23, "certificate revoked"), TlsFailed, "cannot be trusted: certificate revoked"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), TlsFailed, "TLS with xmpp.example.org:5222 failed"),
        (errors.SASLUnavailable("none"), LoginFailed, "offers no login method"),
        (aiosasl.AuthenticationFailure("not-authorized"), LoginFailed, "refuses the password of a@example.org"),
        (aiosasl.AuthenticationFailure("account-disabled"), LoginFailed, "has disabled the account a@example.org"),
        (aiosasl.AuthenticationFailure("temporary-auth-failure"), NotConnected, "cannot check passwords"),
        (ConfigError("password_file /x: No such file"), LoginFailed, "password_file /x"),
        (stream(CONDITIONS.HOST_UNKNOWN), NotConnected, "does not serve the domain example.org"),
        (stream(CONDITIONS.POLICY_VIOLATION, "slow down"), NotConnected, "policy-violation: slow down"),
        (ZeroDivisionError("odd"), NotConnected, "ZeroDivisionError: odd"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_sentence_for_each(error, kind, words):
    explained = said(error)
    assert type(explained) is kind
    assert words in str(explained)
    assert "\n" not in str(explained)


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (ConfigError("token_file /x: gone"), LoginFailed, "no token for a@example.org: token_file /x: gone"),
        (
            TokenRefused("not-authorized", text="invalid_token"),
            LoginFailed,
            "the server refuses the token of a@example.org (invalid_token)",
        ),
        (
            aiosasl.SASLFailure("account-disabled"),
            LoginFailed,
            "the server has disabled the account a@example.org (account-disabled)",
        ),
        (
            aiosasl.SASLFailure("invalid-mechanism"),
            LoginFailed,
            f"the login of a@example.org at {PLACE} failed: invalid-mechanism",
        ),
        (
            aiosasl.SASLFailure("temporary-auth-failure"),
            NotConnected,
            f"{PLACE} cannot check tokens at the moment (temporary-auth-failure)",
        ),
        (NoTokenLogin([]), LoginFailed, f"{PLACE} offers no login by token (OAUTHBEARER), but nothing"),
        (
            NoTokenLogin(["PLAIN", "EXTERNAL"]),
            LoginFailed,
            f"{PLACE} offers no login by token (OAUTHBEARER), but PLAIN, EXTERNAL",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_sentence_for_each_of_a_login_by_token(error, kind, sentence):
    explained = said(error, "token")
    assert (type(explained), str(explained)) == (kind, sentence)


@pytest.mark.parametrize(("length", "shown"), [(199, 199), (200, 200), (201, 200)])
def test_a_long_list_of_login_methods_is_cut(length, shown):
    assert NoTokenLogin(["X" * length]).offered == "X" * shown


def test_an_error_of_ours_stays_what_it_is():
    error = NotConnected("already a sentence")
    assert said(error) is error


def test_a_password_that_cannot_be_prepared_is_not_quoted():
    explained = said(errors.StreamNegotiationFailure("bad character in s3cr3t-word"))
    assert isinstance(explained, LoginFailed)
    assert "s3cr3t" not in str(explained)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            stream(CONDITIONS.SYSTEM_SHUTDOWN, "maintenance"),
            "the server ended the stream (system-shutdown: maintenance)",
        ),
        (ConnectionError("dead time hard limit"), "the server is silent"),
        (ConnectionResetError("reset"), "reset"),
        (ConnectionResetError(), "ConnectionResetError"),
        (None, "NoneType"),
    ],
)
def test_why_a_session_broke(error, words):
    assert lost(error) == words


def test_conflict():
    assert is_conflict(stream(CONDITIONS.CONFLICT))
    assert not is_conflict(stream(CONDITIONS.RESET))
    assert not is_conflict(OSError())


@pytest.mark.parametrize(
    "error", [OSError(), ssl.SSLError(), NoStartTls(), NoTokenLogin([]), NotConnected("x"), ConfigError("x")]
)
def test_what_is_expected_is_no_fault_of_ours(error):
    assert isinstance(error, EXPECTED)


def test_a_fault_of_ours_is_not_expected():
    assert not isinstance(ZeroDivisionError(), EXPECTED)
