from __future__ import annotations

import errno
import socket
import ssl

import pytest

from agi_xmpp.ami import failures
from agi_xmpp.errors import AmiError, AmiForbidden, AmiNotConnected, AmiProtocolError, AmiRefused, ConfigError


def connecting(error: Exception, *, encrypted: bool = False) -> AmiError:
    return failures.connecting(error, host="pbx.test", place="pbx.test:5038", timeout=10, encrypted=encrypted)


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def expired() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = 10, "certificate has expired"
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), ["nobody listens at pbx.test:5038", "enabled = yes"]),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 5038), [Errno 111] Connect call failed"
            ),
            ["nobody listens at pbx.test:5038"],
        ),
        (TimeoutError(), ["no manager interface (AMI) at pbx.test:5038", "within 10 s", 'set tls = "direct"']),
        (socket.gaierror(-2, "Name or service not known"), ["the name is not known"]),
        (OSError(errno.EHOSTUNREACH, "x"), ["no connection to pbx.test:5038: No route to host"]),
        (OSError("odd"), ["no connection to pbx.test:5038: odd"]),
        (ConnectionResetError(), ["ConnectionResetError"]),
        (expired(), ["the certificate of pbx.test:5038 has expired"]),
        (tls_error("WRONG_VERSION_NUMBER"), ["wrong version number", "it is no port for TLS"]),
        (tls_error("NO_CIPHERS_AVAILABLE"), ["TLS with pbx.test:5038 failed: no ciphers available"]),
        (LookupError("x"), ["connecting to pbx.test:5038 failed: LookupError"]),
    ],
)
def test_each_failure_says_what_and_where(error: Exception, words: list[str]) -> None:
    found = connecting(error)
    assert type(found) is AmiNotConnected
    for word in words:
        assert word in str(found)


def test_towards_a_tls_port_the_advice_is_another() -> None:
    assert "tlsenable = yes and tlsbindaddr" in str(connecting(ConnectionRefusedError(), encrypted=True))
    assert "direct" not in str(connecting(TimeoutError(), encrypted=True))


def test_without_a_password_there_is_no_hurry() -> None:
    found = connecting(ConfigError("password_file x: No such file"))
    assert isinstance(found, AmiRefused)
    assert str(found) == "no login at pbx.test:5038: password_file x: No such file"


def test_what_is_explained_already_stays() -> None:
    error = AmiProtocolError("x")
    assert connecting(error) is error


@pytest.mark.parametrize(
    ("action", "grant"),
    [
        ("Originate", "add originate to its line write ="),
        ("BlindTransfer", "add call to its line write ="),
        ("Status", "add call to its line write ="),
        ("QueuePause", "add agent to its line write ="),
        ("CoreShowChannels", "add reporting to its line write ="),
        ("Shutdown", "its line write = does not grant that"),
    ],
)
def test_a_missing_privilege_is_named(action: str, grant: str) -> None:
    found = failures.refused(action, "Permission denied", "phone")
    assert isinstance(found, AmiForbidden)
    what, _, advice = str(found).partition("; ")
    assert what == f"the manager user phone may not do {action}: in [phone] of manager.conf, {grant}"
    assert advice == 'after that, asterisk -rx "manager reload", and systemctl reload agi-xmpp'


@pytest.mark.parametrize(
    ("action", "text"),
    [
        ("QueuePause", "Asterisk knows no action QueuePause; it needs app_queue"),
        ("Nonsense", "Asterisk knows no action Nonsense"),
    ],
)
def test_an_action_that_asterisk_does_not_have(action: str, text: str) -> None:
    message = f"Invalid/unknown command: {action}. Use Action: ListCommands to show available commands."
    found = failures.refused(action, message, "phone")
    assert str(found) == text
    assert not isinstance(found, AmiForbidden)


def test_other_refusals_are_asterisks_own_words() -> None:
    assert str(failures.refused("Hangup", "No such channel", "phone")) == "No such channel"
    assert str(failures.refused("Hangup", "", "phone")) == "Asterisk refused Hangup and gave no reason"


def test_a_refused_login_names_all_three_reasons() -> None:
    text = str(failures.login_refused("Authentication failed", "phone", "pbx.test:5038"))
    for word in ("phone", "pbx.test:5038", "secret", "[phone] of manager.conf", "permit", "log"):
        assert word in text


@pytest.mark.parametrize("message", ["No active conferences.", "No Contacts found", "No endpoints found"])
def test_errors_that_are_empty_lists(message: str) -> None:
    assert failures.is_empty_list(message)


@pytest.mark.parametrize("message", ["", "Permission denied", "No such channel", "Could not get channel snapshot"])
def test_errors_that_are_errors(message: str) -> None:
    assert not failures.is_empty_list(message)
