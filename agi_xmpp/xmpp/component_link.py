"""The connection of a component (XEP-0114): a whole domain of our own on somebody's XMPP server.

aioxmpp knows clients only. What a component does otherwise is little: another namespace, another handshake, no stream
features, no resource binding, and addresses that it writes into its stanzas itself. All else is the client's `Link`.

aioxmpp's names that are not public and are used here: `XMLStream._rx_stream_header`, `_rx_feed`, `_processor`,
 `_transport`, `_debug_wrapper` and `_loop`, `Client._negotiate_stream` and `_bind`. The library
is dormant: they will not change.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import aioxmpp
from aioxmpp import errors, nonza, protocol, xso

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import LoginFailed, NotConnected, TlsFailed, XmppError
from agi_xmpp.xmpp import srv
from agi_xmpp.xmpp.connector import Connector
from agi_xmpp.xmpp.element import CLIENT, COMPONENT, Name, renamed
from agi_xmpp.xmpp.jid import outward
from agi_xmpp.xmpp.link import Link, Listener
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.raw_stanzas import BACKLOG, KINDS, RawStanzas, Recorder
from agi_xmpp.xmpp.transport import Bridge, Stream

#: Where servers take components unless told otherwise (XEP-0114 names no port; Prosody and Openfire listen there, and
#: ejabberd's own example does).
PORT = 5347

#: Our resource, if the configuration names none. Rooms and presence need one (XEP-0045 section 7.2).
RESOURCE = "agi-xmpp"

_KINDS = frozenset((CLIENT, kind) for kind in KINDS)
_STREAM = ("http://etherx.jabber.org/streams", "stream")

_SUBSCRIPTIONS = frozenset(
    {
        aioxmpp.PresenceType.SUBSCRIBE,
        aioxmpp.PresenceType.SUBSCRIBED,
        aioxmpp.PresenceType.UNSUBSCRIBE,
        aioxmpp.PresenceType.UNSUBSCRIBED,
        aioxmpp.PresenceType.PROBE,
    }
)


class Handshake(xso.XSO):  # type: ignore[misc]
    """The proof that we know the secret, and the server's answer to it (XEP-0114 section 3)."""

    TAG = (CLIENT, "handshake")  # of the component's namespace; see `_Renaming`
    digest = xso.Text(default=None)

    def __init__(self, digest: str | None = None) -> None:
        super().__init__()
        self.digest = digest


class _Renaming:
    """Shows the library's parser a component's stream as a client's: it knows no others.

    What follows the server's handshake is held back until `release`: a server may send stanzas in the same segment,
    when nobody takes them yet. The library would end the stream over them.

    While somebody serves raw stanzas, each is recorded, and reaches the library only if it is left.

    Args:
        processor: of the library.
        domain: of the component.
        stanzas: who serves them.
    """

    def __init__(self, processor: Any, domain: str, stanzas: RawStanzas) -> None:
        self._processor = processor
        self._domain = domain
        self._stanzas = stanzas
        self._depth = 0
        self._recorder: Recorder | None = None
        self._recorded: deque[Recorder] = deque()
        self._held: list[Callable[[], None]] = []
        self._holding = False
        self._greeted = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processor, name)

    def release(self) -> None:
        """Let the parser have what was held back, and all that comes."""
        self._holding = False
        held, self._held = self._held, []
        for event in held:
            event()

    def offer_recorded(self) -> None:
        """Let the host of raw stanzas have what was recorded, and the library what the host leaves."""
        while self._recorded and self._stanzas.deciding:
            recorder = self._recorded.popleft()
            if recorder.built.stanza is None:
                self._stanzas.dropped(recorder)
            elif not self._stanzas.offer(recorder.built.stanza):
                recorder.replay(self._processor)

    def characters(self, text: str) -> None:
        if self._holding:
            self._held.append(lambda: self.characters(text))
        elif self._recorder is not None:
            self._recorder.text(text)
        else:
            self._processor.characters(text)

    def startElementNS(self, name: Name, qname: str, attributes: Any) -> None:  # noqa: N802 - SAX
        if self._holding:
            self._held.append(lambda: self.startElementNS(name, qname, attributes))
            return
        if name == _STREAM:
            # A component's stream has no version, and Prosody sends neither of the others where it refuses us.
            attributes = (
                {(None, "from"): self._domain, (None, "id"): ""} | dict(attributes) | {(None, "version"): "1.0"}
            )
        self._depth += 1
        name = renamed(name)
        if self._depth == 2 and self._stanzas.recording and name in _KINDS:
            self._recorder = Recorder(attributes.get((None, "from"), ""))
        if self._recorder is not None:
            self._recorder.start(name, qname, attributes)
        else:
            self._processor.startElementNS(name, qname, attributes)

    def endElementNS(self, name: Name, qname: str) -> None:  # noqa: N802 - SAX
        if self._holding:
            self._held.append(lambda: self.endElementNS(name, qname))
            return
        self._depth -= 1
        if self._recorder is not None:
            if self._recorder.end(renamed(name), qname):
                self._recorded.append(self._recorder)
                self._recorder = None
                self.offer_recorded()
            return
        self._processor.endElementNS(renamed(name), qname)
        if name == (COMPONENT, "handshake") and not self._greeted:  # once: a contact could send one inside a message
            self._holding = self._greeted = True


def _component_header(data: bytes) -> bytes:
    """Return our stream header with a component's namespace: that of all stanzas, which carry none of their own."""
    return data.replace(b'"jabber:client"', b'"jabber:component:accept"', 1)


class ComponentStream(Stream):
    """A component's XML stream.

    Args:
        own: our full JID: the sender of whatever names none.
        server: whom to ping.
        stanzas: who serves raw stanzas.
        logger: of the library.
    """

    def __init__(self, own: Jid, server: Jid, stanzas: RawStanzas, logger: logging.Logger) -> None:
        super().__init__(to=outward(Jid("", own.domain)), base_logger=logger)
        self._stanzas = stanzas
        self._own = outward(own)
        self._server = outward(server)
        self._released = False
        self._waiting = False
        #: Gets the id of the server's stream, or the error that it ended with.
        self.greeting = self.error_future()

    def send_xso(self, obj: Any) -> None:
        """Send an element; a stanza gets the addresses that a client's server would add (XEP-0114 section 3)."""
        if isinstance(obj, aioxmpp.stanza.StanzaBase):
            if obj.from_ is None:
                subscription = isinstance(obj, aioxmpp.Presence) and obj.type_ in _SUBSCRIPTIONS
                obj.from_ = self._own.bare() if subscription else self._own  # RFC 6121 section 3.1.2
            if obj.to is None:  # the library's own ping, when the server is silent
                obj.to = self._server
        super().send_xso(obj)

    def send_bytes(self, data: bytes) -> None:
        """See `raw_stanzas.Wire`. The library writes its own stanzas in one go, so that this comes between two."""
        if self.state is not protocol.State.OPEN:
            raise ConnectionResetError("the stream has ended")
        if self._transport.get_write_buffer_size() > BACKLOG:
            error = ConnectionAbortedError(f"the server has not taken {BACKLOG >> 20} MB that were sent")
            self._loop.call_soon(self._give_up, error)  # not from in here: the parser may be at work
            raise error
        if self._debug_wrapper is None:
            self._transport.write(data)
        else:  # the log shows what leaves us
            self._debug_wrapper.write(data)
            self._debug_wrapper.flush()

    def offer_waiting(self) -> None:
        """See `raw_stanzas.Wire`."""
        if self.state is protocol.State.OPEN:
            self._waiting = True
            self.data_received(b"")  # as if it came now: what is wrong with it is treated as ever

    def _give_up(self, error: Exception) -> None:
        """Drop the connection."""
        if (transport := self._transport) is not None:
            self.connection_lost(error)
            transport.abort()

    @property
    def server(self) -> Any:
        """Whom to ping."""
        return self._server

    def release(self) -> None:
        """Let in what has come since the handshake.

        Raises:
            ConnectionError: the stream has ended meanwhile, and nobody would ever notice.
        """
        self._released = True
        if self.state is protocol.State.OPEN:
            self.data_received(b"")  # as if it came now: what is wrong with it is treated as ever
        if self.state is not protocol.State.OPEN:
            raise ConnectionResetError("the server ended the stream right after the handshake")

    def _rx_feed(self, blob: bytes) -> None:
        if self._released:
            self._released = False
            self._renaming.release()
        if self._waiting:
            self._waiting = False
            self._renaming.offer_recorded()
        super()._rx_feed(blob)

    def _content_handler(self) -> Any:
        self._renaming = _Renaming(self._processor, self._own.domain, self._stanzas)
        return self._renaming

    def _rx_stream_header(self) -> None:
        super()._rx_stream_header()
        if not self.greeting.done():
            self.greeting.set_result(self._processor.remote_id)


def _server(own: Jid, settings: AccountSettings) -> Jid:
    """Return whom to ping: the configured domain, or our own.

    The server sends a ping to our own domain back to us, behind all that it had to say about earlier stanzas. So the
    domain of its users need not be known.
    """
    return Jid("", settings.domain or own.domain)


class ComponentConnector(Connector):
    """Gives the library a component's streams."""

    alpn = ()

    def __init__(self, jid: Jid, *args: Any, stanzas: RawStanzas, **options: Any) -> None:
        super().__init__(jid, *args, **options)
        self._stanzas = stanzas

    async def _targets(self) -> list[srv.Target]:
        settings = self._settings
        assert settings.server is not None  # noqa: S101 - the configuration fills it in
        return [srv.Target(settings.server, settings.port or PORT, settings.tls == "direct")]

    def _new_stream(self, logger: logging.Logger) -> Stream:
        return ComponentStream(self._jid, _server(self._jid, self._settings), self._stanzas, logger)

    def _new_bridge(self, stream: Stream) -> Bridge:
        return Bridge(stream, self._domain, _component_header)

    def _greeting(self, stream: ComponentStream) -> Awaitable[str]:
        return stream.greeting

    async def _negotiate(
        self,
        _bridge: Bridge,
        stream: ComponentStream,
        greeting: Awaitable[str],
        _starttls: ssl.SSLContext | None,
        password: str,
    ) -> Any:
        digest = hashlib.sha1((await greeting + password).encode(), usedforsecurity=False).hexdigest()
        with stream.mute():  # who knows the digest and the stream's id can try out secrets
            await protocol.send_and_wait_for(stream, [Handshake(digest)], [Handshake])
        return nonza.StreamFeatures()

    def _explain(self, error: Exception, place: str) -> XmppError:
        domain = self._jid.domain
        condition = error.condition if isinstance(error, errors.StreamError) else None
        if condition is errors.StreamErrorCondition.NOT_AUTHORIZED:
            return LoginFailed(
                f"{place} refuses the secret of the component {domain} (not-authorized): it must be the one that the"
                " server has for it"
            )
        if isinstance(error, ConnectionRefusedError):
            return NotConnected(
                f"nobody listens at {place}: is the XMPP server running, and is that its port for components?"
            )
        if condition is errors.StreamErrorCondition.CONFLICT:
            return NotConnected(f"{place} has a connection of the component {domain} already (conflict)")
        if condition in (errors.StreamErrorCondition.HOST_UNKNOWN, errors.StreamErrorCondition.INVALID_NAMESPACE):
            return NotConnected(
                f"{place} knows no component {domain}: it must be configured on the server, and {place} must be the"
                f" port for components ({condition.value[1]})"
            )
        if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            return TlsFailed(f'{place} does not speak TLS with components; tls = "none" is what most servers offer')
        return super()._explain(error, place)


class ComponentClient(aioxmpp.Client):  # type: ignore[misc]
    """The library's client, for a stream that has its address already."""

    async def _negotiate_stream(self, stream: ComponentStream, features: Any) -> Any:
        self.component_stream = stream
        return await super()._negotiate_stream(stream, features)

    async def _bind(self) -> None:
        self.component_stream.release()  # the library takes stanzas from here on
        # The library takes the answer to its own ping for one of its server.
        self.stream.local_jid = self.component_stream.server


class ComponentLink(Link):
    """Keeps a component connected from `start` to `stop`.

    Args:
        account, settings, listener: as of `Link`.
        jid: our own address in the domain that we serve.

    Attributes:
        stanzas: who serves raw stanzas.
    """

    make_client = ComponentClient

    def __init__(self, account: str, jid: Jid, settings: AccountSettings, listener: Listener) -> None:
        own = Jid(jid.local, jid.domain, jid.resource or RESOURCE)
        self.stanzas = RawStanzas(account, own)
        self.make_connector = functools.partial(ComponentConnector, stanzas=self.stanzas)
        super().__init__(account, own, settings, listener)

    @property
    def server(self) -> Jid:
        """See `Link.server`."""
        return _server(self.jid, self._settings)

    def _offer_services(self, client: Any) -> None:
        super()._offer_services(client)
        disco = client.summon(aioxmpp.DiscoServer)
        disco.register_identity("gateway", "pstn", names={aioxmpp.structs.LanguageTag.fromstr("en"): "agi-xmpp"})
        disco.unregister_identity("client", "bot")

    def _make_client(self) -> Any:
        client = super()._make_client()
        # After the session's own: it knows of the stream when the host does.
        client.on_stream_established.connect(self._guarded(lambda: self.stanzas.began(client.component_stream)))
        return client

    def _lose_session(self) -> None:
        super()._lose_session()
        self.stanzas.ended()

    def _conflict(self) -> str:
        return f"another connection of the component {self.jid.domain} threw us out; only one can serve it"
