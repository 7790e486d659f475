"""A scripted Asterisk, a clock and a network between it and a `Core`; nothing here takes time.

It reads by the library alone and writes by hand, so that a mistake in `agi_xmpp.sip.wire` is not made twice.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence

from sipmessage import Message, Request, Response

from agi_xmpp.errors import SipError
from agi_xmpp.sip.call import Call
from agi_xmpp.sip.core import Core
from agi_xmpp.sip.wire import Place
from tests.unit.clock import Clock

HERE = Place("127.0.0.1", 5070)
THERE = Place("127.0.0.1", 5060)
SDP = (
    b"v=0\r\no=- 1 3 IN IP4 127.0.0.1\r\ns=A\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 10000 RTP/AVP 0\r\na=inactive\r\n"
)

Answer = tuple[int, Sequence[str], bytes]


class Watch:
    """Keeps what a call tells of itself."""

    def __init__(self) -> None:
        self.is_answered = False
        self.failures: list[SipError] = []
        self.texts: list[tuple[str, str]] = []
        self.reason = ""

    @property
    def error(self) -> SipError | None:
        return self.failures[0] if self.failures else None

    def answered(self) -> None:
        self.is_answered = True

    def failed(self, error: SipError) -> None:
        assert not self.failures, "it fails once"
        self.failures.append(error)

    def text_came(self, display: str, text: str) -> None:
        assert not self.reason, "nothing comes after the end"
        self.texts.append((display, text))

    def ended(self, reason: str) -> None:
        assert not self.reason, "it ends once"
        self.reason = reason


class World:
    """A core, and `asterisk` on the other side of a network.

    Args:
        password, timeout: of the core.
        loss: of how many of the datagrams is lost, of either direction; as many are doubled.
        seed: of the network's dice.
    """

    def __init__(self, *, password: str = "", timeout: float = 5.0, loss: float = 0.0, seed: int = 1) -> None:
        self.clock = Clock(0.0)
        self.loss = loss
        self.unreachable = False
        self.sent: list[bytes] = []
        self._dice = random.Random(seed)
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        tokens = (f"t{number}" for number in itertools.count(1))
        self.core = Core(
            endpoint="gw",
            password=password,
            local=HERE,
            remote=THERE,
            timeout=timeout,
            send=self._send,
            clock=self.clock,
            new_token=lambda: next(tokens),
            new_number=lambda: 4711,
        )
        self.asterisk = FakeAsterisk(self)

    # What a test does

    def run(self, seconds: float = 0.05) -> None:
        """Let everything happen that happens in this time."""
        end = self.clock.now + seconds
        while True:
            times = [self.core.wake_at(), self._queue[0][0] if self._queue else None]
            at = min((time for time in times if time is not None), default=end + 1)
            if at > end:
                break
            self.clock.now = max(self.clock.now, at)
            while self._queue and self._queue[0][0] <= self.clock.now:
                heapq.heappop(self._queue)[2]()
            self.core.run_timers()
        self.clock.now = end

    def call(self, number: str = "6000", display: str = "") -> tuple[Call, Watch]:
        watch = Watch()
        call = self.core.call(number, display, watch)
        self.run()
        return call, watch

    def up(self) -> tuple[Call, Watch]:
        """Return a call that was answered."""
        call, watch = self.call()
        assert watch.is_answered, watch.error
        return call, watch

    def methods(self) -> list[str]:
        """Return the methods and codes of all that the core has sent, also what was lost."""
        first = [datagram.split(b"\r\n", 1)[0].decode().split(" ") for datagram in self.sent]
        return [words[1] if words[0] == "SIP/2.0" else words[0] for words in first]

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._queue, (self.clock.now + seconds, next(self._order), action))

    def deliver(self, datagram: bytes) -> None:
        """Bring a datagram to the core, over the network."""
        self._carry(lambda: self.core.receive(datagram))

    def _send(self, datagram: bytes) -> None:
        self.sent.append(datagram)
        if self.unreachable:
            self.later(0.001, self.core.refused)
        else:
            self._carry(lambda: self.asterisk.receive(datagram))

    def _carry(self, action: Callable[[], object]) -> None:
        dice = self._dice.random()
        if dice >= self.loss:
            self.later(0.001, action)
        if dice >= 1 - self.loss:
            self.later(self._dice.random() / 10, action)


class FakeAsterisk:
    """The other side. It answers as Asterisk 22 does, unless a test puts another answer into ``answers``.

    Attributes:
        answers: what is answered, by method: a function of the request, whose result may be None for silence.
        requests: that came, each once.
        responses: that came to our own requests, each once: method and code.
        silent: it hears nothing.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.answers: dict[str, Callable[[Request], Answer | None]] = {}
        self.requests: list[Request] = []
        self.responses: list[tuple[str, int]] = []
        self.silent = False
        self._answered: dict[tuple[str, str], bytes] = {}
        self._acknowledged: set[int] = set()
        self._seen: set[tuple[str, str]] = set()
        self._open: set[str] = set()
        self._sequence = 100
        self._branches = itertools.count(1)
        self.invite: Request | None = None

    @property
    def texts(self) -> list[tuple[str, str]]:
        return [
            (request.from_address.name, request.body.decode())
            for request in self.requests
            if request.method == "MESSAGE"
        ]

    def came(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    def receive(self, datagram: bytes) -> None:
        if self.silent:
            return
        message = Message.parse(datagram)
        if isinstance(message, Response):
            branch = message.via[0].parameters["branch"] or ""
            if branch in self._open:
                self._open.discard(branch)
                self.responses.append((message.cseq.method, message.code))
                if message.cseq.method == "INVITE":
                    self._send("ACK", message.cseq.sequence, branch + "-ack" if message.code < 300 else branch)
            return
        key = (message.via[0].parameters["branch"] or "", message.method)
        if message.method == "ACK":
            self._acknowledged.add(message.cseq.sequence)
            self.requests.append(message)
        elif key in self._answered:
            self._world.deliver(self._answered[key])
        elif key not in self._seen:
            self._seen.add(key)
            self._take(message, key)

    def ask(
        self, method: str, body: bytes = b"", *headers: str, display: str = "", tags: tuple[str, str] | None = None
    ) -> int:
        """Send a request of the call, again and again until it is answered; return its CSeq."""
        self._sequence += 1
        branch = f"z9hG4bKfar{next(self._branches)}"
        self._open.add(branch)
        datagram = self.request(method, self._sequence, branch, body, *headers, display=display, tags=tags)

        until = self._world.clock.now + 32

        def again(pause: float) -> None:
            if branch in self._open and self._world.clock.now < until:
                self._world.deliver(datagram)
                self._world.later(pause, lambda: again(min(pause * 2, 4)))

        again(0.5)
        return self._sequence

    def text(self, body: str | bytes, display: str = "Alice", content_type: str = "text/plain") -> int:
        data = body.encode() if isinstance(body, str) else body
        return self.ask("MESSAGE", data, f"Content-Type: {content_type}", display=display)

    def request(
        self,
        method: str,
        sequence: int,
        branch: str,
        body: bytes = b"",
        *headers: str,
        display: str = "",
        tags: tuple[str, str] | None = None,
    ) -> bytes:
        """Return the datagram of a request in the dialog of the last INVITE."""
        assert self.invite is not None
        far, near = tags or ("far", self.invite.from_address.parameters["tag"])
        lines = [
            f"{method} sip:gw@{HERE} SIP/2.0",
            f"Via: SIP/2.0/UDP {THERE};rport;branch={branch}",
            f'From: "{display}" <sip:6000@127.0.0.1>;tag={far}' if display else f"From: <sip:6000@127.0.0.1>;tag={far}",
            "To: <sip:gw@127.0.0.1>" + (f";tag={near}" if near else ""),
            f"Call-ID: {self.invite.call_id}",
            f"CSeq: {sequence} {method}",
            *headers,
            f"Content-Length:  {len(body)}",
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _take(self, request: Request, key: tuple[str, str]) -> None:
        self.requests.append(request)
        if request.method == "INVITE":
            self.invite = request
        answer = self.answers.get(request.method, _usual)(request)
        if answer is None:
            return
        code, headers, body = answer
        datagram = respond(request, code, *headers, body=body)
        if code >= 200:
            self._answered[key] = datagram
        self._world.deliver(datagram)
        if request.method == "INVITE" and 200 <= code < 300:
            self._until_acknowledged(request.cseq.sequence, datagram, 0.5)

    def _until_acknowledged(self, sequence: int, datagram: bytes, pause: float) -> None:
        def again() -> None:
            if sequence not in self._acknowledged and pause <= 32 and not self.silent:
                self._world.deliver(datagram)
                self._until_acknowledged(sequence, datagram, pause * 2)

        self._world.later(pause, again)

    def _send(self, method: str, sequence: int, branch: str) -> None:
        self._world.deliver(self.request(method, sequence, branch))


def respond(request: Request, code: int, *headers: str, body: bytes = b"") -> bytes:
    """Return the datagram of a response."""
    to = request.headers["To"]
    lines = [
        f"SIP/2.0 {code} Some Reason",
        *(f"Via: {value}" for value in request.headers.getlist("Via")),
        f"From: {request.headers['From']}",
        f"To: {to}" if "tag=" in to else f"To: {to};tag=far",
        f"Call-ID: {request.call_id}",
        f"CSeq: {request.cseq}",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _usual(request: Request) -> Answer:
    contact = f"Contact: <sip:{THERE}>"
    match request.method:
        case "INVITE":
            return 200, [contact, "Content-Type: application/sdp"], SDP
        case "MESSAGE":
            return 202, [], b""
        case _:
            return 200, [contact], b""
