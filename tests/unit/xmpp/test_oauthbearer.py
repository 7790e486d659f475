"""OAUTHBEARER (RFC 7628): what is said on the wire, to the byte, and what is told of a refusal."""

from __future__ import annotations

import json
from typing import Any

import aiosasl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agi_xmpp.xmpp.oauthbearer import MECHANISM, OAuthBearer, TokenRefused, first_message, reasons

JID = "pbx@example.org"
TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="  # that of the examples of RFC 7628 section 4


class Peer(aiosasl.SASLInterface):  # type: ignore[misc]
    """Says what it was told to, and notes what it hears."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.heard: list[Any] = []

    def _answer(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def initiate(self, mechanism: str, payload: bytes | None = None) -> Any:
        self.heard.append((mechanism, payload))
        return self._answer()

    async def respond(self, payload: bytes) -> Any:
        self.heard.append(payload)
        return self._answer()

    async def abort(self) -> None:
        raise AssertionError("an abort is not asked for")


async def log_in(peer: Peer) -> None:
    await OAuthBearer(JID, TOKEN).authenticate(aiosasl.SASLStateMachine(peer), MECHANISM)


async def refusal(*answers: Any) -> aiosasl.SASLError:
    """Return what a login ends with."""
    peer = Peer(*answers)
    with pytest.raises(aiosasl.SASLError) as caught:
        await log_in(peer)
    assert peer.heard == [(MECHANISM, first_message(JID, TOKEN)), b"\x01"][: len(answers)]
    assert TOKEN not in str(caught.value)
    return caught.value


# What we say


def test_the_first_message_to_the_byte() -> None:
    assert first_message(JID, TOKEN) == f"n,a=pbx@example.org,\x01auth=Bearer {TOKEN}\x01\x01".encode("ascii")


@pytest.mark.parametrize(
    ("jid", "name"),
    [
        ("a,b@example.org", "a=2Cb@example.org"),
        ("a=b@example.org", "a=3Db@example.org"),
        ("a=2Cb,@example.org", "a=3D2Cb=2C@example.org"),
        ("jörg@münchen.example", "jörg@münchen.example"),
    ],
)
def test_our_name_cannot_end_its_field(jid: str, name: str) -> None:
    assert first_message(jid, "x") == f"n,a={name},\x01auth=Bearer x\x01\x01".encode()


@given(
    jid=st.text(st.characters(exclude_characters="\x01", exclude_categories=["Cs"]), min_size=1),
    token=st.text("aZ9~!/+=", min_size=1),
)
def test_it_can_be_read_back(jid: str, token: str) -> None:
    header, auth, *ends = first_message(jid, token).decode().split("\x01")
    flag, name, rest = header.split(",")
    assert (flag, rest, auth, ends) == ("n", "", f"auth=Bearer {token}", ["", ""])
    assert name.removeprefix("a=").replace("=2C", ",").replace("=3D", "=") == jid


@pytest.mark.parametrize("token", ["", "hunter2\x01host=x", "hunter2\n", "hunter2\x7f", "hunter2ü", "hunter2\x1f"])
def test_what_is_no_token_is_neither_sent_nor_repeated(token: str) -> None:
    with pytest.raises(ValueError, match="no token may hold") as caught:
        first_message(JID, token)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("offered", "chosen"), [(["PLAIN", MECHANISM], MECHANISM), (["PLAIN", "X-OAUTH2"], None)])
def test_it_is_used_where_it_is_offered(offered: list[str], chosen: str | None) -> None:
    assert OAuthBearer.any_supported(offered) == chosen


# How it goes


@pytest.mark.parametrize("data", [None, b""])
async def test_success(data: bytes | None) -> None:
    peer = Peer(("success", data))
    await log_in(peer)
    assert peer.heard == [(MECHANISM, first_message(JID, TOKEN))]


async def test_a_refusal_with_reasons_is_answered_before_it_is_read() -> None:
    challenge = json.dumps({"status": "invalid_token", "scope": "xmpp", "openid-configuration": "https://x"}).encode()
    error = await refusal(("challenge", challenge), aiosasl.SASLFailure("not-authorized"))
    assert isinstance(error, TokenRefused)
    assert (error.opaque_error, error.text) == ("not-authorized", "invalid_token; it asks for the scope xmpp")


@pytest.mark.parametrize("condition", ["not-authorized", "credentials-expired"])
@pytest.mark.parametrize("answers", [[], [("challenge", b"{}")], [("challenge", None)], [("challenge", b"\xff")]])
async def test_a_refusal_without_reasons_is_told_by_its_condition(condition: str, answers: list[Any]) -> None:
    error = await refusal(*answers, aiosasl.SASLFailure(condition))
    assert isinstance(error, TokenRefused)
    assert error.text == condition


@pytest.mark.parametrize("condition", ["account-disabled", "temporary-auth-failure", "invalid-mechanism", "aborted"])
async def test_what_another_token_would_not_mend_is_no_refusal_of_the_token(condition: str) -> None:
    error = await refusal(aiosasl.SASLFailure(condition))
    assert not isinstance(error, TokenRefused)
    assert error.opaque_error == condition


@pytest.mark.parametrize("answer", [("success", None), ("challenge", b"{}"), ("success", b"data")])
async def test_a_server_that_takes_its_reasons_back_is_not_believed(answer: Any) -> None:
    error = await refusal(("challenge", b'{"status": "invalid_token"}'), answer)
    assert "then did not refuse it" in str(error)


# What is told of the reasons


@pytest.mark.parametrize(
    ("challenge", "told"),
    [
        (b'{"status": "invalid_token"}', "invalid_token"),
        (b'{"status": "insufficient_scope", "scope": "a b"}', "insufficient_scope; it asks for the scope a b"),
        (b'{"status": "401", "scope": null}', "401"),
        (b'{"scope": "a"}', ""),
        (b'{"status": 401}', ""),
        (b'{"status": {"a": 1}}', ""),
        (b'["status"]', ""),
        (b"null", ""),
        (b"", ""),
        (b"no JSON", ""),
        (b"[" * 100_000, ""),
        (None, ""),
        (b'{"status": "a\\nERROR forged\\u001b[31m\\u2028b"}', "a?ERROR forged?[31m?b"),
        (f'{{"status": "bad token {TOKEN}"}}'.encode(), "bad token (hidden)"),
        (f'{{"status": "x", "scope": "{TOKEN}{TOKEN}"}}'.encode(), "x; it asks for the scope (hidden)(hidden)"),
        (b'{"status": "%s"}' % (b"x" * 199), "x" * 199),
        (b'{"status": "%s"}' % (b"x" * 200), "x" * 200),
        (b'{"status": "%s"}' % (b"x" * 201), "x" * 200),
    ],
)
def test_reasons_in_one_line(challenge: bytes | None, told: str) -> None:
    assert reasons(challenge, TOKEN) == told


@given(st.binary(max_size=200))
def test_whatever_a_server_says_is_one_line(challenge: bytes) -> None:
    assert reasons(challenge, TOKEN).isprintable()
