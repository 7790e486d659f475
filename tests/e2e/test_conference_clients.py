"""What the chat clients that people use send to a room, and what they need of it to work.

profanity runs here. Gajim, Dino and Conversations do not: what each of them sends when it enters a room, and what it
waits for, was read in its source, for Gajim and Dino seen on the wire, too, and is sent here stanza by stanza.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
import pytest_asyncio

from tests.e2e.answers import INFO, ITEMS, MUC, PING, USER, codes, features, form, identity, listed, problem, tree
from tests.e2e.party import Party, hall, party, texts_flow
from tests.testbed.client import Buddy, Heard
from tests.testbed.profanity import Profanity

__all__ = ["hall", "party"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Asks an archive for its last page.
LATEST = (
    "<query xmlns='urn:xmpp:mam:2' queryid='q1'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field></x>"
    "<set xmlns='http://jabber.org/protocol/rsm'><max>{count}</max><before/></set></query>"
)


async def subject(buddy: Buddy, room: str) -> Heard:
    """Wait for the subject, be it empty: a message without body, as clients tell it (XEP-0045 section 8.1)."""
    return await buddy.hears(
        lambda heard: (
            heard.sender.partition("/")[0] == room
            and heard.type == "groupchat"
            and not heard.body
            and tree(heard).find("{jabber:client}subject") is not None
        )
    )


def stanzas_of_room(buddy: Buddy, room: str, since: int) -> list[ET.Element]:
    """Return what a room has told of who is in it since then."""
    return [tree(seen) for seen in buddy.seen[since:] if seen.sender.partition("/")[0] == room]


@pytest_asyncio.fixture(loop_scope="module")
async def talk(party: Party) -> Party:
    """A party with Romeo in it, Alice on the phone, and one line of each."""
    romeo = await party.enter("romeo")
    alice = await party.dial("101")
    await texts_flow(romeo, alice)
    await alice.call.send("by phone")
    await romeo.hears("by phone", nick="Alice A")
    return party


async def test_gajim_enters(talk: Party) -> None:
    juliet, room = talk.hall["juliet"].buddy, talk.room
    talk.expect(juliet)
    # It asks first, and enters only if that succeeds.
    known = features(await juliet.ask(room, INFO))
    assert {MUC, "urn:xmpp:mam:2"} <= known
    # Without an archive it shows no history: it asks the room for none.
    seen, heard = len(juliet.seen), len(juliet.heard)
    juliet.send_raw(
        f"<presence to='{room}/Juliet' id='g1'><x xmlns='{MUC}'><history maxchars='0'/></x>"
        "<show>away</show><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://gajim.org' ver='x='/>"
        "</presence>"
    )
    # It is in when the subject comes, even an empty one.
    await subject(juliet, room)
    assert [message.body for message in juliet.heard[heard:] if message.sender.startswith(room)] == [""]
    *others, own = stanzas_of_room(juliet, room, seen)
    assert {other.get("from") for other in others} == {f"{room}/Romeo", f"{room}/Alice A"}
    assert (own.get("from"), own.get("id")) == (f"{room}/Juliet", "g1")
    assert codes(own) == {110}
    assert own.findtext("{jabber:client}show") == "away"
    # Then it reads the end of the archive, and asks who is what.
    answer = await juliet.ask(room, LATEST.format(count=50), "set")
    fin = answer.find("{urn:xmpp:mam:2}fin")
    assert fin is not None
    assert fin.get("complete") == "true"
    results = [message for message in juliet.heard[heard:] if 'queryid="q1"' in message.xml]
    texts = [next(tree(result).iter("{jabber:client}body")).text for result in results]
    assert texts == ["mark", "by phone"]
    # A change of the nick carries no <x/>.
    juliet.send_raw(f"<presence to='{room}/Lady' id='g2'/>")
    renamed = tree(await juliet.sees(lambda seen: seen.sender == f"{room}/Juliet" and seen.type == "unavailable"))
    item = renamed.find(f"{USER}x/{USER}item")
    assert item is not None
    assert item.get("nick") == "Lady"
    assert codes(renamed) == {110, 303}
    # So does leaving.
    juliet.send_raw(f"<presence to='{room}/Lady' type='unavailable'/>")
    gone = await juliet.sees(lambda seen: seen.sender == f"{room}/Lady" and seen.type == "unavailable")
    assert codes(tree(gone)) == {110}


async def test_gajim_opens_a_room(party: Party) -> None:
    juliet, room = party.hall["juliet"].buddy, party.room
    party.expect(juliet)
    # It enters only what says that it is a room, though nobody is in yet.
    about = await juliet.ask(room, INFO)
    assert {MUC, "muc_open", "muc_temporary", "urn:xmpp:mam:2"} <= features(about)
    assert identity(about) == ("conference", "text", party.number)
    assert room not in listed(await juliet.ask(party.hall.domain, ITEMS)), "asking opens nothing"
    juliet.send_raw(f"<presence to='{room}/Juliet' id='g1'><x xmlns='{MUC}'><history maxchars='0'/></x></presence>")
    own = tree(await juliet.sees(lambda seen: seen.sender == f"{room}/Juliet"))
    assert codes(own) == {110, 201}
    await subject(juliet, room)
    asked = form(await juliet.ask(room, f"<query xmlns='{MUC}#owner'/>"))
    wanted = {"muc#roomconfig_persistentroom", "muc#roomconfig_publicroom", "muc#roomconfig_membersonly"}
    assert wanted <= asked.keys()
    # It fills in what it knows, also what we do not have.
    values = {"FORM_TYPE": f"{MUC}#roomconfig", **dict.fromkeys(sorted(wanted), "1"), "muc#roomconfig_whois": "anyone"}
    fields = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in values.items())
    submitted = f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'>{fields}</x></query>"
    assert (await juliet.ask(room, submitted, "set")).get("type") == "result"
    assert {"muc_persistent", "muc_membersonly"} <= features(await juliet.ask(room, INFO))
    assert room in listed(await juliet.ask(party.hall.domain, ITEMS))
    destroy = f"<query xmlns='{MUC}#owner'><destroy><reason>over</reason></destroy></query>"
    assert (await juliet.ask(room, destroy, "set")).get("type") == "result"
    assert room not in listed(await juliet.ask(party.hall.domain, ITEMS))


async def test_gajim_makes_no_room_that_cannot_be_dialled(party: Party) -> None:
    juliet, room = party.hall["juliet"].buddy, party.hall.room("5000")
    # It would create the room now.
    assert problem(await juliet.ask(room, INFO)) == ("cancel", "item-not-found")
    juliet.send_raw(f"<presence to='{room}/Juliet' id='g1'><x xmlns='{MUC}'/></presence>")
    refused = tree(await juliet.sees(lambda seen: seen.sender == f"{room}/Juliet"))
    assert problem(refused) == ("cancel", "item-not-found")


async def test_conversations_enters(talk: Party) -> None:
    juliet, room = talk.hall["juliet"].buddy, talk.room
    talk.expect(juliet)
    known = features(await juliet.ask(room, INFO))
    # It refuses to enter a room that shows addresses and is open; in one for members that does, it encrypts.
    assert {"muc_semianonymous", "muc_open", "urn:xmpp:mam:2", "urn:xmpp:occupant-id:0"} <= known
    assert not {"muc_nonanonymous", "muc_membersonly"} & known
    seen = len(juliet.seen)
    juliet.send_raw(f"<presence to='{room}/Juliet' id='c1'><x xmlns='{MUC}'><history maxchars='0'/></x></presence>")
    await subject(juliet, room)
    told = stanzas_of_room(juliet, room, seen)
    assert len(told) == 3
    assert all(presence.find(f"{USER}x/{USER}item") is not None for presence in told), "it looks into each unchecked"
    # Lists of people whose devices it could encrypt for: refusals are taken, silence is not.
    for affiliation in ("member", "admin", "owner"):
        query = f"<query xmlns='{MUC}#admin'><item affiliation='{affiliation}'/></query>"
        assert problem(await juliet.ask(room, query)) == ("auth", "forbidden")
    # It looks now and then whether it is in.
    assert (await juliet.ask(f"{room}/Juliet", PING)).get("type") == "result"
    # Its message comes back with its id, and with the id by which it marks what was read.
    juliet.send_raw(
        f"<message to='{room}' type='groupchat' id='c2'><body>hi</body><origin-id xmlns='urn:xmpp:sid:0' id='c2'/>"
        "<active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    )
    own = await juliet.hears("hi", sender=f"{room}/Juliet")
    assert own.id == "c2"
    given = tree(own).find("{urn:xmpp:sid:0}stanza-id")
    assert given is not None
    assert given.get("by") == room
    juliet.send_raw(f"<presence to='{room}/Juliet' type='unavailable'/>")
    gone = tree(await juliet.sees(lambda seen: seen.sender == f"{room}/Juliet" and bool(seen.type)))
    assert gone.find(f"{USER}x/{USER}item") is not None
    assert problem(await juliet.ask(f"{room}/Juliet", PING)) == ("cancel", "not-acceptable")


async def test_dino_enters(talk: Party) -> None:
    juliet, room = talk.hall["juliet"].buddy, talk.room
    talk.expect(juliet)
    # A refusal is only seen if it comes from where the presence went, under its id.
    juliet.send_raw(f"<presence to='{room}/Romeo' id='d1'><x xmlns='{MUC}'/></presence>")
    refused = tree(await juliet.sees(lambda seen: seen.type == "error"))
    assert (refused.get("from"), refused.get("id"), problem(refused)) == (f"{room}/Romeo", "d1", ("cancel", "conflict"))
    # It tries again under another name.
    juliet.send_raw(f"<presence to='{room}/Romeo_' id='d2'><x xmlns='{MUC}'><history maxchars='0'/></x></presence>")
    await subject(juliet, room)
    own = next(seen for seen in reversed(juliet.seen) if seen.sender == f"{room}/Romeo_")
    assert tree(own).get("id") == "d2"
    # It catches up by the archive, and asks for the lists of people.
    answer = await juliet.ask(room, LATEST.format(count=20), "set")
    assert answer.find("{urn:xmpp:mam:2}fin") is not None
    for affiliation in ("owner", "admin", "member"):
        query = f"<query xmlns='{MUC}#admin'><item affiliation='{affiliation}'/></query>"
        assert (await juliet.ask(room, query)).get("type") == "error"
    assert (await juliet.ask(f"{room}/Romeo_", PING)).get("type") == "result"
    juliet.send_raw(f"<presence to='{room}/Romeo_' type='unavailable'/>")
    await juliet.sees(lambda seen: seen.sender == f"{room}/Romeo_" and seen.type == "unavailable")


@pytest.mark.parametrize("hall", ["prosody"], indirect=True)
async def test_profanity_in_company(talk: Party) -> None:
    juliet = await talk.enter("juliet")
    nurse = await talk.hall.accounts("nurse")
    async with Profanity(talk.hall.server, nurse.jid, nurse.password) as client:
        screen = await client.join(talk.room, "Nurse")
        for nick in ("Alice A", "Juliet", "Nurse", "Romeo"):
            assert nick in screen
        assert "Error" not in screen
        await client.shows("by phone")
        client.type("good evening")
        await juliet.hears("good evening", nick="Nurse")
        # What comes after it on the screen shows that it does not come again.
        juliet.say("good evening, nurse")
        screen = await client.shows("Juliet: good evening, nurse")
        assert screen.count("Nurse: good evening") == 1
        client.type("/msg Juliet come quickly")
        assert (await juliet.hears_whisper("Nurse")).body == "come quickly"
        juliet.whisper("Nurse", "I come")
        await client.shows("I come")
        client.type("/win 2")  # the room: names of occupants are known nowhere else
        client.type('/msg "Alice A" ring me')
        await talk.guests["101"].hears("[private] <Nurse> ring me")


@pytest.mark.parametrize("hall", ["prosody"], indirect=True)
async def test_profanity_opens_a_room(party: Party) -> None:
    nurse = await party.hall.accounts("nurse")
    async with Profanity(party.hall.server, nurse.jid, nurse.password) as client:
        client.type(f"/join {party.room} nick Nurse")
        await client.shows("requires configuration")
        client.type("/room config")
        await client.shows("Title: ")
        for entry in ('/field1 "Fair Verona"', "/field3 on", "/form submit"):
            client.type(entry)
        # Whoever enters sees what was set, as soon as the room has it.
        await client.shows("Room configuration successful")
        about = await party.hall["juliet"].buddy.ask(party.room, INFO)
        assert "muc_persistent" in features(about)
        assert identity(about)[2] == "Fair Verona"
        client.type("/room destroy")
        await client.shows("destroyed")
    assert party.room not in listed(await party.hall["juliet"].buddy.ask(party.hall.domain, ITEMS))
