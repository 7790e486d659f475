"""Contact discovery and jabber_lookup on real servers: an independent client asks, as the protocol's sample does."""

from __future__ import annotations

import contextlib
import secrets
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.phone_client import CLIENT, STANZAS, PhoneClient
from tests.testbed.client import Buddy, Heard
from tests.testbed.scene import Scene
from tests.testbed.service import Account, Service
from tests.testbed.xmpp import Accounts, Login, XmppServer

NAMESPACE = "urn:xmpp:contact-disco:0"
DISCO = f"{{{NAMESPACE}}}"

#: Of the protocol's sample.
CONTACTS = """
    <contact id='1234'>
      <address uri='tel:5550909090'/>
      <address uri='tel:5550909091'/>
      <address uri='mailto:elvis@rock.com'/>
    </contact>
    <contact id='1235'>
      <address uri='tel:5550909092'/>
      <address uri='tel:5550909094'/>
    </contact>"""

#: Numbers as people keep them. Those of the sample are none that exist in a country: they are compared as they stand.
PEOPLE = """jid;name;number;mobile;number 2
juliet@capulet.lit;Juliet;(555) 090-9090;555.090.9091;+1 212 555-0123
tristan@capulet.lit;;5550909094;;
"""

#: Who is known in another region.
FAR_PEOPLE = "jid;number\nisolde@far.lit;+44 20 7946 0000\n"

SHOW = ("JABBER_LOOKUP_STATUS", "JABBER_LOOKUP", "JABBER_LOOKUP_NAME", "JABBER_LOOKUP_COMPANY", "JABBER_ERROR", "SHOWN")

Answers = dict[str, dict[str, list[str]]]


class Romeo(PhoneClient):
    """Somebody with an address book."""

    async def look_up(self, contacts: str, bid: str = "100000") -> Answers:
        """Ask as in the sample, and return what the headlines say as soon as every contact is answered."""
        wanted = {contact.get("id", "") for contact in ET.fromstring(f"<x>{contacts}</x>")}
        reply = await self.begin(contacts, bid)
        assert (reply.get("type"), len(reply)) == ("result", 0), ET.tostring(reply)
        found: Answers = {}
        while found.keys() != wanted:
            message = await self.buddy.hears(_is_answer)
            assert (message.type, message.sender, message.to) == ("headline", self.service, self.buddy.full_jid)
            (payload,) = ET.fromstring(message.xml).iter(f"{DISCO}contacts")
            assert payload.get("bid") == bid
            more = {
                contact.get("id", ""): {
                    address.get("uri", ""): [one.get("uri", "") for one in address] for address in contact
                }
                for contact in payload
            }
            assert found.keys().isdisjoint(more)
            found |= more
        return found

    async def begin(self, contacts: str, bid: str = "100000") -> ET.Element:
        payload = f"<contacts xmlns='{NAMESPACE}' bid='{bid}'>{contacts}</contacts>"
        return await self.send(f"<iq id='uw{secrets.token_hex(4)}' to='{{to}}' type='get'>{payload}</iq>")

    async def refusal(self, contacts: str) -> str:
        """Return type and condition of the error for a request."""
        error = (await self.begin(contacts)).find(f"{CLIENT}error")
        assert error is not None
        (condition,) = (child.tag for child in error if child.tag != f"{STANZAS}text")
        return f"{error.get('type')} {condition.removeprefix(STANZAS)}"


def _is_answer(message: Heard) -> bool:
    return NAMESPACE in message.xml


def one(number: str, uri: str) -> str:
    return f"<contact id='{number}'><address uri='{uri}'/></contact>"


@contextlib.asynccontextmanager
async def person(server: XmppServer, accounts: Accounts, service: str, domain: str = "") -> AsyncIterator[Romeo]:
    login = await account(server, accounts, "romeo", domain)
    async with Buddy.online(server, login.jid, login.password, resource="orchard") as buddy:
        yield Romeo(buddy, service)


async def account(server: XmppServer, accounts: Accounts, name: str, domain: str = "") -> Login:
    if not domain:
        return await accounts(name)
    password = secrets.token_urlsafe(12)
    return Login(await server.add_user(f"{name}-{secrets.token_hex(4)}", password, domain), password)


def address(login: Login) -> str:
    """Return where a service with that account is asked."""
    return f"{login.jid}/phone"


def region(server: XmppServer, login: Login, directory: Path, **contacts: Any) -> Service:
    """Return the service of a region, whose people stand in the file; the rest are keys of ``[contacts]``."""
    section = {"account": "pbx", "directory": [str(directory)], "timeout": 5.0, **contacts}
    return Service({"pbx": Account(server, address(login), login.password)}, sections={"contacts": section})


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(PEOPLE)
    return path


@pytest.fixture(params=["client", "component"])
async def service(
    request: pytest.FixtureRequest, xmpp_server: XmppServer, accounts: Accounts, people: Path
) -> AsyncIterator[tuple[Service, str]]:
    """Agi-xmpp that looks contacts up, and its address: of a client's login, and of a component."""
    contacts: dict[str, Any] = {
        "account": "pbx",
        "country": "US",
        "directory": [str(people)],
        "hidden": ["tristan@capulet.lit"],
        "max_addresses": 5,
    }
    if request.param == "client":
        pbx = await accounts("pbx")
        where = address(pbx)
        account = Account(xmpp_server, where, pbx.password)
    else:
        where = xmpp_server.component_domain
        account = Account(
            xmpp_server,
            where,
            xmpp_server.component_secret,
            tls="none",
            port=xmpp_server.component_port,
            settings={"type": "component", "subscribe": None, "buddies": None},
        )
        contacts["allow"] = [xmpp_server.domain]
    async with Service({"pbx": account}, sections={"contacts": contacts}) as service:
        await service.online("pbx")
        yield service, where
        service.assert_alive()


async def test_the_sample(xmpp_server: XmppServer, accounts: Accounts, service: tuple[Service, str]) -> None:
    async with person(xmpp_server, accounts, service[1]) as romeo:
        assert NAMESPACE in (await romeo.info())[1]
        assert await romeo.look_up(CONTACTS) == {
            "1234": {
                "tel:5550909090": ["xmpp:juliet@capulet.lit"],
                "tel:5550909091": ["xmpp:juliet@capulet.lit"],
                "mailto:elvis@rock.com": [],
            },
            "1235": {"tel:5550909092": [], "tel:5550909094": []},  # the second one is Tristan's, who is hidden
        }


async def test_numbers_are_compared_in_their_international_form(
    xmpp_server: XmppServer, accounts: Accounts, service: tuple[Service, str]
) -> None:
    uris = ["tel:2125550123", "tel:+1-212-555-0123", "tel:+12125550123", "tel:011 44 20 7946 0000"]
    async with person(xmpp_server, accounts, service[1]) as romeo:
        assert await romeo.look_up("".join(one(str(number), uri) for number, uri in enumerate(uris))) == {
            **{str(number): {uri: ["xmpp:juliet@capulet.lit"]} for number, uri in enumerate(uris[:3])},
            "3": {uris[3]: []},
        }


async def test_limits_and_strangers(xmpp_server: XmppServer, accounts: Accounts, service: tuple[Service, str]) -> None:
    _service, where = service
    async with (
        person(xmpp_server, accounts, where) as romeo,
        person(xmpp_server, accounts, where, xmpp_server.impostor_domain) as eve,
    ):
        six = "".join(one(str(number), f"tel:555090909{number}") for number in range(6))
        assert await romeo.refusal(six) == "wait resource-constraint"
        assert await romeo.refusal("<contact/>") == "modify bad-request"
        assert await eve.refusal(CONTACTS) == "auth forbidden"
        assert (
            len(await romeo.look_up(six.replace("<contact id='5'><address uri='tel:5550909095'/></contact>", ""))) == 5
        )


async def test_who_has_gone_gets_nothing_and_harms_nobody(
    xmpp_server: XmppServer, accounts: Accounts, service: tuple[Service, str]
) -> None:
    _service, where = service
    login = await accounts("romeo")
    async with Buddy.online(xmpp_server, login.jid, login.password, resource="orchard") as gone:
        romeo = Romeo(gone, where)
        gone.send_raw(
            f"<iq id='x' to='{where}' type='get'><contacts xmlns='{NAMESPACE}' bid='1'>{CONTACTS}</contacts></iq>"
        )
        await gone.drop()
    async with Buddy.online(xmpp_server, login.jid, login.password, resource="balcony") as back:
        romeo = Romeo(back, where)
        assert await romeo.look_up(one("a", "tel:5550909090"), "2") == {
            "a": {"tel:5550909090": ["xmpp:juliet@capulet.lit"]}
        }
        assert not [heard for heard in back.heard if "bid='1'" in heard.xml or 'bid="1"' in heard.xml]


async def test_two_regions_ask_each_other(
    xmpp_server: XmppServer, accounts: Accounts, people: Path, tmp_path: Path
) -> None:
    far = xmpp_server.impostor_domain  # another domain, as another region would be
    here, there = await accounts("pbx"), await account(xmpp_server, accounts, "pbx", far)
    near_address, far_address = address(here), address(there)
    elsewhere = tmp_path / "far.csv"
    elsewhere.write_text(FAR_PEOPLE)
    async with (
        region(xmpp_server, here, people, country="US", peers=[far_address]) as near_service,
        region(xmpp_server, there, elsewhere, country="GB", peers=[near_address]) as far_service,
        person(xmpp_server, accounts, near_address) as romeo,
        person(xmpp_server, accounts, far_address, far) as mark,
    ):
        await near_service.online("pbx")
        await far_service.online("pbx")
        # Each region reads numbers as its own country does, and asks the other by what means the same there.
        assert await romeo.look_up(one("a", "tel:0114420 79460000") + one("b", "tel:5550909099"), "1") == {
            "a": {"tel:0114420 79460000": ["xmpp:isolde@far.lit"]},
            "b": {"tel:5550909099": []},
        }
        assert await mark.look_up(one("c", "tel:0012125550123"), "2") == {
            "c": {"tel:0012125550123": ["xmpp:juliet@capulet.lit"]}
        }
        # What the other region has said holds although it is gone; what it has not said is unknown after the time.
        await mark.buddy.disconnect()
        await far_service.stop()
        assert await romeo.look_up(one("d", "tel:+442079460000"), "3") == {
            "d": {"tel:+442079460000": ["xmpp:isolde@far.lit"]}
        }
        assert await romeo.look_up(one("e", "tel:+442079460001") + one("f", "tel:5550909090"), "4") == {
            "e": {"tel:+442079460001": []},
            "f": {"tel:5550909090": ["xmpp:juliet@capulet.lit"]},
        }


async def test_the_dialplan_asks(scene: Scene, people: Path) -> None:
    vcard = "<vCard xmlns='vcard-temp'><FN>Robert \"Bob\" Smith, Jr.</FN></vCard>"
    await scene.bob.request(scene.bob.jid, vcard)
    with people.open("a") as file:
        file.write(f"{scene.bob.jid};;102;\n")
    scene.service.sections["contacts"] = {"account": "pbx", "country": "US", "directory": [str(people)]}
    await scene.service.reload()

    async def look_up(number: str, *more: str) -> dict[str, str]:
        call = await scene.run(
            f"AGI({{agi}}/jabber_lookup,pbx,{number})", *more, "Set(SHOWN=${CALLERID(all)})", show=SHOW
        )
        return await scene.result(call)

    found = await look_up("2125550123")
    assert (found["JABBER_LOOKUP_STATUS"], found["JABBER_LOOKUP"]) == ("FOUND", "juliet@capulet.lit")
    assert (found["JABBER_LOOKUP_NAME"], found["JABBER_ERROR"]) == ("Juliet", "")
    found = await look_up("102", "Set(CALLERID(num)=102)", "Set(CALLERID(name)=${JABBER_LOOKUP_NAME})")
    assert (found["JABBER_LOOKUP_STATUS"], found["JABBER_LOOKUP"]) == ("FOUND", scene.bob.jid)
    assert found["JABBER_LOOKUP_NAME"] == "Robert Bob Smith, Jr."
    assert found["SHOWN"] == '"Robert Bob Smith, Jr." <102>'
    assert (await look_up("5559999999"))["JABBER_LOOKUP_STATUS"] == "UNKNOWN"
    assert (await look_up("anonymous"))["JABBER_LOOKUP_STATUS"] == "UNKNOWN"


async def test_the_name_in_a_vcard4(scene: Scene, people: Path) -> None:
    with people.open("a") as file:
        file.write(f"{scene.bob.jid};;102;\n")
    scene.service.sections["contacts"] = {"account": "pbx", "country": "US", "directory": [str(people)]}
    await scene.service.reload()
    since = scene.service.log_size()
    vcard = "<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn><text>Robert the Fourth</text></fn></vcard>"
    item = f"<publish node='urn:xmpp:vcard4'><item id='current'>{vcard}</item></publish>"
    await scene.bob.request(scene.bob.jid, f"<pubsub xmlns='http://jabber.org/protocol/pubsub'>{item}</pubsub>")
    found = await scene.result(await scene.run("AGI({agi}/jabber_lookup,pbx,102)", show=SHOW))
    assert (found["JABBER_LOOKUP_STATUS"], found["JABBER_LOOKUP_NAME"]) == ("FOUND", "Robert the Fourth")
    # Prosody makes a vcard-temp of it, too: the newer form itself was there to be read.
    await scene.service.log_says(lambda line: "RECV" in line and "<fn><text>Robert the Fourth" in line, since=since)


async def test_without_contacts_and_phones_the_dialplan_is_told(scene: Scene) -> None:
    found = await scene.result(await scene.run("AGI({agi}/jabber_lookup,pbx,102)", show=SHOW))
    assert found["JABBER_LOOKUP_STATUS"] == "ERROR"
    assert "neither [contacts] nor [phone]" in found["JABBER_ERROR"]
