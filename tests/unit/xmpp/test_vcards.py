"""The name in somebody's vCard."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import aioxmpp
import aioxmpp.pubsub.xso
import aioxmpp.vcard.xso
import aioxmpp.xml
import pytest

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp import vcards
from agi_xmpp.xmpp.model import Jid

JULIET = Jid("juliet", "capulet.lit", "balcony")
NEW = (
    "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:vcard4'><item id='current'>"
    "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'>{}</vcard></item></items></pubsub>"
)
NONE = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:vcard4'/></pubsub>"
OLD = "<vCard xmlns='vcard-temp'>{}</vCard>"
NEW_JULIET = NEW.format("<fn><text> Juliet Capulet\n</text></fn><url><uri>https://x.org</uri></url>")
OLD_JULIET = OLD.format("<N><FAMILY>Capulet</FAMILY></N><FN>Juliet C.</FN>")
SILENT = object()
REFUSED = object()


class Asked:
    """Answers requests as it was told to, new form and old form."""

    def __init__(self, new: Any, old: Any) -> None:
        self._answers = {aioxmpp.pubsub.xso.Request: new, aioxmpp.vcard.xso.VCard: old}
        self.requests: list[Any] = []
        self.replies: list[asyncio.Future[Any]] = []

    def __call__(self, iq: Any) -> asyncio.Future[Any]:
        self.requests.append(iq)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.replies.append(reply)
        answer = self._answers[type(iq.payload)]
        if answer is REFUSED:
            reply.set_exception(aioxmpp.errors.XMPPCancelError(aioxmpp.ErrorCondition.ITEM_NOT_FOUND))
        elif answer is not SILENT:
            xml = f"<iq xmlns='jabber:client' type='result' id='1'>{answer}</iq>"
            reply.set_result(aioxmpp.xml.read_single_xso(io.BytesIO(xml.encode()), aioxmpp.IQ))
        return reply


@pytest.mark.parametrize(
    ("new", "old", "name"),
    [
        (NEW_JULIET, OLD_JULIET, "Juliet Capulet"),
        (REFUSED, OLD_JULIET, "Juliet C."),
        (NONE, OLD_JULIET, "Juliet C."),
        (NEW.format(""), OLD_JULIET, "Juliet C."),
        (NEW.format("<fn/>"), OLD_JULIET, "Juliet C."),
        (NEW_JULIET, REFUSED, "Juliet Capulet"),
        (REFUSED, REFUSED, ""),
        (NEW.format("<fn><text/></fn>"), OLD.format("<FN/>"), ""),
        ("", "", ""),
        ("<query xmlns='jabber:iq:version'/>", OLD.format(""), ""),
    ],
)
async def test_the_newer_form_is_believed_if_it_has_a_name(new: Any, old: Any, name: str) -> None:
    asked = Asked(new, old)
    assert await vcards.name(asked, JULIET, 5) == name
    assert [(str(iq.to), iq.type_) for iq in asked.requests] == [("juliet@capulet.lit", aioxmpp.IQType.GET)] * 2


@pytest.mark.parametrize(
    ("new", "old", "name"),
    [(SILENT, OLD_JULIET, "Juliet C."), (NEW_JULIET, SILENT, "Juliet Capulet"), (SILENT, SILENT, "")],
)
async def test_who_does_not_answer_is_not_waited_for(new: Any, old: Any, name: str) -> None:
    asked = Asked(new, old)
    assert await vcards.name(asked, JULIET, 0.05) == name
    assert all(reply.done() for reply in asked.replies)


async def test_without_a_session() -> None:
    def request(_iq: Any) -> asyncio.Future[Any]:
        raise NotConnected("away")

    with pytest.raises(NotConnected):
        await vcards.name(request, JULIET, 5)
