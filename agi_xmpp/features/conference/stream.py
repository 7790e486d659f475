"""Our side of the component's stream: what is said while the XMPP server is away waits for it, for a while."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from xml.etree.ElementTree import Element

from agi_xmpp.errors import NotConnected
from agi_xmpp.xmpp.model import StanzaPort

log = logging.getLogger("agi_xmpp.conference")

#: Seconds for which stanzas wait. The server may have been restarted, and clients come back within that time; whoever
#: stays away longer comes in anew, and reads the history.
HOLD_TIME = 120.0
#: Stanzas that wait at the most.
HOLD_LIMIT = 10_000


class Outgoing:
    """Sends stanzas, or keeps them in their order until there is a stream.

    Args:
        lost: called at the beginning of a stream if what was said meanwhile could not be kept.
        clock: seconds, monotonic.
    """

    def __init__(self, lost: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._lost = lost
        self._clock = clock
        self._port: StanzaPort | None = None
        self._waiting: deque[Element] = deque()
        self._since = clock()
        self._spilt = False

    def use(self, port: StanzaPort) -> None:
        """Send by ``port`` from now on."""
        self._port = port

    def send(self, stanza: Element) -> None:
        """Send a stanza now, or as soon as there is a stream."""
        if self._port is not None and self._port.online and not self._waiting:
            with contextlib.suppress(NotConnected):  # it broke this moment
                self._send(self._port, stanza)
                return
        if not self._waiting:
            self._since = self._clock()
        if len(self._waiting) < HOLD_LIMIT:
            self._waiting.append(stanza)
        else:
            self._spilt = True

    def _send(self, port: StanzaPort, stanza: Element) -> None:
        """Send a stanza. One that XMPP cannot carry is dropped: it must not keep a room from telling the others."""
        try:
            port.send(stanza)
        except ValueError as error:
            log.error("a stanza to %r was dropped: %s", stanza.get("to", ""), error)

    def stream_began(self) -> None:
        """Send what has waited; or say that it is lost, if that took too long."""
        waiting, self._waiting = self._waiting, deque()
        if waiting and (self._spilt or self._clock() - self._since > HOLD_TIME):
            self._spilt = False
            log.warning("the XMPP server was away too long: everybody in the rooms has to enter anew")
            self._lost()
            return
        for stanza in waiting:
            self.send(stanza)
