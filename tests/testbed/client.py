"""A person with an XMPP client: independent of the program under test, on slixmpp."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
import uuid
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Literal, TypeVar

import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import StanzaPath

from tests.testbed.errors import TestbedError
from tests.testbed.program import journal
from tests.testbed.xmpp import XmppServer

#: Seconds for connecting, logging in and being online.
CONNECT_TIMEOUT = 15.0

T = TypeVar("T")

_CLIENT = "{jabber:client}"
_CARBON = "{urn:xmpp:carbons:2}"
_FORWARDED = "{urn:xmpp:forward:0}forwarded"
_RECEIPT = "{urn:xmpp:receipts}"


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """A message that a client received, with all that a test may ask about.

    Attributes:
        sender, to: full or bare JIDs as they stood in the stanza.
        body, subject, thread, id, type: "" where the stanza has none; ``type`` is ``normal`` then.
        carbon: "" or, for a copy (XEP-0280), ``sent`` or ``received``; the other fields are the inner message's.
        delayed: the time stamp of delayed mail (XEP-0203), or "".
        wants_receipt: it asks for a receipt (XEP-0184).
        receipt_for: the id that it is a receipt for, or "".
        error: the defined condition of a bounce (RFC 6120 section 8.3.3), or "".
        xml: the whole stanza.
    """

    sender: str
    to: str
    body: str
    subject: str
    thread: str
    id: str
    type: str
    carbon: str
    delayed: str
    wants_receipt: bool
    receipt_for: str
    error: str
    xml: str


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """A presence stanza that a client received.

    Attributes:
        sender: its full or bare JID.
        type: "" for available, or ``unavailable``, ``subscribe``, ``error`` and so on (RFC 6121 section 4.7.1).
        show, status: "" where the stanza has none.
        priority: 0 where the stanza has none.
        xml: the whole stanza.
    """

    sender: str
    type: str
    show: str
    status: str
    priority: int
    xml: str


class Buddy:
    """One client of one account. Make it with `connect`, or use `online` as a context.

    Attributes:
        jid: the bare JID.
        full_jid: with the resource.
        heard: every message so far, in order; receipts and bounces too.
        seen: every presence so far, in order.
    """

    def __init__(self, client: slixmpp.ClientXMPP, jid: str) -> None:
        self.jid = jid
        self.full_jid = jid
        self.heard: list[Heard] = []
        self.seen: list[Seen] = []
        self._client = client
        self._unheard: list[Heard] = []
        self._unseen: list[Seen] = []
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        client.register_handler(Callback("testbed message", StanzaPath("message"), self._take_message))
        client.register_handler(Callback("testbed presence", StanzaPath("presence"), self._take_presence))
        client.add_event_handler("disconnected", self._take_disconnect)

    @classmethod
    async def connect(
        cls,
        server: XmppServer,
        jid: str,
        password: str,
        *,
        resource: str = "phone",
        port: int | None = None,
        tls: Literal["starttls", "direct", "none"] = "starttls",
        receipts: bool = True,
        accepts: bool = True,
        carbons: bool = False,
        priority: int = 0,
        show: str = "",
        status: str = "",
    ) -> Buddy:
        """Log in and be available.

        Args:
            server: whose CA is trusted, and no other.
            jid: bare JID.
            password: of the account.
            resource: several clients of one account have different ones.
            port: instead of the server's own, such as that of a proxy.
            tls: how to encrypt.
            receipts: answer requests for receipts (XEP-0184), as clients do.
            accepts: let everybody see our presence who asks; otherwise such requests stay unanswered.
            carbons: ask for copies of what our other clients send and receive (XEP-0280).
            priority, show, status: of the first presence.

        Raises:
            TestbedError: no connection, an untrusted certificate, a wrong password, … in words.
        """
        client = _client(server, f"{jid}/{resource}", password, tls)
        client.register_plugin("xep_0184", {"auto_ack": receipts, "auto_request": False})
        client.register_plugin("xep_0280")
        client.register_plugin("xep_0199")
        client.register_plugin("xep_0050")
        client.auto_authorize = True if accepts else None
        client.auto_subscribe = False
        buddy = cls(client, jid)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await _log_in(client, port or (server.direct_tls_port if tls == "direct" else server.port))
                buddy.full_jid = str(client.boundjid)
                await client.get_roster()
                if carbons:
                    await client.plugin["xep_0280"].enable()
                await buddy.be(show, status, priority)
        except TimeoutError:
            await buddy.disconnect()
            raise TestbedError(f"{jid} is not online after {CONNECT_TIMEOUT:g} s") from None
        except BaseException:
            await buddy.disconnect()
            raise
        journal().started.add(f"slixmpp {slixmpp.__version__}")
        return buddy

    @classmethod
    @contextlib.asynccontextmanager
    async def online(cls, server: XmppServer, jid: str, password: str, **options: Any) -> AsyncIterator[Buddy]:
        """As `connect`, with the disconnection at the end."""
        buddy = await cls.connect(server, jid, password, **options)
        try:
            yield buddy
        finally:
            await buddy.disconnect()

    # Doing

    def say(
        self,
        to: str,
        text: str,
        *,
        thread: str = "",
        kind: str = "chat",
        message_id: str = "",
        receipt: bool = False,
    ) -> str:
        """Send a message and return its id.

        Args:
            to: bare or full JID.
            text: the body.
            thread: repeated from the message that this one answers, as many clients do.
            kind: the type, RFC 6121 section 5.2.2.
            message_id: of the stanza; a fresh one if empty.
            receipt: ask for a receipt (XEP-0184).
        """
        message = self._client.make_message(mto=to, mbody=text, mtype=kind)
        message["id"] = message_id or uuid.uuid4().hex
        if thread:
            message["thread"] = thread
        if receipt:
            message["request_receipt"] = True
        message.send()
        return str(message["id"])

    def send_raw(self, xml: str) -> None:
        """Send bytes as they are, right or wrong."""
        self._client.send_raw(xml)

    async def commands(self, of: str) -> dict[str, str]:
        """Return the names of the commands that somebody offers us, by node (XEP-0050 section 2.2).

        Args:
            of: full JID.
        """
        reply = await self._client.plugin["xep_0050"].get_commands(of)
        return {node: name for _, node, name in reply["disco_items"]["items"]}

    async def execute(
        self, of: str, node: str, *, action: str = "", session: str = "", form: Mapping[str, str] | None = None
    ) -> ET.Element:
        """Take one step of a command (XEP-0050) and return the reply, an ``<iq/>``; an error is returned, too.

        Args:
            of: full JID.
            node: of the command.
            action: ``execute`` by default.
            session: as the step before has it.
            form: what was filled in (XEP-0004), value by field.
        """
        plugin = self._client.plugin["xep_0050"]
        payload = None
        if form is not None:
            payload = self._client.plugin["xep_0004"].make_form(ftype="submit")
            for name, value in form.items():
                payload.add_field(var=name, value=value)
        try:
            reply = await plugin.send_command(
                of, node, action=action or "execute", payload=payload, sessionid=session or None
            )
        except slixmpp.exceptions.IqError as error:
            reply = error.iq
        xml: ET.Element = reply.xml
        return xml

    async def request(self, to: str, payload: str) -> str:
        """Send an IQ of type set and return the result's XML.

        Raises:
            slixmpp.exceptions.IqError: the answer is an error.
        """
        iq = self._client.make_iq_set(sub=ET.fromstring(payload), ito=to)
        return str(await iq.send(timeout=10))

    async def ask(self, to: str, payload: str, kind: Literal["get", "set"] = "get") -> ET.Element:
        """Send an IQ and return the answer, an ``<iq/>``; an error is returned, too."""
        iq = self._client.make_iq(ito=to, itype=kind)
        iq.append(ET.fromstring(payload))
        try:
            answer = await iq.send(timeout=10)
        except slixmpp.exceptions.IqError as error:
            answer = error.iq
        xml: ET.Element = answer.xml
        return xml

    async def be(self, show: str = "", status: str = "", priority: int = 0) -> None:
        """Change our presence; the server has it when this returns.

        Args:
            show: "" for available, ``away``, ``chat``, ``dnd``, ``xa``.
            status: in our own words.
            priority: of this client.
        """
        mark = uuid.uuid4().hex
        presence = self._client.make_presence(pshow=show or None, pstatus=status or None, ppriority=priority)
        presence["id"] = mark
        presence.send()
        # The server sends our presence to us too (RFC 6121 section 4.2.2), with what stood in the stanza.
        await self.sees(lambda seen: seen.sender == self.full_jid and mark in seen.xml)

    async def offer(self, *features: str) -> None:
        """Say in our presence, by a hash (XEP-0115), that our client can do these things; the server has it then."""
        self._client.register_plugin("xep_0115")
        for feature in features:
            await self._client.plugin["xep_0030"].add_feature(feature)
        await self._client.plugin["xep_0115"].update_caps(broadcast=False)
        await self.be()

    async def info(self, of: str, node: str = "") -> str:
        """Return the XML of what somebody says of themselves (XEP-0030)."""
        return str(await self._client.plugin["xep_0030"].get_info(of, node=node, timeout=10))

    async def items(self, of: str) -> str:
        """Return the XML of what somebody lists (XEP-0030)."""
        return str(await self._client.plugin["xep_0030"].get_items(of, timeout=10))

    async def claim(self, node: str, *features: str) -> None:
        """Answer a request for the features of a node by these, whether that is true or not."""
        for feature in features:
            await self._client.plugin["xep_0030"].add_feature(feature, node=node)

    def show(self, show: str, status: str, priority: int) -> None:
        """Change our presence without waiting for it."""
        self._client.send_presence(pshow=show or None, pstatus=status or None, ppriority=priority)

    async def ping(self, of: str) -> None:
        """Ping somebody (XEP-0199). All that they have sent us before has come when this returns."""
        await self._client.plugin["xep_0199"].ping(of, timeout=10)

    def muc(self) -> Any:
        """Return slixmpp's own part for rooms (XEP-0045), which takes note of rooms from the first call on."""
        self._client.register_plugin("xep_0045")
        return self._client.plugin["xep_0045"]

    def send_presence(self, to: str, show: str = "", status: str = "") -> None:
        """Send a presence to one address only."""
        self._client.send_presence(pto=to, pshow=show or None, pstatus=status or None)

    def on_message(self, take: Callable[[ET.Element], None]) -> None:
        """Let ``take`` see every message stanza as it comes."""
        self._client.register_handler(
            Callback(f"testbed {take!r}", StanzaPath("message"), lambda stanza: take(stanza.xml))
        )

    def subscribe(self, to: str) -> None:
        """Ask to see somebody's presence."""
        self._client.send_presence_subscription(pto=to)

    def approve(self, whom: str) -> None:
        """Let somebody see our presence."""
        self._client.send_presence(pto=whom, ptype="subscribed")

    async def disconnect(self) -> None:
        """Close the stream as a client does that is closed."""
        client = self._client
        client.cancel_connection_attempt()
        if client.is_connected():
            client.disconnect(wait=2.0)
            await self._gone.wait()
        await self._end_tasks()

    async def drop(self) -> None:
        """Break the connection without a word, as a phone does that loses its network."""
        if self._client.is_connected():
            self._client.abort()
            await self._gone.wait()
        await self._end_tasks()

    async def until_gone(self, timeout: float = 10.0) -> None:
        """Wait until the connection is gone, whoever ended it.

        Raises:
            TimeoutError: it still stands after ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            await self._gone.wait()
        await self._end_tasks()

    @property
    def mechanism(self) -> str:
        """The SASL mechanism that the login was done with."""
        return str(self._client.plugin["feature_mechanisms"].mech.name)

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return bool(self._client.is_connected())

    # Waiting

    async def hears(
        self,
        wanted: str | Callable[[Heard], bool] = "",
        *,
        sender: str = "",
        timeout: float = 10.0,
    ) -> Heard:
        """Take the first message with a body that was not taken yet; wait for it if need be.

        Args:
            wanted: only one with this body; or a condition, which is asked about every message, with or without a body.
            sender: only one of this bare or full JID.
            timeout: seconds.

        Raises:
            AssertionError: none came; the message has those that did.
        """

        def matches(message: Heard) -> bool:
            if sender and sender not in (message.sender, message.sender.partition("/")[0]):
                return False
            if callable(wanted):
                return wanted(message)
            return message.body == wanted if wanted else bool(message.body)

        return await self._take(self._unheard, matches, timeout)

    async def sees(self, wanted: Callable[[Seen], bool], *, timeout: float = 10.0) -> Seen:
        """Take the first presence that satisfies a condition and was not taken yet; wait for it if need be.

        Raises:
            AssertionError: none came; the message has those that did.
        """
        return await self._take(self._unseen, wanted, timeout)

    async def until(self, condition: Callable[[], T | None], timeout: float = 10.0) -> T:
        """Wait until ``condition`` returns something, which is asked after each stanza, and return that.

        Raises:
            TimeoutError: it has not within ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            while (found := condition()) is None:
                self._news.clear()
                await self._news.wait()
        return found

    async def hears_nothing_until(self, wanted: str, *, sender: str = "", timeout: float = 10.0) -> None:
        """Fail if another message with a body comes before the one with the body ``wanted``.

        It is how to show that a message is *not* sent: let the same sender say something afterwards (RFC 6120 section
        10.1: stanzas between two full JIDs stay in order).
        """
        first = await self.hears(sender=sender, timeout=timeout)
        assert first.body == wanted, f"{self.full_jid} heard {first.body!r} before {wanted!r}"

    async def _take(self, pool: list[T], matches: Callable[[T], bool], timeout: float) -> T:
        try:
            async with asyncio.timeout(timeout):
                while True:
                    for item in pool:
                        if matches(item):
                            pool.remove(item)
                            return item
                    assert not self._gone.is_set(), f"{self.full_jid} is disconnected; not taken: {pool}"
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{self.full_jid}: not within {timeout:g} s; not taken: {pool}") from None

    # From slixmpp

    def _take_message(self, stanza: slixmpp.Message) -> None:
        message = read_message(stanza.xml)
        self.heard.append(message)
        self._unheard.append(message)
        self._news.set()

    def _take_presence(self, stanza: slixmpp.Presence) -> None:
        xml = stanza.xml
        seen = Seen(
            sender=xml.get("from", ""),
            type=xml.get("type", ""),
            show=xml.findtext(f"{_CLIENT}show", ""),
            status=xml.findtext(f"{_CLIENT}status", ""),
            priority=int(xml.findtext(f"{_CLIENT}priority", "0")),
            xml=ET.tostring(xml, encoding="unicode"),
        )
        self.seen.append(seen)
        self._unseen.append(seen)
        self._news.set()

    def _take_disconnect(self, _reason: object) -> None:
        self._gone.set()
        self._news.set()

    async def _end_tasks(self) -> None:
        """End slixmpp's own task for sending, which it would leave to the garbage collector."""
        task = self._client._run_out_filters
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _client(server: XmppServer, jid: str, password: str, tls: str) -> slixmpp.ClientXMPP:
    # Without encryption slixmpp uses no password, unless told so.
    plain = {"unencrypted_plain": True, "unencrypted_scram": True} if tls == "none" else {}
    client = slixmpp.ClientXMPP(jid, password, plugin_config={"feature_mechanisms": plain})
    client.loop = asyncio.get_running_loop()
    client.ssl_context = ssl.create_default_context(cafile=str(server.ca_file))
    client.enable_direct_tls = tls == "direct"
    client.enable_starttls = tls == "starttls"
    client.enable_plaintext = tls == "none"
    client.use_aiodns = False  # we say where to connect
    return client


async def _log_in(client: slixmpp.ClientXMPP, port: int) -> None:
    """Connect and wait for the session, or for what stands against it."""
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(reason: str) -> Callable[[object], None]:
        def handler(detail: object) -> None:
            if not outcome.done():
                outcome.set_exception(TestbedError(f"{client.requested_jid}: {reason}: {detail}"))

        return handler

    def succeed(_event: object) -> None:
        if not outcome.done():
            outcome.set_result(None)

    handlers = {
        "session_start": succeed,
        "connection_failed": fail("no connection"),
        "ssl_invalid_chain": fail("the certificate is not trusted"),
        "failed_all_auth": fail("the login was refused"),
        "stream_error": fail("stream error"),
        "disconnected": fail("disconnected"),
    }
    for name, handler in handlers.items():
        client.add_event_handler(name, handler)
    client.connect("127.0.0.1", port)
    try:
        await outcome
    finally:
        for name, handler in handlers.items():
            client.del_event_handler(name, handler)


def read_message(xml: ET.Element) -> Heard:
    """Return what a message stanza says; of a copy (XEP-0280), what the copied message says."""
    carbon = ""
    inner = xml
    for kind in ("sent", "received"):
        wrapped = xml.find(f"{_CARBON}{kind}/{_FORWARDED}/{_CLIENT}message")
        if wrapped is not None:
            carbon, inner = kind, wrapped
    delay = inner.find("{urn:xmpp:delay}delay")
    receipt = inner.find(f"{_RECEIPT}received")
    error = inner.find(f"{_CLIENT}error")
    condition = "" if error is None else next(iter(error), error).tag.partition("}")[2]
    return Heard(
        sender=inner.get("from", ""),
        to=inner.get("to", ""),
        body=inner.findtext(f"{_CLIENT}body", ""),
        subject=inner.findtext(f"{_CLIENT}subject", ""),
        thread=inner.findtext(f"{_CLIENT}thread", ""),
        id=inner.get("id", ""),
        type=inner.get("type", "normal"),
        carbon=carbon,
        delayed="" if delay is None else delay.get("stamp", ""),
        wants_receipt=inner.find(f"{_RECEIPT}request") is not None,
        receipt_for="" if receipt is None else receipt.get("id", ""),
        error=condition,
        xml=ET.tostring(xml, encoding="unicode"),
    )
