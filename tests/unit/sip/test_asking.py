"""A request with its credentials. What a call makes of it is in test_call.py."""

from __future__ import annotations

import pytest
from sipmessage import Request, Response

from agi_xmpp.sip.asking import Asking
from agi_xmpp.sip.dialog import Dialog
from agi_xmpp.sip.digest import Digest
from agi_xmpp.sip.transactions import Failure
from agi_xmpp.sip.wire import parse
from tests.unit.sip.exchange import HERE, THERE, respond
from tests.unit.sip.test_transactions import Layer


class Asked(Layer):
    """A MESSAGE that was asked with a password."""

    def __init__(self, password: str = "x") -> None:
        super().__init__()
        dialog = Dialog(call_id="c", local=HERE.uri("gw"), remote=THERE.uri(), contact=HERE.uri(), tag="n", sequence=0)
        digest = Digest("gw", password, lambda: "cnonce")
        self.asking = Asking(self.it, digest, lambda: dialog.request("MESSAGE"), self, 5)
        self.asking.begin()

    def refuse(self, nonce: str, stale: str = "false") -> None:
        """Answer the last try by a challenge."""
        request = parse(self.datagrams[-1])
        assert isinstance(request, Request)
        challenge = f'WWW-Authenticate: Digest realm="r",nonce="{nonce}",stale={stale}'
        response = parse(respond(request, 401, challenge))
        assert isinstance(response, Response)
        self.it.receive_response(response)

    @property
    def last(self) -> bytes:
        return self.datagrams[-1]


def test_a_challenge_is_answered_by_a_new_request():
    asked = Asked()
    asked.refuse("n1")
    assert asked.words() == ["MESSAGE", "MESSAGE"]
    assert b"CSeq: 2 MESSAGE" in asked.last
    assert b'nonce="n1"' in asked.last
    assert asked.heard == []
    assert not asked.asking.heard


def test_the_second_refusal_is_final():
    asked = Asked()
    for nonce in ("n1", "n2"):
        asked.refuse(nonce)
    assert asked.heard == [401]


@pytest.mark.parametrize(("refusals", "heard"), [(2, []), (3, []), (4, [401])])
def test_stale_ones_are_answered_a_few_times(refusals, heard):
    asked = Asked()
    for number in range(refusals):
        asked.refuse(f"n{number}", "true")
    assert asked.heard == heard


def test_each_try_has_its_time():
    asked = Asked()
    asked.run(4)
    asked.refuse("n1")
    asked.run(8.9)
    assert asked.heard == []
    asked.run(9)
    assert asked.heard == [Failure.SILENCE]


def test_without_a_password_the_challenge_is_the_answer():
    asked = Asked(password="")
    asked.refuse("n1")
    assert asked.heard == [401]
