"""Our side of the component's stream: what is said while the XMPP server is away waits for it, for a while.

A component's stream has no receipts. So a message to ourselves goes behind what we send: when the server brings it
back, it has taken all before it. What it may not have is sent again after a break, so that nothing is lost; of what was
under way at that moment, clients may get something twice, with the same id.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable
from xml.etree.ElementTree import Element

from agi_xmpp.errors import NotConnected
from agi_xmpp.features.conference import stanzas
from agi_xmpp.xmpp.model import Jid, StanzaPort

log = logging.getLogger("agi_xmpp.conference")

#: Seconds for which stanzas wait. The server may have been restarted, and clients come back within that time; whoever
#: stays away longer comes in anew, and reads the history.
HOLD_TIME = 120.0
#: Stanzas that wait at the most.
HOLD_LIMIT = 10_000
#: Seconds for the server to bring back the first message to ourselves. Not every server does: ejabberd 26.07 with
#: mod_privilege drops what a component sends to itself. Then it is not known what it has, and nothing is sent again.
#: A server that has brought one back, and does not bring the next, hangs: all is kept for when it breaks off.
MARK_TIME = 30.0


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
        #: What the server may not have yet, in order; behind the first ``_asked`` of them goes the mark. A server that
        #: falls far behind loses the connection.
        self._sent: deque[Element] = deque()
        self._asked = 0
        self._mark = ""
        self._mark_since = 0.0
        self._marks = itertools.count(1)
        self._marking = True
        self._mark_has_come = False

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
            return
        if not self._marking:
            return
        self._sent.append(stanza)
        if not self._asked:
            self._send_mark(port)
        elif self._is_deaf:
            log.warning("the XMPP server does not bring our own messages back: when it breaks off, texts may be lost")
            self._marking = False
            self._forget_sent()

    @property
    def _is_deaf(self) -> bool:
        """True if the server does not bring marks back."""
        late = self._clock() - self._mark_since > MARK_TIME
        return late and (not self._mark_has_come or len(self._sent) > HOLD_LIMIT)

    def _send_mark(self, port: StanzaPort) -> None:
        """Send a message to ourselves behind all that was sent."""
        own = Jid("", port.domain)
        self._asked, self._mark, self._mark_since = len(self._sent), f"mark-{next(self._marks)}", self._clock()
        with contextlib.suppress(NotConnected):  # we are about to be told
            port.send(stanzas.message(own, own, "headline", self._mark))

    def came_back(self, stanza: Element) -> bool:
        """Take the message to ourselves; return False if it is something else."""
        port = self._port
        if port is None or stanza.tag != stanzas.MESSAGE or stanza.get("from") != port.domain:
            return False
        if stanza.get("id") == self._mark and self._asked:
            for _ in range(self._asked):
                self._sent.popleft()
            self._asked = 0
            self._mark_has_come = True
            if self._sent:
                self._send_mark(port)
        return True

    def stream_ended(self) -> None:
        """Keep what the server may not have, to be sent again before what has waited since."""
        if self._sent and not self._waiting:
            self._since = self._clock()
        self._spilt = self._spilt or len(self._sent) + len(self._waiting) > HOLD_LIMIT
        self._waiting.extendleft(reversed(self._sent))
        self._forget_sent()

    def _forget_sent(self) -> None:
        self._sent.clear()
        self._asked = 0

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
