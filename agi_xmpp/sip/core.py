"""The agent without its socket: datagrams and the time in; datagrams, and what happened, out. Pure."""

from __future__ import annotations

from collections.abc import Callable

from sipmessage import Request, Response

from agi_xmpp.errors import SipError
from agi_xmpp.sip.asking import Asking
from agi_xmpp.sip.call import ALLOW, Call, House, Watcher, unknown_extensions
from agi_xmpp.sip.dialog import Dialog
from agi_xmpp.sip.digest import Digest
from agi_xmpp.sip.failures import Failures
from agi_xmpp.sip.timers import Timers
from agi_xmpp.sip.transactions import Failure, Server, Transactions
from agi_xmpp.sip.wire import BadMessage, Place, allows, parse, party, response


class Core:
    """An agent of one endpoint, at one address, with one Asterisk.

    Args:
        endpoint: ours in pjsip.conf, also the user name of its ``auth``.
        password: of its ``auth``; "" for none.
        local, remote: our address and Asterisk's.
        timeout: seconds for a text, and for a call to be answered.
        send: sends a datagram; it must not call back.
        clock: returns seconds, never fewer than before.
        new_token: returns a random word of letters and digits each time.
        new_number: returns a random number below 2**31 each time.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        password: str,
        local: Place,
        remote: Place,
        timeout: float,
        send: Callable[[bytes], None],
        clock: Callable[[], float],
        new_token: Callable[[], str],
        new_number: Callable[[], int],
    ) -> None:
        timers = Timers(clock)
        transactions = Transactions(timers, send, local, new_token, self._on_request)
        self._house = House(
            endpoint=endpoint,
            local=local,
            remote=remote,
            timeout=timeout,
            timers=timers,
            transactions=transactions,
            digest=Digest(endpoint, password, new_token),
            failures=Failures(str(remote), endpoint, timeout, bool(password)),
            new_token=new_token,
            new_number=new_number,
            over=self._over,
        )
        self._calls: dict[str, Call] = {}

    @property
    def calls(self) -> int:
        """How many calls there are."""
        return len(self._calls)

    def call(self, number: str, display: str, watcher: Watcher) -> Call:
        """Call a number; see `agi_xmpp.sip.call.Call`."""
        call = Call(self._house, number, display, watcher)
        self._calls[call.dialog.call_id] = call
        return call

    def options(self, number: str, done: Callable[[SipError | None], None]) -> None:
        """Ask Asterisk what it can (RFC 3261 section 11): whether it is there and knows us.

        Args:
            number: whether that could be called, too; "" for Asterisk as such.
            done: is called once, with None if all is well, else with what is not.
        """
        house = self._house
        dialog = Dialog(
            call_id=house.new_token(),
            local=house.local.uri(house.endpoint),
            remote=house.remote.uri(number or None),
            contact=house.local.uri(house.endpoint),
            tag=house.new_token(),
            sequence=0,
        )

        def make() -> Request:
            request = dialog.request("OPTIONS")
            request.headers.set("Contact", f"<{dialog.contact}>")
            request.headers.set("Accept", "application/sdp")
            return request

        Asking(house.transactions, house.digest, make, _Probe(house.failures, number, done), house.timeout).begin()

    def receive(self, datagram: bytes) -> None:
        """Take a datagram of Asterisk's; what is no SIP message is dropped (so are the blanks of a keep-alive)."""
        try:
            message = parse(datagram)
        except BadMessage:
            return
        if isinstance(message, Response):
            self._house.transactions.receive_response(message)
        else:
            self._house.transactions.receive_request(message)

    def refused(self) -> None:
        """Take that Asterisk's port refuses datagrams."""
        self._house.transactions.refused()
        for call in list(self._calls.values()):
            call.refused()

    def close(self) -> None:
        """Take that no datagrams come or go any more: nobody is to wait for what is under way."""
        self._house.transactions.close()
        for call in list(self._calls.values()):
            call.lost()

    def wake_at(self) -> float | None:
        """Return when `run_timers` is to be called next, by the clock; None if nothing is to come."""
        return self._house.timers.next_at()

    def run_timers(self) -> None:
        """Do what is due."""
        self._house.timers.run()

    def _on_request(self, request: Request, server: Server | None) -> None:
        call = self._calls.get(request.call_id)
        if call is not None and call.dialog.owns(request):
            if server is not None and (unknown := unknown_extensions(request)):
                server.respond(response(request, 420, headers=[("Unsupported", ", ".join(unknown))]))
            else:
                call.request(request, server)
        elif server is not None and call is not None and call.dialog.is_early(request):
            server.ignore()  # it has overtaken the answer to our INVITE, and comes again
        elif server is not None:
            self._stray(request, server)

    def _stray(self, request: Request, server: Server) -> None:
        """Answer a request outside our calls: nobody calls us, or tells us anything."""
        code = 200 if request.method == "OPTIONS" else 403
        if party(request, "To").tag:
            code = 481
        server.respond(response(request, code, tag=self._house.new_token(), headers=[("Allow", ALLOW)]))

    def _over(self, call: Call) -> None:
        self._calls.pop(call.dialog.call_id, None)


class _Probe:
    """What becomes of an OPTIONS."""

    def __init__(self, failures: Failures, number: str, done: Callable[[SipError | None], None]) -> None:
        self._failures = failures
        self._number = number
        self._done = done

    def responded(self, response: Response) -> None:
        if response.code >= 300:
            self._done(self._failures.refused(response, "to say what it can", self._number))
        elif response.code >= 200:
            self._done(None if allows(response, "MESSAGE") else self._failures.no_texts())

    def failed(self, failure: Failure) -> None:
        unreachable = failure is Failure.UNREACHABLE
        self._done(self._failures.nobody_listens() if unreachable else self._failures.silent())
