"""One manager connection (AMI), from the greeting to its end: actions out, answers and events in.

`connect` makes one that is logged in. It does not come back when it breaks; `client` makes a new one then.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import logging
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from agi_xmpp import tls
from agi_xmpp.ami import failures
from agi_xmpp.ami.model import Message
from agi_xmpp.ami.wire import AmiParser, Kind, Received, encode_action
from agi_xmpp.config import AmiSettings
from agi_xmpp.errors import AmiError, AmiNotConnected, AmiProtocolError, AmiRefused, AmiUnknown

log = logging.getLogger("agi_xmpp.ami")

#: The classes of events that we ask for. The user's line ``read =`` decides what of them comes: of a user who may read
#: all, the rest (each step of the dialplan) stays away. ``system`` with its FullyBooted is not among them: a user with
#: the least privileges never sees it.
EVENTS: Final = "call,agent,user"

#: Actions that wait for their answer at once. Asterisk answers thousands a second: more than this means that it hangs.
PENDING_LIMIT: Final = 1000

#: Seconds that Asterisk gets to answer a Logoff.
LOGOFF_TIME: Final = 0.5


@dataclass(slots=True)
class _Pending:
    """An action whose answer has not come.

    Attributes:
        answer: the response, or why there is none. As a result in either case: an exception that nobody waits for any
            more would be reported as never retrieved.
        items: of the list so far; None if the answer is none.
    """

    answer: asyncio.Future[Received | AmiError]
    items: list[Message] | None

    def settle(self, answer: Received | AmiError) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class Connection(asyncio.Protocol):
    """A connection to Asterisk's manager port. Make it by `connect`.

    Args:
        settings: ``[ami]``.
        on_event: called with each event that is not an item of a list. What it raises is logged.

    Attributes:
        lost: done when the connection is gone; why, in a few words.
        encryption: version of TLS, "" without.
    """

    def __init__(self, settings: AmiSettings, on_event: Callable[[Message], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.encryption = ""
        self._settings = settings
        self._place = address(settings)
        self._on_event = on_event
        self._parser = AmiParser()
        self._transport: asyncio.Transport | None = None
        self._greeted = asyncio.Event()
        self._broken: AmiProtocolError | None = None
        self._reason = ""
        self._pending: dict[str, _Pending] = {}
        self._heard = asyncio.Event()
        self._heard_at = self._loop.time()
        # Unguessable: an answer to another action, or one that a value smuggles in, is never taken for ours.
        prefix = secrets.token_hex(4)
        self._ids = (f"{prefix}-{number}" for number in itertools.count(1))

    @property
    def version(self) -> str:
        """Version of the manager interface, "" before it greeted."""
        return self._parser.version

    async def greeting(self) -> None:
        """Return when Asterisk has introduced itself.

        Raises:
            AmiProtocolError: somebody else answers there.
            AmiNotConnected: the connection ended before.
        """
        await self._greeted.wait()
        if self._broken is not None:
            raise AmiProtocolError(f"{self._place}: {self._broken}")
        if not self.version:
            raise AmiNotConnected(f"{self._place} ended the connection before it said anything: {self.lost.result()}")

    async def log_in(self, secret: str) -> None:
        """Log in without sending the secret (challenge and response, MD5).

        Raises:
            AmiRefused: Asterisk refuses us.
            AmiNotConnected: the connection broke.
        """
        user, timeout = self._settings.username, self._settings.connect_timeout
        try:
            challenge = (await self.action("Challenge", {"AuthType": "MD5"}, timeout=timeout)).get("Challenge", "")
            # MD5 is all that AMI has; towards other machines the configuration asks for TLS.
            key = hashlib.md5(f"{challenge}{secret}".encode(), usedforsecurity=False).hexdigest()
            login = {"AuthType": "MD5", "Username": user, "Key": key, "Events": EVENTS}
            await self.action("Login", login, timeout=timeout)
        except AmiRefused as error:
            raise failures.login_refused(str(error), user, self._place) from None
        except (AmiUnknown, AmiNotConnected):
            reason = self.lost.result() if self.lost.done() else "Asterisk does not answer"
            raise AmiNotConnected(f"no login at {self._place}: {reason}") from None

    async def action(
        self,
        name: str,
        headers: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Message:
        """Carry out an action; see `agi_xmpp.ami.model.Ami.action`."""
        return await self._ask(name, headers, variables, timeout, None)

    async def items(
        self, name: str, headers: Mapping[str, str] | None = None, *, timeout: float | None = None
    ) -> Sequence[Message]:
        """Carry out an action that answers with a list; see `agi_xmpp.ami.model.Ami.items`."""
        found: list[Message] = []
        try:
            response = await self._ask(name, headers, None, timeout, found)
        except AmiRefused as error:
            if failures.is_empty_list(str(error)):
                return []
            raise
        if response.get("EventList", "").casefold() == "cancelled":
            raise AmiRefused(f"Asterisk gave up the list of {name} before its end")
        return found

    async def stay(self, keepalive: float, keepalive_timeout: float) -> str:
        """Return when the connection is gone, and why. A silent one is ended.

        Args:
            keepalive: seconds of silence before Asterisk is asked whether it is there.
            keepalive_timeout: seconds for it to say anything at all.
        """
        while not self.lost.done():
            quiet = self._loop.time() - self._heard_at
            if quiet < keepalive:
                await asyncio.wait({self.lost}, timeout=keepalive - quiet)
                continue
            if not await self._answers(keepalive_timeout):
                self.abort(f"Asterisk was silent for {keepalive + keepalive_timeout:g} s")
                await asyncio.wait({self.lost})
        return self.lost.result()

    async def finish(self) -> None:
        """Let Asterisk answer what it was asked, in the time that it has for an action; then end the connection."""
        answers = [pending.answer for pending in self._pending.values()]
        if answers:
            await asyncio.wait(answers, timeout=self._settings.action_timeout)
        await self.log_off()

    async def log_off(self) -> None:
        """End the connection in order; after `LOGOFF_TIME` by force."""
        try:
            with contextlib.suppress(AmiNotConnected):
                self._write(encode_action("Logoff", next(self._ids)))
            await asyncio.wait({self.lost}, timeout=LOGOFF_TIME)
        finally:
            self.abort("the connection was ended by us")
        await asyncio.wait({self.lost})

    def abort(self, reason: str) -> None:
        """Drop the connection now."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._heard_at = self._loop.time()
        connection = transport.get_extra_info("socket")
        if connection is not None:  # a peer that is gone without a word is noticed even while we wait for the login
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        ssl_object = transport.get_extra_info("ssl_object")
        self.encryption = ssl_object.version() or "" if ssl_object is not None else ""

    def data_received(self, data: bytes) -> None:
        """Read what came; each event is handed on before this returns."""
        self._heard_at = self._loop.time()
        self._heard.set()
        self._parser.receive_data(data)
        try:
            while (message := self._parser.next_message()) is not None:
                self._dispatch(message)
        except AmiProtocolError as error:
            self._broken = error
            self.abort(str(error))
        if self._broken is not None or self.version:
            self._greeted.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Settle what waits: nobody knows what became of it."""
        if not self._reason:
            lost = failures.os_reason(exc) if isinstance(exc, OSError) else "Asterisk closed the connection"
            self._reason = lost
        if not self.lost.done():
            self.lost.set_result(self._reason)
        self._greeted.set()
        self._heard.set()
        pending, self._pending = self._pending, {}
        for waiting in pending.values():
            waiting.settle(AmiUnknown(f"the connection to Asterisk broke before the answer came: {self._reason}"))

    # Inner workings

    async def _answers(self, timeout: float) -> bool:
        """Ask Asterisk whether it is there; any byte of it is an answer, and so is the end of the connection."""
        self._heard.clear()
        with contextlib.suppress(AmiNotConnected):  # it ends in this moment
            self._write(encode_action("Ping", next(self._ids)))
        try:
            async with asyncio.timeout(timeout):
                return await self._heard.wait()
        except TimeoutError:
            return False

    async def _ask(
        self,
        name: str,
        headers: Mapping[str, str] | None,
        variables: Mapping[str, str] | None,
        timeout: float | None,
        items: list[Message] | None,
    ) -> Message:
        action_id = next(self._ids)
        data = encode_action(name, action_id, headers, variables)
        if len(self._pending) >= PENDING_LIMIT:
            raise AmiNotConnected(f"Asterisk has not answered {PENDING_LIMIT} actions; {name} was not sent")
        pending = _Pending(self._loop.create_future(), items)
        self._write(data)
        self._pending[action_id] = pending
        limit = self._settings.action_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit):
                answer = await pending.answer
        except TimeoutError:
            raise AmiUnknown(f"Asterisk did not answer {name} within {limit:g} s; it may have done it or not") from None
        finally:
            # The items of a list that nobody waits for (any more) may still come, and are no events for the listener.
            if pending.items is None:
                self._pending.pop(action_id, None)
        if isinstance(answer, AmiError):
            raise answer
        if answer.get("Response") == "Error":
            raise failures.refused(name, answer.get("Message", "").strip(), self._settings.username)
        return answer

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise AmiNotConnected("there is no connection to Asterisk; nothing was sent")
        self._transport.write(data)

    def _dispatch(self, message: Received) -> None:
        pending = self._pending.get(message.action_id)
        if message.kind is Kind.RESPONSE:
            if pending is not None:
                self._response(pending, message)
        elif message.kind is Kind.NEITHER:
            log.warning("Asterisk sent something that is neither event nor response (a line break in a value?)")
        elif pending is not None and pending.items is not None:
            self._item(pending, pending.items, message)
        else:
            self._event(message)

    def _response(self, pending: _Pending, message: Received) -> None:
        if message.get("EventList", "").casefold() == "start":
            if pending.items is None:  # a list that was not asked for, such as that of Hangup with a pattern
                pending.items = []
                pending.settle(message)
            return  # the items follow
        self._pending.pop(message.action_id)
        pending.settle(message)

    def _item(self, pending: _Pending, items: list[Message], message: Received) -> None:
        if message.get("EventList", "").casefold() in ("complete", "cancelled"):
            self._pending.pop(message.action_id)
            pending.settle(message)
        elif not pending.answer.done():
            items.append(message)

    def _event(self, message: Received) -> None:
        try:
            self._on_event(message)
        except Exception:
            log.exception("handling an event of Asterisk failed; the connection goes on")


async def connect(settings: AmiSettings, on_event: Callable[[Message], None]) -> Connection:
    """Connect and log in.

    Args:
        settings: ``[ami]``. The password is fetched anew.
        on_event: called with each event, from the login on.

    Raises:
        AmiRefused: Asterisk refuses us, or we have no password: trying again soon is of no use.
        AmiError: anything else; one sentence says what and where.
    """
    host = settings.host.strip("[]")
    encrypted = settings.tls == "direct"
    connection: Connection | None = None

    def make() -> Connection:
        nonlocal connection
        connection = Connection(settings, on_event)
        return connection

    try:
        # Outside the time for the network: a command may take seconds.
        secret = await asyncio.to_thread(settings.secret)
        context = None
        if encrypted:
            context = await asyncio.to_thread(
                tls.client_context, settings.ca_file, accept_any_certificate=settings.accept_any_certificate
            )
        async with asyncio.timeout(settings.connect_timeout):
            _transport, made = await asyncio.get_running_loop().create_connection(
                make, host, settings.port, ssl=context, server_hostname=host if context else None
            )
            await made.greeting()
            await made.log_in(secret)
    except BaseException as error:
        if connection is not None:
            connection.abort("the login was given up")
        if not isinstance(error, Exception):
            raise
        raise failures.connecting(
            error, host=host, place=address(settings), timeout=settings.connect_timeout, encrypted=encrypted
        ) from None
    return made


def address(settings: AmiSettings) -> str:
    """Return host and port as texts name them."""
    return f"{settings.host}:{settings.port}"
