from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from agi_xmpp import tls
from agi_xmpp.errors import ConfigError
from tests.testbed.pki import Pki


def untrusted(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "what OpenSSL says"
    return error


def test_certificates_and_names_are_checked() -> None:
    context = tls.client_context()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_no_check_only_where_it_is_wanted() -> None:
    context = tls.client_context(accept_any_certificate=True)
    assert (context.check_hostname, context.verify_mode) == (False, ssl.CERT_NONE)


def test_a_private_ca_is_trusted_besides_the_systems(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(Pki().ca)
    ours, system = tls.client_context(path), tls.client_context()
    assert ours.cert_store_stats()["x509_ca"] == system.cert_store_stats()["x509_ca"] + 1
    assert ours.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(("text", "words"), [(None, "No such file"), ("nothing", "holds no certificate")])
def test_a_ca_file_that_cannot_be_used(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=rf"^ca_file .*ca\.pem: .*{words}"):
        tls.client_context(path)


@pytest.mark.parametrize(
    ("code", "words"),
    [(10, "has expired"), (18, "name its file in ca_file"), (62, "not valid for pbx.test"), (99, "cannot be trusted")],
)
def test_each_reason_says_what_to_do(code: int, words: str) -> None:
    text = tls.distrust(untrusted(code), "pbx.test:5039", "pbx.test")
    assert words in text
    assert "pbx.test:5039" in text
    assert "what OpenSSL says" in text


def test_what_openssl_says_of_a_handshake() -> None:
    error = ssl.SSLError(1, "[SSL] x")
    assert tls.handshake_reason(error) == "[ssl] x"
    error.reason = "WRONG_VERSION_NUMBER"
    assert tls.handshake_reason(error) == "wrong version number"
