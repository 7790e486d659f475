from __future__ import annotations

from xml.etree.ElementTree import fromstring, tostring

import pytest

from agi_xmpp.errors import BadJid
from agi_xmpp.features.conference.invitations import invitation_stanzas as subject
from agi_xmpp.features.conference.room.invitations import MAX_REASON
from tests.unit.features.conference.fakes import stanza
from tests.unit.features.conference.hall import jid

ROOM = jid("verona@conference.localhost")


def same(element, text):
    assert fromstring(tostring(element)) is not None
    assert canonical(element) == canonical(stanza(text))


def canonical(element):
    return (
        element.tag,
        sorted(element.items()),
        (element.text or "").strip(),
        [canonical(child) for child in element],
    )


def test_an_invitation_of_a_phone():
    message = subject.from_room(
        ROOM, jid("juliet@localhost"), jid("alice@sip.localhost/17.1"), "come over", message_id="40e6"
    )
    same(
        message,
        """<message from="verona@conference.localhost" to="juliet@localhost" id='40e6'>
        <x xmlns='http://jabber.org/protocol/muc#user'><invite from="alice@sip.localhost"><reason>come over</reason>
        </invite></x><x xmlns='jabber:x:conference' jid="verona@conference.localhost" reason="come over"/></message>""",
    )


def test_an_invitation_with_a_password_and_nobody_who_invites():
    same(
        subject.from_room(ROOM, jid("juliet@localhost"), None, password="a<b"),
        """<message from="verona@conference.localhost" to="juliet@localhost">
        <x xmlns='http://jabber.org/protocol/muc#user'><invite from="verona@conference.localhost"/>
        <password>a&lt;b</password></x>
        <x xmlns='jabber:x:conference' jid="verona@conference.localhost" password="a&lt;b"/></message>""",
    )


def test_a_refusal():
    message = subject.declined(
        ROOM, jid("romeo@localhost/test"), jid("carol@sip.localhost"), "User busy (SIP 486)", "7a7d"
    )
    same(
        message,
        """<message from="verona@conference.localhost" to="romeo@localhost/test" id="7a7d">
        <x xmlns='http://jabber.org/protocol/muc#user'><decline from="carol@sip.localhost">
        <reason>User busy (SIP 486)</reason></decline></x></message>""",
    )
    assert subject.read_decline(message) == "User busy (SIP 486)"


def test_a_refusal_without_a_reason():
    message = subject.declined(ROOM, jid("romeo@localhost/test"), jid("carol@sip.localhost"), "", None)
    assert subject.read_decline(message) == ""
    assert "reason" not in tostring(message, encoding="unicode")


@pytest.mark.parametrize(
    "text",
    [
        "<message><body>no</body></message>",
        "<message><x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'/></x></message>",
        "<presence><x xmlns='http://jabber.org/protocol/muc#user'><decline to='a@b'/></x></presence>",
    ],
)
def test_what_is_no_refusal(text):
    assert subject.read_decline(stanza(text)) is None


def test_a_direct_invitation_is_read():
    message = stanza(
        "<message><x xmlns='jabber:x:conference' jid='Verona@conference.localhost/x' reason='hi'/></message>"
    )
    assert subject.read_direct(message) == (ROOM, "hi")


@pytest.mark.parametrize("length", [MAX_REASON - 1, MAX_REASON, MAX_REASON + 1])
def test_reasons_are_cut(length):
    reason = "r" * length
    direct = stanza(f"<message><x xmlns='jabber:x:conference' jid='a@b' reason='{reason}'/></message>")
    decline = stanza(
        "<message><x xmlns='http://jabber.org/protocol/muc#user'><decline to='a@b'>"
        f"<reason>{reason}</reason></decline></x></message>"
    )
    found = subject.read_direct(direct)
    assert found is not None
    assert len(found[1]) == len(subject.read_decline(decline) or "") == min(length, MAX_REASON)


@pytest.mark.parametrize("room", ["", "conference.localhost", "a@b@c"])
def test_an_invitation_to_no_room(room):
    with pytest.raises(BadJid):
        subject.read_direct(stanza(f"<message><x xmlns='jabber:x:conference' jid='{room}'/></message>"))


@pytest.mark.parametrize(
    "text", ["<message><body>hi</body></message>", "<iq><x xmlns='jabber:x:conference' jid='a@b'/></iq>"]
)
def test_what_is_no_direct_invitation(text):
    assert subject.read_direct(stanza(text)) is None


def test_a_refusal_by_a_room_of_another_service():
    same(
        subject.refusal(jid("103@sip.localhost"), ROOM, jid("romeo@localhost/x"), "User busy"),
        """<message from="103@sip.localhost" to="verona@conference.localhost">
        <x xmlns='http://jabber.org/protocol/muc#user'><decline to="romeo@localhost/x"><reason>User busy</reason>
        </decline></x></message>""",
    )


def passed_on(child: str, reason: str = "come over"):
    inside = f"<{child}><reason>{reason}</reason></{child.split(maxsplit=1)[0]}>"
    return stanza(f"<message><x xmlns='http://jabber.org/protocol/muc#user'>{inside}</x></message>")


@pytest.mark.parametrize("length", [MAX_REASON, MAX_REASON + 1])
def test_an_invitation_that_a_room_passes_on(length):
    message = passed_on("invite from='romeo@localhost/x'", "r" * length)
    assert subject.is_mediated(message)
    assert subject.read_mediated(message) == (jid("romeo@localhost/x"), "r" * MAX_REASON)


@pytest.mark.parametrize("child", ["invite", "invite from='a@b@c'", "decline from='romeo@localhost'"])
def test_an_invitation_of_nobody(child):
    message = passed_on(child)
    assert subject.is_mediated(message) is child.startswith("invite")
    with pytest.raises(BadJid):
        subject.read_mediated(message)


def test_a_refusal_that_a_room_passes_on():
    message = passed_on("decline from='juliet@localhost/x'", "no time")
    assert subject.read_mediated_decline(message) == (jid("juliet@localhost"), "no time")
    for child in ("decline", "decline from='a@b@c'", "invite from='juliet@localhost'"):
        assert subject.read_mediated_decline(passed_on(child)) is None
