"""A component's stanzas past the library, which drops what it does not know: to a host, and from it.

The library stays the one that reads the stream: `Recorder` notes what its parser tells of one stanza, and what the host
leaves is told to the library afterwards, as it came.

What is sent goes into the connection's buffer at once, in order, 10,000 stanzas in a moment as well as one. A server
that takes less than comes is waited for up to `BACKLOG`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol
from xml.etree.ElementTree import Element

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp.element import CLIENT, Builder, Name, serialise
from agi_xmpp.xmpp.model import Jid, StanzaHost, StanzaPort

log = logging.getLogger("agi_xmpp.xmpp")

#: Bytes that may wait for the server. A text of 65,536 characters is 13 MB in a room of 200, and all of it waits for a
#: moment; a server that is this far behind has stopped, and what it says itself may hide that from the pings.
BACKLOG = 256 * 1024 * 1024

#: The tags of stanzas (RFC 6120 section 8.1).
KINDS = frozenset({"message", "presence", "iq"})


class Wire(Protocol):
    """The stream that is sent on."""

    def send_bytes(self, data: bytes) -> None:
        """Send a whole stanza.

        Raises:
            ConnectionError: the stream has ended, or the server is too far behind.
        """

    def offer_waiting(self) -> None:
        """Offer what has come while the host was not told of the stream yet."""


class Recorder:
    """What the parser tells of one stanza.

    Args:
        sender: what stands in ``from``, for the log.

    Attributes:
        built: the stanza as a tree.
    """

    def __init__(self, sender: str) -> None:
        self.sender = sender
        self.built = Builder()
        self._events: list[tuple[str, tuple[Any, ...]]] = []

    def start(self, name: Name, qname: str, attributes: Any) -> None:
        """An element begins."""
        self.built.start(name, attributes.items())
        self._note("startElementNS", name, qname, attributes)

    def text(self, text: str) -> None:
        """A piece of text."""
        self.built.text(text)
        self._note("characters", text)

    def end(self, name: Name, qname: str) -> bool:
        """An element ends. Returns True if the stanza does."""
        self._note("endElementNS", name, qname)
        return self.built.end(name)

    def replay(self, processor: Any) -> None:
        """Tell the library's processor all of it."""
        for method, arguments in self._events:
            getattr(processor, method)(*arguments)

    def _note(self, method: str, *arguments: Any) -> None:
        if self.built.fault:
            self._events.clear()
        else:
            self._events.append((method, arguments))


class RawStanzas:
    """The host of a component's stanzas, if there is one, and its way out. Implements `model.StanzaPort`.

    Args:
        account: its name, for the log.
        own: the session's own full JID.
    """

    def __init__(self, account: str, own: Jid) -> None:
        self._account = account
        self._own = own
        self._host: StanzaHost | None = None
        self._wire: Wire | None = None
        self.online = False

    @property
    def domain(self) -> str:
        """See `StanzaPort.domain`."""
        return self._own.domain

    @property
    def recording(self) -> bool:
        """True if there is somebody to offer stanzas to."""
        return self._host is not None

    @property
    def deciding(self) -> bool:
        """False while the host has not been told of the stream: what comes waits for that."""
        return self._host is None or self.online

    def serve(self, host: StanzaHost | None) -> StanzaPort:
        """See `Session.serve_stanzas`."""
        self._host, self.online = host, False
        if self._wire is not None:
            # Not from in here: the host does not have its port yet.
            asyncio.get_running_loop().call_soon(self._begin)
        return self

    def began(self, wire: Wire) -> None:
        """Begin to serve a stream that can be used now."""
        self._wire, self.online = wire, False
        self._begin()

    def ended(self) -> None:
        """The stream is gone. Does nothing if there was none."""
        self._wire = None
        if self.online and self._host is not None:
            self.online = False
            self._tell(self._host.stream_ended)

    def offer(self, stanza: Element) -> bool:
        """Return True if the host takes a stanza; False leaves it to the session.

        What belongs to the session's own requests is its own: it pings itself by way of the server.
        """
        if self._host is None or self._is_own(stanza):
            return False
        try:
            return self._host.stanza_came(stanza)
        except Exception:  # the stream must outlive what a stranger's stanza does to a host
            log.exception("account %s: internal error over a stanza of %r", self._account, stanza.get("from", ""))
            return False

    def dropped(self, recorder: Recorder) -> None:
        """Tell of a stanza that nobody gets."""
        log.warning("account %s: a stanza of %r was dropped: %s", self._account, recorder.sender, recorder.built.fault)

    def send(self, stanza: Element) -> None:
        """See `StanzaPort.send`."""
        namespace, _, kind = stanza.tag.partition("}")
        if namespace != f"{{{CLIENT}" or kind not in KINDS:
            raise ValueError(f"{stanza.tag!r} is no stanza")
        data = serialise(stanza)
        if self._wire is None:
            raise NotConnected(f"account {self._account} is not connected")
        try:
            self._wire.send_bytes(data)
        except ConnectionError as error:
            raise NotConnected(f"account {self._account} is not connected: {error}") from None

    def _begin(self) -> None:
        if self._wire is None or self.online:
            return  # the stream has ended meanwhile, or the host was set twice
        if self._host is not None:
            self.online = True
            self._tell(self._host.stream_began)
        self._wire.offer_waiting()

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:
            log.exception("account %s: internal error", self._account)

    def _is_own(self, stanza: Element) -> bool:
        if stanza.tag != f"{{{CLIENT}}}iq":
            return False
        own, reply = str(self._own), stanza.get("type") in ("result", "error")
        return stanza.get("from") == own or (reply and stanza.get("to") == own)
