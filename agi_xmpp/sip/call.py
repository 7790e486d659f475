"""A call of ours: from INVITE to BYE, with the texts in between. Datagrams and time come from `core`. Pure."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from sipmessage import Request, Response

from agi_xmpp.errors import SipError, SipNotReached, SipUnknown
from agi_xmpp.sip.asking import Asking
from agi_xmpp.sip.dialog import Dialog, Order
from agi_xmpp.sip.digest import Digest
from agi_xmpp.sip.failures import Failures
from agi_xmpp.sip.model import LegListener
from agi_xmpp.sip.sdp import CONTENT_TYPE, Description
from agi_xmpp.sip.session_timer import MIN_INTERVAL, Session, agreed, interval_of, least_of
from agi_xmpp.sip.text import heard_name, numbered, plain_text
from agi_xmpp.sip.timers import Timer, Timers
from agi_xmpp.sip.transactions import T1, T2, TIMEOUT, Failure, Server, Transactions
from agi_xmpp.sip.wire import Place, allows, party, response, tokens

#: What we understand (RFC 3261 section 20.5).
ALLOW: Final = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, MESSAGE, INFO"
#: What we can do if asked to by name (RFC 3261 section 20.37).
EXTENSIONS: Final = frozenset({"timer"})
#: Seconds between two refreshes of a call (RFC 4028 asks for one in 45 s at the most), by which we learn that Asterisk
#: was restarted and knows of no call.
REFRESH: Final = 15.0
#: Seconds for which a text waits for one that was sent before it: the longest pause between two tries of that one, and
#: a moment. After its first tries are lost, or we could not read for long, it takes all of it.
GAP_WAIT: Final = T2 + 0.5
#: Texts that wait to be sent on one leg. Asterisk takes hundreds a second; more than this means that it hangs.
MAX_WAITING: Final = 1000
#: 481 and 408 end the dialog (RFC 3261 section 12.2.1.2).
_GONE: Final = (408, 481)


class Watcher(LegListener, Protocol):
    """Is told of a call, besides what a leg's listener is told."""

    def answered(self) -> None:
        """It was taken: texts may be sent."""

    def failed(self, error: SipError) -> None:
        """It was not taken. Nothing comes after it."""


@dataclass(frozen=True, slots=True)
class House:
    """What all calls of an agent share.

    Attributes:
        endpoint: ours; the user of our URI.
        local, remote: our address and Asterisk's.
        timeout: seconds for a text, and for a call to be answered.
        timers, transactions, digest, failures: see there.
        new_token: returns a random word each time.
        new_number: returns a random number below 2**31 each time.
        over: is called when a call is over.
    """

    endpoint: str
    local: Place
    remote: Place
    timeout: float
    timers: Timers
    transactions: Transactions
    digest: Digest
    failures: Failures
    new_token: Callable[[], str]
    new_number: Callable[[], int]
    over: Callable[[Call], None]


class _State(enum.Enum):
    CALLING = "calling"
    UP = "up"
    ENDING = "ending"
    OVER = "over"


@dataclass(slots=True)
class _Text:
    """A text on its way: its parts, of which ``sent`` have been taken."""

    parts: list[str]
    display: str
    done: Callable[[SipError | None], None]
    sent: int = 0


@dataclass(slots=True)
class _Outcome:
    """What to do with the end of a request; provisional responses are nothing to us."""

    ended: Callable[[Response | Failure], None]
    settled: bool = False

    def responded(self, response: Response) -> None:
        if response.code >= 200 and not self.settled:
            self.settled = True
            self.ended(response)

    def failed(self, failure: Failure) -> None:
        self.settled = True
        self.ended(failure)


class Call:
    """One call of ours. Made, it is on its way.

    Args:
        house: see there.
        number: that is called.
        display: our name for the called side; "" for none.
        watcher: is told what happens.
    """

    def __init__(self, house: House, number: str, display: str, watcher: Watcher) -> None:
        self.number = number
        self.dialog = Dialog(
            call_id=house.new_token(),
            local=house.local.uri(house.endpoint),
            remote=house.remote.uri(number),
            contact=house.local.uri(house.endpoint),
            tag=house.new_token(),
            sequence=house.new_number() % 10_000,
        )
        self._house = house
        self._display = display
        self._watcher = watcher
        self._state = _State.CALLING
        self._description = Description(house.local, house.new_number())
        self._order: Order[tuple[str, str]] = Order()
        self._texts: deque[_Text] = deque()
        self._sending = False
        self._bye_sent = False
        self._wish = Session(MIN_INTERVAL, we_refresh=True)
        self._session: Session | None = None
        self._answer_waits: tuple[int, Timer] | None = None  # our 2xx to an INVITE that has no ACK yet: CSeq, next try
        self._hung_up: list[Callable[[], None]] = []
        self._timers: dict[str, Timer] = {}
        self._invite = Asking(house.transactions, house.digest, self._make_invite, self, house.timeout)
        self._later("answer", house.timeout, self._not_answered)
        self._invite.begin()

    # What the agent does

    def say(self, text: str, display: str, done: Callable[[SipError | None], None]) -> None:
        """Send a text, after those that were given before it.

        Args:
            text: of any length; a long one goes in several parts.
            display: who says it.
            done: is called once, with None when Asterisk has all of it, else with what went wrong.
        """
        if self._state is not _State.UP:
            done(SipNotReached(f"there is no call to {self.number} (any more)"))
        elif len(self._texts) >= MAX_WAITING:
            done(SipNotReached(f"{MAX_WAITING} texts wait to be sent to {self.number} already"))
        else:
            self._texts.append(_Text(numbered(text), display, done))
            self._send_next()

    def hang_up(self, done: Callable[[], None]) -> None:
        """End the call; ``done`` is called when Asterisk knows, or does not answer.

        The watcher is told the texts that wait for earlier ones, and nothing more.
        """
        self._give_up_gap()
        if self._state is _State.OVER:
            done()
            return
        self._hung_up.append(done)
        if self._state is _State.CALLING:
            self._state = _State.ENDING
            if self._invite.heard:
                self._cancel()
        elif self._state is _State.UP:
            self._state = _State.ENDING
            self._stop()
            self._bye(lambda _end: self._close())

    # What becomes of the INVITE (Outcome)

    def responded(self, response: Response) -> None:
        """Take a response to our INVITE; see `agi_xmpp.sip.transactions.Outcome`."""
        if response.code < 200:
            if self._state is _State.ENDING:
                self._cancel()
        elif response.code < 300:
            self._taken(response)
        elif response.code == 422 and self._wish.interval == MIN_INTERVAL and (least := least_of(response)):
            self._wish = Session(least, we_refresh=True)
            self._invite.begin()
        elif self._state is _State.CALLING:
            what = f"the call to {self.number}"
            self._fail(self._house.failures.refused(response, what, self.number))
        else:
            self._close()

    def failed(self, failure: Failure) -> None:
        """Take that nobody answers our INVITE."""
        failures = self._house.failures
        if self._state is _State.CALLING:
            self._fail(failures.nobody_listens() if failure is Failure.UNREACHABLE else failures.silent())
        else:
            self._close()

    def refused(self) -> None:
        """Take that Asterisk's port refuses datagrams: it is not there, and so is no call of it."""
        self._end(f"nobody listens at {self._house.remote} any more")

    def lost(self) -> None:
        """Take that no datagrams come or go any more."""
        self._end("the socket of the call was closed")

    def _taken(self, response: Response) -> None:
        if not self.dialog.remote_tag:
            self.dialog.establish(response)
        elif party(response, "To").tag != self.dialog.remote_tag:
            return  # a fork (RFC 3261 section 13.2.2.4): Asterisk is one, and makes none
        # Each 2xx that comes, also the same again, wants its ACK.
        self._house.transactions.acknowledge(self.dialog.request("ACK", sequence=response.cseq.sequence))
        if self._state is _State.CALLING and not allows(response, "MESSAGE"):
            self._bye(lambda _end: None)
            self._fail(self._house.failures.no_texts())
        elif self._state is _State.CALLING:
            self._state = _State.UP
            self._drop_timer("answer")
            self._agree(agreed(response, we_ask=True))
            self._later("refresh", REFRESH, self._refresh)
            self._watcher.answered()
        elif self._state is _State.ENDING and not self._bye_sent:  # given up while it was taken
            self._bye(lambda _end: self._close())

    def _make_invite(self) -> Request:
        invite = self.dialog.request("INVITE", display=self._display)
        self._describe_us(invite)
        # Without a timer, Asterisk would keep the leg of a service that was killed.
        invite.headers.set("Session-Expires", self._wish.header(we_ask=True))
        invite.headers.set("Content-Type", CONTENT_TYPE)
        invite.body = self._description.offer()
        return invite

    def _not_answered(self) -> None:
        if self._state is _State.CALLING and self._invite.heard:
            self._state = _State.ENDING
            self._cancel()
            self._watcher.failed(self._house.failures.no_answer(self.number))

    def _cancel(self) -> None:
        """Cancel the INVITE, once; its own answer ends the call (RFC 3261 section 9.1)."""
        if "cancel" not in self._timers:
            self._later("cancel", TIMEOUT, self._close)
            self._invite.cancel(_Outcome(lambda _end: None))

    # Texts

    def _send_next(self) -> None:
        if self._sending or not self._texts or self._state is not _State.UP:
            return
        self._sending = True
        text = self._texts[0]

        def make() -> Request:
            request = self.dialog.request("MESSAGE", display=text.display)
            request.headers.set("Content-Type", "text/plain;charset=UTF-8")
            request.body = text.parts[text.sent].encode("utf-8", "replace")
            return request

        self._ask(make, lambda end: self._said(text, end))

    def _said(self, text: _Text, end: Response | Failure) -> None:
        self._sending = False
        if self._state is not _State.UP:
            return  # whoever waits for the text has been told
        if isinstance(end, Response) and end.code < 300:
            text.sent += 1
            if text.sent == len(text.parts):
                self._texts.popleft().done(None)
        else:
            self._texts.popleft().done(self._text_error(text, end))
            self._check_gone(end)
        self._send_next()

    def _text_error(self, text: _Text, end: Response | Failure) -> SipError:
        failures = self._house.failures
        error: SipError
        if end is Failure.SILENCE:
            error = failures.unknown()
        elif end is Failure.UNREACHABLE:
            error = failures.nobody_listens()
        elif end.code in _GONE:
            error = SipNotReached(f"Asterisk knows no call to {self.number} any more")
        else:
            error = failures.refused(end, "a text")
        if text.sent:
            return SipUnknown(f"only {text.sent} of {len(text.parts)} parts of a text were taken: {error}")
        return error

    # Requests of Asterisk's

    def request(self, request: Request, server: Server | None) -> None:
        """Take a request of this dialog; an ACK comes without a transaction."""
        sequence = request.cseq.sequence
        if server is None:
            self._confirmed(sequence)
            return
        if not self._order.is_new(sequence):
            # Its transaction is forgotten, and it came again nevertheless: what it brought has been told.
            server.respond(response(request, 200 if request.method == "MESSAGE" else 500))
            return
        came: tuple[str, str] | None = None
        match request.method:
            case "INVITE" | "UPDATE":
                self._renegotiate(request, server)
            case "MESSAGE":
                came = self._message(request, server)
            case "BYE":
                server.respond(response(request, 200))
            case "OPTIONS":
                self._accept(request, server)
            case "INFO":  # keys pressed, requests for a picture: nothing to us (RFC 6086 section 4.2.2 of old ones)
                server.respond(response(request, 200))
            case _:
                server.respond(response(request, 501, headers=[("Allow", ALLOW)]))
        for display, text in self._order.take(sequence, came):
            self._tell(display, text)
        if request.method == "BYE":
            self._end("Asterisk has hung up")
        else:
            self._wait_for_gap()

    def _message(self, request: Request, server: Server) -> tuple[str, str] | None:
        if request.headers.get("Content-Encoding", "identity") not in ("identity", ""):
            server.respond(response(request, 415, headers=[("Accept-Encoding", "identity")]))
            return None
        server.respond(response(request, 200))
        text = plain_text(request.body, request.headers.get("Content-Type", "text/plain") or "text/plain")
        return (heard_name(party(request, "From").name), text) if text.strip() else None

    def _tell(self, display: str, text: str) -> None:
        if self._state is _State.UP:
            self._watcher.text_came(display, text)

    def _wait_for_gap(self) -> None:
        if not self._order.has_gap:
            self._drop_timer("gap")
        elif "gap" not in self._timers:
            self._later("gap", GAP_WAIT, self._give_up_gap)

    def _give_up_gap(self) -> None:
        for display, text in self._order.give_up():
            self._tell(display, text)

    def _renegotiate(self, request: Request, server: Server) -> None:
        """Answer a re-INVITE or UPDATE: no voice, as before (RFC 3264 section 8, RFC 3311)."""
        interval = interval_of(request)
        if interval is not None and interval < MIN_INTERVAL:
            server.respond(response(request, 422, headers=[("Min-SE", str(MIN_INTERVAL))]))
            return
        is_invite = request.method == "INVITE"
        if is_invite and (self._answer_waits is not None or self._state is not _State.UP):
            server.respond(response(request, 491))
            return
        body: bytes | None = b""
        if request.body:
            body = self._description.answer(request.body)
        elif is_invite:
            body = self._description.offer()
        if body is None:
            server.respond(response(request, 488))
            return
        self.dialog.retarget(request)
        self._agree(agreed(request, we_ask=False))
        self._accept(request, server, body)

    def _accept(self, request: Request, server: Server, body: bytes = b"") -> None:
        answer = response(request, 200)
        self._describe_us(answer)
        if self._session is not None and request.method in ("INVITE", "UPDATE"):
            answer.headers.set("Session-Expires", self._session.header(we_ask=False))
            if not self._session.we_refresh:
                answer.headers.set("Require", "timer")
        if body:
            answer.headers.set("Content-Type", CONTENT_TYPE)
            answer.body = body
        server.respond(answer)
        if request.method == "INVITE":
            self._answer_again(request.cseq.sequence, answer, T1, TIMEOUT)

    def _answer_again(self, sequence: int, answer: Response, pause: float, left: float) -> None:
        """Send a 2xx again until its ACK comes (RFC 3261 section 13.3.1.4)."""

        def again() -> None:
            self._answer_waits = None
            if self._state is not _State.UP:
                return
            if left <= 0:
                self._give_up("Asterisk did not confirm a change of the call")
                return
            self._house.transactions.send_response(answer)
            self._answer_again(sequence, answer, min(pause * 2, T2), left - pause)

        self._answer_waits = sequence, self._house.timers.after(pause, again)

    def _confirmed(self, sequence: int) -> None:
        if self._answer_waits is not None and self._answer_waits[0] == sequence:
            self._answer_waits[1].cancel()
            self._answer_waits = None

    # Is it still there?

    def _agree(self, session: Session | None) -> None:
        """Take what was agreed on the session's timer."""
        self._session = session
        self._drop_timer("expiry")
        if session is not None:
            gone = "Asterisk did not refresh the call in time"
            self._later("expiry", session.ends_after, lambda: self._give_up(gone))

    def _refresh(self) -> None:
        """Refresh the session, and learn whether it still is.

        Asterisk 22 leaves an OPTIONS within a call unanswered; UPDATE (RFC 3311) it answers.
        """

        def make() -> Request:
            update = self.dialog.request("UPDATE")
            self._describe_us(update)
            if self._session is not None:
                update.headers.set("Session-Expires", self._session.header(we_ask=True))
            return update

        self._ask(make, self._refreshed)

    def _refreshed(self, end: Response | Failure) -> None:
        if isinstance(end, Response) and end.code < 300 and self._state is _State.UP:
            self._agree(agreed(end, we_ask=True))
        self._check_gone(end)
        if self._state is _State.UP:
            self._later("refresh", REFRESH, self._refresh)

    def _check_gone(self, end: Response | Failure) -> None:
        """End the call if the end of a request says that Asterisk, or its side of the call, is no longer there."""
        if self._state is not _State.UP:
            return
        if end is Failure.SILENCE:
            self._give_up(f"Asterisk did not answer within {self._house.timeout:g} s")
        elif end is Failure.UNREACHABLE:
            self.refused()
        elif end.code in _GONE:
            self._end("Asterisk knows nothing of the call any more (was it restarted?)")

    # The end

    def _give_up(self, reason: str) -> None:
        """End a call of which the other side may still think that it is."""
        if self._state is _State.UP:
            self._bye(lambda _end: None)
            self._end(reason)

    def _end(self, reason: str) -> None:
        self._give_up_gap()
        told = self._state is _State.UP
        self._close()
        if told:
            self._watcher.ended(reason)

    def _fail(self, error: SipError) -> None:
        self._close()
        self._watcher.failed(error)

    def _close(self) -> None:
        if self._state is _State.OVER:
            return
        self._state = _State.OVER
        self._stop()
        self._house.over(self)
        hung_up, self._hung_up = self._hung_up, []
        for done in hung_up:
            done()

    def _stop(self) -> None:
        """Stop all that goes on in the call, and tell whose texts will not be sent."""
        for name in list(self._timers):
            self._drop_timer(name)
        if self._answer_waits is not None:
            self._confirmed(self._answer_waits[0])
        texts, self._texts = self._texts, deque()
        for index, text in enumerate(texts):
            if index == 0 and self._sending:
                text.done(SipUnknown(f"the call to {self.number} ended before Asterisk said that it has the text"))
            else:
                text.done(SipNotReached(f"the call to {self.number} is over; the text was not sent"))

    def _bye(self, ended: Callable[[Response | Failure], None]) -> None:
        self._bye_sent = True
        self._ask(lambda: self.dialog.request("BYE"), ended)

    # Small helpers

    def _ask(self, make: Callable[[], Request], ended: Callable[[Response | Failure], None]) -> None:
        house = self._house
        Asking(house.transactions, house.digest, make, _Outcome(ended), house.timeout).begin()

    def _describe_us(self, message: Request | Response) -> None:
        message.headers.set("Contact", f"<{self.dialog.contact}>")
        message.headers.set("Allow", ALLOW)
        message.headers.set("Supported", ", ".join(sorted(EXTENSIONS)))

    def _later(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen later; what had the same name does not."""
        self._drop_timer(name)

        def act() -> None:
            self._timers.pop(name, None)
            action()

        self._timers[name] = self._house.timers.after(seconds, act)

    def _drop_timer(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()


def unknown_extensions(request: Request) -> list[str]:
    """Return what a request requires and we cannot do (RFC 3261 section 8.2.2.3)."""
    return [word for word in tokens(request, "Require") if word not in EXTENSIONS]
