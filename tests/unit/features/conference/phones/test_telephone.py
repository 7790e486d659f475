"""What a phone answers to requests of chat."""

from __future__ import annotations

import pytest

from agi_xmpp.features.conference import stanzas
from agi_xmpp.features.conference.phones import telephone
from tests.unit.features.conference.fakes import stanza

INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
NODE = "<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>"
PING = "<ping xmlns='urn:xmpp:ping'/>"
OTHER = "<query xmlns='jabber:iq:version'/>"


def request(payload: str, kind: str = "get"):
    return stanza(
        f"<iq type='{kind}' id='q' from='garden@rooms.example.org/Juliet' to='101@phone.example.org/17'>{payload}</iq>"
    )


def test_it_is_a_phone():
    answer = telephone.answer(request(INFO), "Alice A")
    assert answer is not None
    assert (answer.get("type"), answer.get("id"), answer.get("to")) == (
        "result",
        "q",
        "garden@rooms.example.org/Juliet",
    )
    (identity,) = answer.iter(f"{{{stanzas.DISCO_INFO}}}identity")
    assert dict(identity.items()) == {"category": "client", "type": "phone", "name": "Alice A"}


def test_it_is_there():
    answer = telephone.answer(request(PING), "Alice A")
    assert answer is not None
    assert (answer.get("type"), len(answer)) == ("result", 0)


@pytest.mark.parametrize(("payload", "kind"), [(OTHER, "get"), (INFO, "set"), (NODE, "get"), ("", "get")])
def test_it_can_do_nothing_else(payload, kind):
    answer = telephone.answer(request(payload, kind), "Alice A")
    assert answer is not None
    assert stanzas.condition_of(answer) == "service-unavailable"
    assert telephone.info(request(payload, kind), "Alice A") is None


@pytest.mark.parametrize("kind", ["result", "error"])
def test_answers_are_not_answered(kind):
    assert telephone.answer(request("", kind), "Alice A") is None
