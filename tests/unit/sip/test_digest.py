"""Digest authentication, against the examples of the RFCs."""

from __future__ import annotations

import hashlib
import re

import pytest
from sipmessage import Request, Response

from agi_xmpp.sip.digest import Digest, read_challenge
from agi_xmpp.sip.wire import Place


def refusal(*challenges: str, code: int = 401) -> Response:
    response = Response(code, "Unauthorized")
    response.headers.setlist("WWW-Authenticate" if code == 401 else "Proxy-Authenticate", list(challenges))
    return response


def answer(digest: Digest, header: str = "Authorization", method: str = "INVITE") -> dict[str, str] | None:
    request = Request(method, Place("127.0.0.1", 5060).uri("6000"))
    digest.authorize(request)
    value = request.headers.get(header)
    if value is None:
        return None
    found = re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^",]*))', value)
    return {name: re.sub(r"\\(.)", r"\1", quoted) or plain for name, quoted, plain in found}


def make(password: str = "Circle Of Life") -> Digest:
    return Digest("Mufasa", password, lambda: "0a4f113b")


def hashed(name: str, *parts: str) -> str:
    return hashlib.new(name, ":".join(parts).encode()).hexdigest()


@pytest.mark.parametrize(("algorithm", "name"), [("MD5", "md5"), ("SHA-256", "sha256"), ("sha-256", "sha256")])
def test_an_answer_with_a_count(algorithm, name):
    digest = make()
    assert digest.learn(
        refusal(f'Digest realm="r, \\"x\\"", nonce="n==",qop="auth,auth-int",algorithm={algorithm},opaque="o"')
    )
    for count in ("00000001", "00000002"):
        found = answer(digest)
        assert found is not None
        known, wanted = hashed(name, "Mufasa", 'r, "x"', "Circle Of Life"), hashed(name, "INVITE", found["uri"])
        assert found["response"] == hashed(name, known, "n==", count, "0a4f113b", "auth", wanted)
        assert (found["nc"], found["opaque"], found["uri"]) == (count, "o", "sip:6000@127.0.0.1:5060")


def test_the_example_of_rfc_2617_without_a_count():
    digest = make()
    assert digest.learn(refusal('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'))
    found = answer(digest)
    assert found is not None
    known = "939e7578ed9e3c518a452acee763bce9"  # RFC 2617 section 3.5
    wanted = hashed("md5", "INVITE", "sip:6000@127.0.0.1:5060")
    assert found["response"] == hashed("md5", known, "dcd98b7102dd2f0e8b11d0f600bfb0c093", wanted)
    assert "algorithm" not in found
    assert "nc" not in found


def test_a_proxy_asks_in_its_own_header():
    digest = make()
    assert digest.learn(refusal('Digest realm="r",nonce="n"', code=407))
    assert answer(digest) is None
    assert answer(digest, "Proxy-Authorization") is not None


def test_the_first_that_we_can_answer_is_taken():
    digest = make()
    digest.learn(
        refusal('Basic realm="r"', 'Digest realm="r",nonce="a",algorithm=SHA-512-256', 'Digest realm="r",nonce="b"')
    )
    found = answer(digest)
    assert found is not None
    assert found["nonce"] == "b"


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Digest",
        "Digest realm",
        'Digest realm="r"',
        'Digest realm="r",nonce="n",algorithm=MD5-sess',
        'Digest realm="r",nonce="n",qop="auth-int"',
        'Digest realm="r",nonce="' + "n" * 3000 + '"',
        '"""",,,=',
    ],
)
def test_what_cannot_be_answered(challenge):
    digest = make()
    assert digest.learn(refusal(challenge)) is None
    assert answer(digest) is None


def test_without_a_password_nothing_is_answered():
    digest = make("")
    assert not digest.has_password
    assert digest.learn(refusal('Digest realm="r",nonce="n"')) is None


@pytest.mark.parametrize(("stale", "is_stale"), [("true", True), ("TRUE", True), ("false", False), ("", False)])
def test_staleness(stale, is_stale):
    challenge = read_challenge(refusal(f'Digest realm="r",nonce="n",stale={stale}'))
    assert challenge is not None
    assert challenge.stale is is_stale


def test_other_answers_are_no_challenges():
    assert read_challenge(Response(403, "Forbidden")) is None
