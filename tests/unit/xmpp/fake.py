"""An XMPP server for the faults that real ones have only on bad days. It knows what a test needs, and obeys it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ssl
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

CLIENT = "{jabber:client}"
SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
TLS = "{urn:ietf:params:xml:ns:xmpp-tls}"
SM = "{urn:xmpp:sm:3}"
BIND = "{urn:ietf:params:xml:ns:xmpp-bind}"
DISCO = "{http://jabber.org/protocol/disco#info}"
PING = "{urn:xmpp:ping}"
ROSTER = "{jabber:iq:roster}"
CARBONS = "{urn:xmpp:carbons:2}"

PASSWORD = "Wr0ng-is-the-other-0ne"
TOKEN = "r1ght-token~+/=="
ITERATIONS = 4096


@dataclass
class Behaviour:
    """What the server does. May be changed while it runs.

    Attributes:
        starttls: offer it; needs `FakeServer.tls`.
        starttls_answer: what to say to ``<starttls/>`` instead of going ahead.
        mechanisms: offered for SASL.
        password: the right one.
        token: the right one (OAUTHBEARER).
        token_reasons: what is said of a wrong one (RFC 7628 section 3.2.2); "" says only that the login failed.
        sasl_failure: refuse every login with this condition.
        sm, resume: offer stream management, let streams be resumed.
        sm_attributes: more for ``<enabled/>``.
        ack: acknowledge messages.
        ping: answer pings; ``error`` answers that they are unknown.
        bind_failure: refuse to bind.
        after_bind: sent as soon as a client has bound.
        roster: ``<item/>`` elements; None refuses the roster.
        carbons: offer carbon copies.
        component: take components (XEP-0114) instead of clients.
        refuse_with: end a component's stream with this condition, without a word about who we are.
        greeting: sent instead of a stream header, as soon as the client says something; b"" stays silent.
    """

    starttls: bool = False
    starttls_answer: str = ""
    mechanisms: tuple[str, ...] = ("SCRAM-SHA-1", "SCRAM-SHA-256")
    password: str = PASSWORD
    token: str = TOKEN
    token_reasons: str = '{"status":"invalid_token","scope":"xmpp"}'
    sasl_failure: str = ""
    sm: bool = True
    resume: bool = True
    sm_attributes: str = ""
    ack: bool = True
    ping: str = "result"
    bind_failure: bool = False
    after_bind: str = ""
    roster: str | None = ""
    carbons: bool = True
    component: bool = False
    refuse_with: str = ""
    greeting: bytes | None = None


@dataclass
class Stream:
    """A session that may outlive its connection (XEP-0198)."""

    handled: int = 0
    unacked: list[str] = field(default_factory=list)


class Conversation:
    """One connection."""

    def __init__(self, server: FakeServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.stream = Stream()
        self.encrypted = False
        self.logged_in = False
        self.counting = False
        self.jid = ""
        self._scram: tuple[str, str, bytes] | None = None
        self._parser: Any = None

    def send(self, xml: str | bytes) -> None:
        self.writer.write(xml.encode() if isinstance(xml, str) else xml)

    def reset(self) -> None:
        """Break the connection without a word."""
        self.writer.transport.abort()

    def fin(self) -> None:
        """Close the connection as a process does that dies: a plain FIN, no ``</stream:stream>``."""
        self.writer.close()

    async def run(self) -> None:
        while await self._one_stream():
            pass

    async def _one_stream(self) -> bool:
        """Serve until the stream is restarted (True) or ends (False)."""
        # An attribute that is taken away at the end: Python 3.12.1 crashes at its exit if a traceback holds a parser.
        self._parser = ET.XMLPullParser(["start", "end"])
        try:
            return await self._feed()
        finally:
            self._parser = None

    async def _feed(self) -> bool:
        depth = 0
        while data := await self.reader.read(65_536):
            if self.server.does.greeting is not None:
                self.send(self.server.does.greeting)
                self.server.does.greeting = b""
            if self.server.does.greeting == b"":
                continue
            self._parser.feed(data)
            for event, element in list(self._parser.read_events()):
                if event == "start":
                    depth += 1
                    if depth == 1 and self.server.does.component:
                        self._open_component(element)
                    elif depth == 1:
                        self._open()
                else:
                    depth -= 1
                    if depth == 0:
                        self.send("</stream:stream>")
                        return False
                    if depth == 1 and await self._take(element):
                        return True
        return False

    def _open(self) -> None:
        does = self.server.does
        features = ""
        if does.starttls and not self.encrypted:
            features += "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
        if not self.logged_in:
            names = "".join(f"<mechanism>{name}</mechanism>" for name in does.mechanisms)
            features += f"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{names}</mechanisms>"
        else:
            features += "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
            if does.sm:
                features += "<sm xmlns='urn:xmpp:sm:3'/>"
        self.send(
            "<?xml version='1.0'?><stream:stream from='fake.test' id='1' version='1.0' xmlns='jabber:client'"
            f" xmlns:stream='http://etherx.jabber.org/streams'><stream:features>{features}</stream:features>"
        )

    def _open_component(self, header: ET.Element) -> None:
        self.jid = header.get("to", "")
        streams = "xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'"
        if not self.server.does.refuse_with:
            self.send(f"<?xml version='1.0'?><stream:stream from='{self.jid}' id='1' {streams}>")
            return
        self.send(f"<?xml version='1.0'?><stream:stream {streams}>")
        self.end(self.server.does.refuse_with)

    def end(self, condition: str) -> None:
        """End the stream with an error."""
        self.send(
            f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        )

    def _shake_hands(self, element: ET.Element) -> None:
        secret = self.server.does.password
        if element.text != hashlib.sha1(f"1{secret}".encode()).hexdigest():
            self.end("not-authorized")
            return
        self.send(f"<handshake/>{self.server.does.after_bind}")

    async def _take(self, element: ET.Element) -> bool:
        """Answer one element; True if the client restarts the stream now."""
        for part in element.iter():
            part.tag = part.tag.replace("{jabber:component:accept}", CLIENT)
        tag = element.tag
        if tag == f"{CLIENT}handshake":
            self._shake_hands(element)
            return False
        if tag == f"{TLS}starttls":
            return await self._start_tls()
        if tag in (f"{SASL}auth", f"{SASL}response"):
            return self._authenticate(element)
        if tag == f"{SM}enable":
            self._enable(element)
        elif tag == f"{SM}resume":
            self._resume()
        elif tag == f"{SM}r":
            if self.server.does.ack:
                self.acknowledge()
        elif tag != f"{SM}a":
            if self.counting:
                self.stream.handled += 1
            await self._take_stanza(element)
        return False

    def _enable(self, element: ET.Element) -> None:
        does = self.server.does
        self.stream, self.counting = Stream(), True
        self.server.stream = self.stream
        resume = "true" if does.resume and element.get("resume") in ("true", "1") else "false"
        self.send(f"<enabled xmlns='urn:xmpp:sm:3' id='s' resume='{resume}' {does.sm_attributes}/>")

    def acknowledge(self) -> None:
        self.send(f"<a xmlns='urn:xmpp:sm:3' h='{self.stream.handled}'/>")

    async def _start_tls(self) -> bool:
        if self.server.does.starttls_answer or self.server.tls is None:
            failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
            self.send(self.server.does.starttls_answer or failure)
            return False
        self.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        await self.writer.start_tls(self.server.tls)
        self.encrypted = True
        return True

    def _authenticate(self, element: ET.Element) -> bool:
        does = self.server.does
        text = base64.b64decode(element.text or "").decode()
        if element.tag == f"{SASL}auth":
            self.server.attempts.append((element.get("mechanism", ""), self.encrypted))
            if does.sasl_failure:
                return self._refuse(does.sasl_failure)
            if element.get("mechanism") == "OAUTHBEARER":
                return self._take_token(text)
            if element.get("mechanism") == "PLAIN":
                if text.split("\0")[2] != does.password:
                    return self._refuse("not-authorized")
                return self._welcome(b"")
            first = text.partition(",,")[2]
            nonce = dict(part.split("=", 1) for part in first.split(","))["r"] + "server"
            challenge = f"r={nonce},s={base64.b64encode(b'salt').decode()},i={ITERATIONS}"
            self._scram = (element.get("mechanism", ""), f"{first},{challenge}", b"")
            self.send(f"<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{_b64(challenge.encode())}</challenge>")
            return False
        if text == "\x01":  # the client has seen why its token is refused
            return self._refuse("not-authorized")
        if not text:  # the client has seen the server's signature
            return self._welcome(b"")
        assert self._scram is not None
        mechanism, message, _ = self._scram
        return self._check_proof("sha256" if "256" in mechanism else "sha1", message, text)

    def _take_token(self, text: str) -> bool:
        self.server.token_messages.append(text)
        does = self.server.does
        if text.endswith(f"\x01auth=Bearer {does.token}\x01\x01"):
            return self._welcome(b"")
        if not does.token_reasons:
            return self._refuse("not-authorized")
        self.send(
            f"<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{_b64(does.token_reasons.encode())}</challenge>"
        )
        return False

    def _check_proof(self, name: str, message: str, final: str) -> bool:
        bare, _, proof = final.rpartition(",p=")
        salted = hashlib.pbkdf2_hmac(name, self.server.does.password.encode(), b"salt", ITERATIONS)
        signed = f"{message},{bare}".encode()
        client_key = hmac.digest(salted, b"Client Key", name)
        signature = hmac.digest(hashlib.new(name, client_key).digest(), signed, name)
        expected = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        if base64.b64decode(proof) != expected:
            return self._refuse("not-authorized")
        verifier = hmac.digest(hmac.digest(salted, b"Server Key", name), signed, name)
        return self._welcome(b"v=" + base64.b64encode(verifier))

    def _welcome(self, data: bytes) -> bool:
        self.logged_in = True
        self.send(f"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{_b64(data)}</success>")
        return True

    def _refuse(self, condition: str) -> bool:
        self.send(f"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>")
        return False

    def _resume(self) -> None:
        if not self.server.does.resume or self.server.stream is None:
            self.send("<failed xmlns='urn:xmpp:sm:3'/>")
            return
        self.stream, self.counting = self.server.stream, True
        self.send(f"<resumed xmlns='urn:xmpp:sm:3' previd='s' h='{self.stream.handled}'/>")
        self.server.resumed.set()

    async def _take_stanza(self, element: ET.Element) -> None:
        if element.tag != f"{CLIENT}iq":
            self.server.take(element)
            return
        if self.server.does.component and self._is_for_component(element) and element.get("type") == "result":
            addresses = f"from='{element.get('from')}' to='{element.get('to')}'"
            self.send(f"<iq type='result' id='{element.get('id')}' {addresses}/>")
            return
        if element.get("type") not in ("get", "set"):
            self.server.take(element)
            return
        payload = element[0]
        answer = self.server.answers.get(payload.tag)
        if answer is not None:
            await answer(self, element)
        else:
            self._answer_iq(element, payload)

    def _answer_iq(self, iq: ET.Element, payload: ET.Element) -> None:
        does, tag = self.server.does, payload.tag
        if tag == f"{BIND}bind":
            self._bind(iq, payload)
        elif tag == f"{ROSTER}query" and does.roster is not None:
            self.result(iq, f"<query xmlns='jabber:iq:roster'>{does.roster}</query>")
        elif tag == f"{DISCO}query":
            feature = "<feature var='urn:xmpp:carbons:2'/>" if does.carbons else ""
            self.result(iq, f"<query xmlns='http://jabber.org/protocol/disco#info'>{feature}</query>")
        elif tag == f"{CARBONS}enable":
            self.result(iq)
            self.server.carbons_enabled.set()
        elif tag == f"{PING}ping" and does.ping != "error":
            if does.ping == "result" and self._is_for_component(iq):
                addresses = f"from='{iq.get('from')}' to='{iq.get('to')}'"
                self.send(f"<iq type='get' id='{iq.get('id')}' {addresses}><ping xmlns='urn:xmpp:ping'/></iq>")
            elif does.ping == "result":
                self.result(iq)
        else:
            self.error(iq)

    def _bind(self, iq: ET.Element, payload: ET.Element) -> None:
        does = self.server.does
        if does.bind_failure:
            self.error(iq)
            return
        resource = payload.findtext(f"{BIND}resource") or "given-by-server"
        self.jid = f"agi@fake.test/{resource}"
        self.result(iq, f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{self.jid}</jid></bind>", address=False)
        if does.after_bind:
            self.send(does.after_bind)

    def _is_for_component(self, iq: ET.Element) -> bool:
        """Return True if the component itself has to answer: the server sends the stanza back to it."""
        return self.server.does.component and iq.get("to", "").partition("/")[0] in (self.jid, f"agi@{self.jid}")

    def result(self, iq: ET.Element, payload: str = "", *, address: bool = True) -> None:
        self.send(f"<iq type='result' id='{iq.get('id')}'{self._from(iq) if address else ''}>{payload}</iq>")

    def error(self, iq: ET.Element) -> None:
        self.send(
            f"<iq type='error' id='{iq.get('id')}'{self._from(iq)}><error type='cancel'>"
            "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )

    @staticmethod
    def _from(iq: ET.Element) -> str:
        return f" from='{iq.get('to')}'" if iq.get("to") else ""


class FakeServer:
    """Listens on 127.0.0.1 for accounts of fake.test.

    Args:
        tls: the certificate to show.
        direct: TLS from the first byte.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, direct: bool = False) -> None:
        self.tls = tls
        self.direct = direct
        self.does = Behaviour()
        self.answers: dict[str, Callable[[Conversation, ET.Element], Awaitable[None]]] = {}
        self.port = 0
        self.accepted = 0
        self.attempts: list[tuple[str, bool]] = []
        self.token_messages: list[str] = []
        self.carbons_enabled = asyncio.Event()
        self.resumed = asyncio.Event()
        self.stream: Stream | None = None
        self.conversation: Conversation
        self._open: set[Conversation] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stanzas: asyncio.Queue[ET.Element] = asyncio.Queue()
        self._changed = asyncio.Condition()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.refuse()
        for conversation in self._open:
            conversation.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._listener = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self.tls if self.direct else None
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Take no more connections."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def until_accepted(self, count: int) -> None:
        """Wait until ``count`` connections in all have come."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: self.accepted >= count)

    async def until_closed(self) -> None:
        """Wait until no connection stands."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: not self._open)

    def take(self, stanza: ET.Element) -> None:
        """Note a message, a presence or the reply to an IQ."""
        self._stanzas.put_nowait(stanza)

    async def hears(self, kind: str) -> ET.Element:
        """Return the next stanza of a kind (``message``, ``presence``, ``iq``); others before it are dropped."""
        async with asyncio.timeout(20):
            while (stanza := await self._stanzas.get()).tag != f"{CLIENT}{kind}":
                pass
        return stanza

    def unheard(self, kind: str) -> list[ET.Element]:
        """Return the stanzas of a kind that have come and that `hears` has not returned."""
        stanzas = [self._stanzas.get_nowait() for _ in range(self._stanzas.qsize())]
        return [stanza for stanza in stanzas if stanza.tag == f"{CLIENT}{kind}"]

    async def hears_message(self) -> str:
        """Return the next message's text."""
        return (await self.hears("message")).findtext(f"{CLIENT}body") or ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.conversation = conversation = Conversation(self, reader, writer)
        conversation.encrypted = self.direct
        # asyncio keeps the error that ended a connection in a future that nobody awaits.
        protocol: Any = writer.transport.get_protocol()
        closed: asyncio.Future[None] = protocol._closed
        closed.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._open.add(conversation)
        self.accepted += 1
        await self._tell()
        try:
            # Cancelled at the end of a test: asyncio's own callback cannot bear a handler that says so.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await conversation.run()
        finally:
            self._open.discard(conversation)
            writer.close()
            await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
