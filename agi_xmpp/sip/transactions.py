"""Transactions over UDP (RFC 3261 section 17, with RFC 6026): what is sent again, and what came already. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, Protocol

from sipmessage import CSeq, Request, Response

from agi_xmpp.sip.timers import Timer, Timers
from agi_xmpp.sip.wire import BRANCH_COOKIE, Place, branch, encode, response, via

#: Seconds (RFC 3261 section 17.1.1.1, table 4): a round trip, the longest pause between two tries, and the time for
#: which a datagram may be on its way.
T1: Final = 0.5
T2: Final = 4.0
T4: Final = 5.0
#: Seconds after which all tries are over (timers B, F, H, J, L, M), and for which a refusal is confirmed again (D).
TIMEOUT: Final = 64 * T1
_D: Final = 32.0

#: Answers that are kept in case their request comes again. Texts come at a few a second; the oldest make room.
MAX_KEPT: Final = 4096


class Failure(enum.Enum):
    """Why there is no answer to a request."""

    SILENCE = "silence"
    UNREACHABLE = "unreachable"  # the first try was refused by the port, or not sent at all: it has not arrived


class Outcome(Protocol):
    """Is told what becomes of a request. After a final response, or a failure, nothing comes any more; only each 2xx
    to an INVITE comes as often as it is received (RFC 6026): each one wants its ACK."""

    def responded(self, response: Response) -> None:
        """A response: first any number of provisional ones, then the final one."""

    def failed(self, failure: Failure) -> None:
        """There is no final response."""


class Client:
    """A request of ours. Make it by `Transactions.request`."""

    def __init__(self, layer: Transactions, request: Request, outcome: Outcome, patience: float) -> None:
        self.request = request
        self.key = (branch(request), request.method)
        #: True once any response has come.
        self.heard = False
        self._layer = layer
        self._outcome = outcome
        self._datagram = encode(request)
        self._tries = 0
        self._pause = T1
        self._final = False
        self._accepted = False
        self._confirmation: bytes | None = None
        timers = layer.timers
        self._deadline = timers.after(min(patience, TIMEOUT), self._give_up)
        self._again = timers.after(T1, self._send_again)

    @property
    def is_invite(self) -> bool:
        """True for an INVITE, whose rules are others."""
        return self.request.method == "INVITE"

    def begin(self) -> None:
        """Send it for the first time."""
        self._tries += 1
        self._layer.send(self._datagram)

    def receive(self, response: Response) -> None:
        """Take a response to it."""
        if response.code < 200:
            self._provisional(response)
        elif not self._final:
            self._finally(response)
        elif self._accepted and response.code < 300:
            self._outcome.responded(response)
        elif self._confirmation is not None:
            self._layer.send(self._confirmation)

    def fail(self, failure: Failure) -> None:
        """End it without an answer."""
        if self._final:
            return
        self._end_tries()
        self._layer.forget(self)
        self._outcome.failed(failure)

    def refused(self) -> None:
        """The port that it was sent to refuses datagrams."""
        self.fail(Failure.UNREACHABLE if self._tries <= 1 and not self.heard else Failure.SILENCE)

    def _provisional(self, response: Response) -> None:
        if self._final:
            return
        self.heard = True
        if self.is_invite:  # it has arrived, and how long it may take is the caller's affair
            self._deadline.cancel()
            self._again.cancel()
        else:
            self._pause = T2
        self._outcome.responded(response)

    def _finally(self, response: Response) -> None:
        self._end_tries()
        linger = T4
        if self.is_invite:
            self._accepted = response.code < 300
            linger = TIMEOUT if self._accepted else _D
            if not self._accepted:
                self._confirmation = encode(confirmation(self.request, response))
                self._layer.send(self._confirmation)
        self._layer.timers.after(linger, lambda: self._layer.forget(self))
        self._outcome.responded(response)

    def _send_again(self) -> None:
        self._tries += 1
        self._layer.send(self._datagram)
        self._pause = self._pause * 2 if self.is_invite else min(self._pause * 2, T2)
        self._again = self._layer.timers.after(self._pause, self._send_again)

    def _give_up(self) -> None:
        self.fail(Failure.SILENCE)

    def _end_tries(self) -> None:
        self._final = True
        self._deadline.cancel()
        self._again.cancel()


class Server:
    """A request of Asterisk's. `respond` answers it once, and again whenever it comes again."""

    def __init__(self, layer: Transactions, request: Request) -> None:
        self.request = request
        self._layer = layer
        self._answer: bytes | None = None
        self._again: Timer | None = None
        self._pause = T1

    def respond(self, answer: Response) -> None:
        """Send the final answer.

        That of a 2xx to an INVITE is sent again by the dialog, until its ACK comes (RFC 3261 section 13.3.1.4).
        """
        datagram = encode(answer)
        self._layer.send(datagram)
        if self.request.method != "INVITE":
            self._answer = datagram
        elif answer.code >= 300:
            self._answer = datagram
            self._again = self._layer.timers.after(T1, self._send_again)

    def ignore(self) -> None:
        """Leave it unanswered for now: when it comes again, it is a new one."""
        self._layer.forget_server(self)

    def receive_again(self) -> None:
        """Take the same request once more."""
        if self._answer is not None:
            self._layer.send(self._answer)

    def confirmed(self) -> None:
        """Take the ACK of a refused INVITE."""
        self._answer = None
        if self._again is not None:
            self._again.cancel()

    def _send_again(self) -> None:
        if self._answer is not None:
            self._layer.send(self._answer)
            self._pause = min(self._pause * 2, T2)
            self._again = self._layer.timers.after(self._pause, self._send_again)


class Transactions:
    """All transactions with one Asterisk.

    Args:
        timers: see there.
        send: sends a datagram.
        place: our own address.
        new_token: returns a random word each time.
        on_request: called with each request that is new; ACK comes without a transaction.
    """

    def __init__(
        self,
        timers: Timers,
        send: Callable[[bytes], None],
        place: Place,
        new_token: Callable[[], str],
        on_request: Callable[[Request, Server | None], None],
    ) -> None:
        self.timers = timers
        self.send = send
        self._place = place
        self._new_token = new_token
        self._on_request = on_request
        self._clients: dict[tuple[str, str], Client] = {}
        self._servers: dict[tuple[str, str, str], Server] = {}

    def request(self, request: Request, outcome: Outcome, patience: float = TIMEOUT) -> Client:
        """Send a request; its Via is added.

        Args:
            request: with all other headers.
            outcome: is told what becomes of it.
            patience: seconds for its final response, `TIMEOUT` at the most; of an INVITE: for any response.
        """
        return self._begin(request, BRANCH_COOKIE + self._new_token(), outcome, patience)

    def cancel(self, invite: Client, outcome: Outcome) -> Client:
        """Send the CANCEL of an INVITE that has had a provisional response (RFC 3261 section 9.1)."""
        return self._begin(_like(invite.request, "CANCEL"), branch(invite.request), outcome, TIMEOUT)

    def acknowledge(self, ack: Request) -> None:
        """Send the ACK of a 2xx; it belongs to no transaction, and nobody answers it (RFC 3261 section 13.2.2.4)."""
        ack.headers.set("Via", via(self._place, BRANCH_COOKIE + self._new_token()))
        self.send(encode(ack))

    def send_response(self, answer: Response) -> None:
        """Send an answer once more."""
        self.send(encode(answer))

    def receive_response(self, response: Response) -> None:
        """Take a response; one that answers nothing of ours is dropped (RFC 3261 section 18.1.2)."""
        client = self._clients.get((branch(response), response.cseq.method))
        if client is not None:
            client.receive(response)

    def receive_request(self, request: Request) -> None:
        """Take a request: a new one is handed on."""
        key = self._key(request, "INVITE" if request.method in ("ACK", "CANCEL") else request.method)
        known = self._servers.get(key)
        if request.method == "ACK":
            if known is not None:
                known.confirmed()
            self._on_request(request, None)
        elif request.method == "CANCEL":
            # We answer each INVITE at once, so there is never anything left to cancel (RFC 3261 section 9.2).
            self.send(encode(response(request, 200 if known is not None else 481, tag=self._new_token())))
        elif known is not None:
            known.receive_again()
        else:
            self._on_request(request, self._serve(key, request))

    def refused(self) -> None:
        """The port of the other side refuses datagrams: nobody is there."""
        for client in list(self._clients.values()):
            client.refused()

    def close(self) -> None:
        """No datagrams come or go any more: what became of the requests that are under way, nobody knows."""
        for client in list(self._clients.values()):
            client.fail(Failure.SILENCE)

    def forget(self, client: Client) -> None:
        """Take no more responses for a request. What is called for one that was forgotten does nothing."""
        self._clients.pop(client.key, None)

    def forget_server(self, server: Server) -> None:
        """Take a request as new when it comes again."""
        key = self._key(server.request, server.request.method)
        if self._servers.get(key) is server:
            del self._servers[key]

    def _begin(self, request: Request, branch_id: str, outcome: Outcome, patience: float) -> Client:
        request.headers.set("Via", via(self._place, branch_id))
        client = Client(self, request, outcome, patience)
        self._clients[client.key] = client
        client.begin()
        return client

    def _serve(self, key: tuple[str, str, str], request: Request) -> Server:
        if len(self._servers) >= MAX_KEPT:
            self._servers.pop(next(iter(self._servers)))
        server = Server(self, request)
        self._servers[key] = server

        def end() -> None:
            if self._servers.get(key) is server:
                server.confirmed()
                del self._servers[key]

        self.timers.after(TIMEOUT, end)
        return server

    @staticmethod
    def _key(request: Request, method: str) -> tuple[str, str, str]:
        """Return what a request and its repetitions have in common (RFC 3261 section 17.2.3)."""
        top = request.via[0]
        return branch(request) or f"{request.call_id} {request.cseq.sequence}", f"{top.host}:{top.port}", method


def confirmation(invite: Request, answer: Response) -> Request:
    """Return the ACK of a refusal (RFC 3261 section 17.1.1.3)."""
    ack = _like(invite, "ACK")
    ack.headers.set("Via", invite.headers["Via"])
    ack.headers.set("To", answer.headers["To"])
    return ack


def _like(invite: Request, method: str) -> Request:
    """Return a request that belongs to the same transaction as an INVITE."""
    request = Request(method, invite.uri)
    for name in ("Via", "Max-Forwards", "Route", "From", "To", "Call-ID"):
        if values := invite.headers.getlist(name):
            request.headers.setlist(name, list(values))
    request.cseq = CSeq(invite.cseq.sequence, method)
    return request
