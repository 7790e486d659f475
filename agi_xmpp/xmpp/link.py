"""One account's connection, kept alive: aioxmpp's `Client` behind a few calls that cannot hang or leak.

What this guards against (each reproduced with aioxmpp 0.13.3):

- `Client.send` waits without a limit while there is no session, and leaves listeners behind when it is cancelled.
- `Client.established` may stay true for ever after a failure. The state here is our own.
- `on_stream_resumed` is also emitted after a resumption that failed.
- A client that failed (`on_failure`) stops for good, with stanzas that never get a final state. It is replaced.
- A stanza of a broken session counts as sent (``SENT_WITHOUT_SM``): that is `Outcome.UNCONFIRMED` here.
- A handler that raises ends the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

import aioxmpp
from aioxmpp.stream import StanzaState

from agi_xmpp import __version__
from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import LoginFailed, NotConnected, XmppError
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp import failures, tuning
from agi_xmpp.xmpp.connector import Connector, security
from agi_xmpp.xmpp.jid import inward, outward
from agi_xmpp.xmpp.model import Jid, SessionState

log = logging.getLogger("agi_xmpp.xmpp")

#: Seconds of `stop` that are kept for dropping the connection by force.
FORCE_TIME = 0.5

#: Seconds before a client that failed is replaced: a bound for faults that nobody has thought of.
REPLACE_DELAY = 1.0


class Outcome(enum.Enum):
    """What became of a stanza."""

    ACKNOWLEDGED = "acknowledged"  # the server has it (XEP-0198)
    UNCONFIRMED = "unconfirmed"  # it left us; nothing more is known
    NOT_SENT = "not sent"  # it certainly did not reach the server
    REFUSED = "refused"  # the library cannot write it as XML; nothing was sent


_OUTCOMES = {
    StanzaState.ACKED: Outcome.ACKNOWLEDGED,
    StanzaState.SENT_WITHOUT_SM: Outcome.UNCONFIRMED,
    StanzaState.ABORTED: Outcome.NOT_SENT,
    StanzaState.DROPPED: Outcome.NOT_SENT,
    StanzaState.DISCONNECTED: Outcome.NOT_SENT,
    StanzaState.FAILED: Outcome.REFUSED,
}


# What enters a room, what an owner sets in its form (XEP-0045 sections 7.2.6 and 10.1.3), and the rest of either in the
# next piece that is read.
_ROOM_PASSWORD = re.compile(
    rb"(<password[^>]*>"
    rb"|<field[^>]*muc#roomconfig_roomsecret[^>]*>\s*<value>"
    rb"|^(?=[^<]*</(?:password|value)>))[^<]*"
)


class Delivery:
    """A stanza on its way to the server.

    Attributes:
        outcome: what became of it; may come late or, while the connection is broken, not for minutes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.outcome: asyncio.Future[Outcome] = loop.create_future()
        self._token: Any = None

    def begin(self, client: Any, stanza: Any) -> None:
        """Hand the stanza to the library.

        The token itself is never awaited: its future would keep an exception that nobody fetches.
        """
        self._token = client.enqueue(stanza, on_state_change=self._moved)

    def withdraw(self) -> bool:
        """Take it back if it has not left us. Returns True if it will certainly never be sent."""
        if self._token.state is StanzaState.ACTIVE:
            self._token.abort()
        return self.outcome.done() and self.outcome.result() is Outcome.NOT_SENT

    def give_up(self) -> None:
        """Settle it: the client that had it is gone."""
        if not self.outcome.done():
            left = self._token.state is not StanzaState.ACTIVE
            self.outcome.set_result(Outcome.UNCONFIRMED if left else Outcome.NOT_SENT)

    def _moved(self, _token: object, state: StanzaState) -> None:
        if state in _OUTCOMES and not self.outcome.done():
            self.outcome.set_result(_OUTCOMES[state])


def _hide_room_passwords(record: logging.LogRecord) -> bool:
    """Take the passwords of rooms out of what the library logs of the wire at DEBUG.

    It logs a stanza of ours in one piece up to 4 KB, which is more than one that enters a room has before its password.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(
            _ROOM_PASSWORD.sub(rb"\1(hidden)", arg) if isinstance(arg, bytes) else arg for arg in record.args
        )
    return True


class Listener(Protocol):
    """What the link tells its session. None of these may block; what they raise is logged."""

    def client_made(self, client: Any) -> None:
        """A new client, not yet started: register what answers its requests."""

    def session_began(self) -> None:
        """A new session: log in to everything again. A resumed one is not new."""

    def session_ended(self) -> None:
        """The session is gone for good, and with it what the server told us on it."""

    def message_came(self, message: Any) -> None:
        """A message stanza."""

    def presence_came(self, presence: Any) -> None:
        """A presence stanza."""


class Link:
    """Keeps one account connected from `start` to `stop`, as a client; `component_link.ComponentLink` as a component.

    Args:
        account: its name, for the log.
        jid: to log in as; with a resource, that one is asked for.
        settings: of the account.
        listener: is told what happens.
    """

    make_connector: Callable[..., Connector] = Connector
    make_client: Callable[..., Any] = aioxmpp.Client

    def __init__(self, account: str, jid: Jid, settings: AccountSettings, listener: Listener) -> None:
        self.account = account
        self.connects = 0
        self.state = SessionState.STOPPED
        self.since = time.time()
        self.failure: XmppError | None = None
        self._configured = jid
        self._bound: Jid | None = None
        self._settings = settings
        self._listener = listener
        self._reported = ""
        self._client: Any = None
        self._failed: asyncio.Future[Exception] | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._over = False  # stopped, which is not the same as not started yet
        self._deliveries: set[Delivery] = set()
        self._replies: set[asyncio.Future[Any]] = set()
        self._changed = asyncio.Event()
        self._connector = self.make_connector(
            jid,
            settings,
            Pace(settings.retry_max, time.monotonic),
            on_attempt=self._attempt_begins,
            on_failure=self._attempt_failed,
        )

    @property
    def jid(self) -> Jid:
        """The address that the server gave us, or the configured one before that."""
        return self._bound or self._configured

    @property
    def server(self) -> Jid:
        """Whom to ping: the answer comes when our server has processed all that we sent before."""
        return Jid("", self.jid.domain)

    @property
    def online(self) -> bool:
        """True if stanzas can be sent now."""
        return self.state is SessionState.ONLINE

    @property
    def tls(self) -> str:
        """Version and cipher, "" without encryption or connection."""
        return self._connector.tls if self.online else ""

    @property
    def acknowledges(self) -> bool:
        """True if the server acknowledges stanzas (XEP-0198)."""
        return self._client is not None and bool(self._client.stream.sm_enabled)

    @property
    def resumable(self) -> bool:
        """True if the server keeps the session when the connection breaks (XEP-0198)."""
        return self.acknowledges and bool(self._client.stream.sm_resumable)

    def start(self) -> None:
        """Begin to log in, and return at once."""
        if self._supervisor is not None:
            raise RuntimeError("the link was started already")
        tuning.apply()
        self._enter(SessionState.CONNECTING)
        self._supervisor = asyncio.create_task(self._supervise(), name=f"xmpp {self.account}")

    async def stop(self, timeout: float) -> None:
        """Log out and free everything, within ``timeout`` seconds (and `FORCE_TIME`, if that is longer)."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait({supervisor})
            await self._end_client(max(timeout - FORCE_TIME, 0.0))
        self._over = True
        self._enter(SessionState.STOPPED)

    async def until_online(self, deadline: float) -> None:
        """Wait for a session; before `start`, too: a reload makes the new link before the old one has logged out.

        Args:
            deadline: moment on the loop's clock.

        Raises:
            NotConnected: there is none by then; the text says why.
        """
        try:
            async with asyncio.timeout_at(deadline):
                while not self.online:
                    if self._over:
                        raise NotConnected(f"account {self.account} is stopped")
                    await self.next_change()
        except TimeoutError:
            raise NotConnected(f"account {self.account} is not connected: {self._why()}") from None

    async def next_change(self) -> None:
        """Return when the state has changed, or an attempt has failed."""
        await self._changed.wait()

    def send(self, stanza: Any) -> Delivery:
        """Hand a stanza to the library.

        Raises:
            NotConnected: there is no session.
        """
        delivery = Delivery(asyncio.get_running_loop())
        if not self.online:
            raise NotConnected(f"account {self.account} is not connected: {self._why()}")
        try:
            delivery.begin(self._client, stanza)
        except ConnectionError as error:
            raise NotConnected(f"account {self.account} is not connected: {error}") from None
        self._deliveries.add(delivery)
        delivery.outcome.add_done_callback(lambda _outcome: self._deliveries.discard(delivery))
        return delivery

    def post(self, stanza: Any) -> None:
        """Send a stanza whose fate nobody waits for. Without a session it is dropped."""
        with contextlib.suppress(NotConnected):
            self.send(stanza)

    def request(self, iq: Any) -> asyncio.Future[Any]:
        """Send an IQ request and return the future of its reply. Cancel it when you wait no longer.

        The future gets `aioxmpp.errors.XMPPError` if the reply is an error, and `ConnectionError` if the session ends.

        Raises:
            NotConnected: there is no session.
        """
        if not self.online:
            raise NotConnected(f"account {self.account} is not connected: {self._why()}")
        iq.autoset_id()
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        stream, address, iq_id = self._client.stream, iq.to, iq.id_
        self.send(iq)
        stream.register_iq_response_future(address, iq_id, reply)
        self._replies.add(reply)

        def forget(done: asyncio.Future[Any]) -> None:
            self._replies.discard(done)
            with contextlib.suppress(KeyError):
                stream.unregister_iq_response(address, iq_id)
            if not done.cancelled():
                done.exception()  # whoever is interested awaits it; for the others it is fetched here

        reply.add_done_callback(forget)
        return reply

    # The life of clients

    async def _supervise(self) -> None:
        """Keep a client running; replace it when it fails."""
        while True:
            try:
                error = await self._run_client()
            except Exception as unexpected:  # the service must outlive whatever this is
                error = unexpected
            self._client_failed(error)
            await self._end_client(0.0)
            # Coming back at once after a conflict would throw the other one out, who would come back too.
            patient = failures.is_conflict(error) or isinstance(error, LoginFailed)
            await asyncio.sleep(self._settings.login_retry if patient else REPLACE_DELAY)
            self._enter(SessionState.CONNECTING)

    async def _run_client(self) -> Exception:
        """Start a fresh client and return what it failed of."""
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._failed = failed
        # Made here and not earlier: from Python 3.14 on it needs a running loop.
        self._client = client = self._make_client()
        client.on_failure.connect(self._guarded(self._fail))
        client.start()
        return await failed

    def _fail(self, error: Exception) -> None:
        """Let the client be ended and replaced."""
        if self._failed is not None and not self._failed.done():
            self._failed.set_result(error)

    async def _end_client(self, timeout: float) -> None:
        """Close the client's session if there is one; after ``timeout`` seconds by force."""
        client, self._client = self._client, None
        if client is None:
            return
        ended = asyncio.Event()
        client.on_stopped.connect(ended.set)
        client.on_failure.connect(lambda _error: ended.set())
        for limit in (timeout, FORCE_TIME / 2, FORCE_TIME / 2):
            client.stop()  # again each time: a connection that breaks in this moment makes the library dial anew
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit):
                    while client.running:
                        await ended.wait()
            # A silent server would keep the library waiting for its </stream:stream>.
            self._connector.abort("the session was stopped")
        if client.running:  # never seen
            log.error("account %s: the session did not end in time", self.account)
        with contextlib.suppress(Exception):  # it ends by the error that broke the connection
            await client.stream.wait_stop()
        self._lose_session()
        for delivery in list(self._deliveries):
            delivery.give_up()
        for reply in list(self._replies):
            if not reply.done():  # given up in this very moment: it is forgotten with the loop's next turn
                reply.set_exception(ConnectionError("the session ended"))

    def _make_client(self) -> Any:
        settings = self._settings
        # The library tells every step at INFO and every break with a traceback. One sentence of ours is enough,
        # except for somebody who looks for a fault in it.
        engine_log = log.getChild("engine")
        engine_log.setLevel(logging.DEBUG if log.isEnabledFor(logging.DEBUG) else logging.CRITICAL)
        engine_log.getChild("XMLStream").addFilter(_hide_room_passwords)
        client = self.make_client(
            outward(self._configured),
            security(),
            negotiation_timeout=timedelta(seconds=settings.connect_timeout),
            max_initial_attempts=None,
            override_peer=[(self._configured.domain, 0, self._connector)],
            logger=engine_log,
        )
        client.backoff_start = timedelta(0)  # `Pace` is the only one that waits
        client.resumption_timeout = settings.resume_timeout
        client.stream.soft_timeout = timedelta(seconds=settings.keepalive)
        client.stream.round_trip_time = timedelta(seconds=settings.keepalive_timeout)
        client.on_stream_established.connect(self._guarded(self._established))
        client.on_stream_resumed.connect(self._guarded(self._resumed))
        client.on_stream_suspended.connect(self._guarded(self._suspended))
        client.on_stream_destroyed.connect(self._guarded(self._destroyed))
        client.stream.app_inbound_message_filter.register(self._guarded(self._listener.message_came), order=0)
        client.stream.app_inbound_presence_filter.register(self._guarded(self._listener.presence_came), order=0)
        self._offer_services(client)
        self._listener.client_made(client)
        return client

    def _offer_services(self, client: Any) -> None:
        """Answer disco#info (XEP-0030), ping (XEP-0199) and version (XEP-0092). The rest is service-unavailable."""
        disco = client.summon(aioxmpp.DiscoServer)
        disco.set_identity_names("client", "bot", {aioxmpp.structs.LanguageTag.fromstr("en"): "agi-xmpp"})
        client.summon(aioxmpp.PingService)
        version = client.summon(aioxmpp.VersionServer)
        version.name, version.version, version.os = "agi-xmpp", __version__, None

    def _conflict(self) -> str:
        """Return one sentence for having been thrown out by another one of us."""
        return f"another login with the resource of {self.jid} threw us out; give each its own in jid"

    # What the library and the connector tell

    @staticmethod
    def _guarded(function: Callable[..., None]) -> Callable[..., None]:
        """Return ``function`` as the library may call it.

        Whatever it raises would end the stream (a filter) or disconnect it (a signal), and anything true that a signal
        handler returns disconnects it, too. A filter that returns None has consumed the stanza.
        """

        def call(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except Exception:
                log.exception("a handler failed; the session goes on")

        return call

    def _attempt_begins(self) -> None:
        if self.state is not SessionState.SUSPENDED:
            self._enter(SessionState.CONNECTING)

    def _attempt_failed(self, error: XmppError, delay: float) -> None:
        again = f"trying again every {delay:g} s" if isinstance(error, LoginFailed) else "trying again"
        self._report(error, again)
        self._enter(SessionState.WAITING)

    def _established(self) -> None:
        bound = inward(self._client.local_jid)
        if self._settings.by_token and bound.bare != self._configured.bare:
            # Servers look for the account in the token (Prosody does not even read whom we ask to be).
            self._fail(LoginFailed(f"the token is of {bound.bare}, not of {self._configured.bare}"))
            return
        self._bound = bound
        self.connects += 1
        self._enter(SessionState.ONLINE)
        self._succeeded("online")
        self._listener.session_began()

    def _resumed(self) -> None:
        # Also emitted, after `established`, when the resumption failed and a new session began: then we are online.
        if not self.online:
            self._enter(SessionState.ONLINE)
            self._succeeded("resumed")

    def _suspended(self, reason: Exception | None = None) -> None:
        if self.online:
            log.warning("account %s: connection lost: %s", self.account, failures.lost(reason))
        self._enter(SessionState.SUSPENDED if self.resumable else SessionState.CONNECTING)

    def _destroyed(self, _reason: Exception | None = None) -> None:
        self._lose_session()

    def _client_failed(self, error: Exception) -> None:
        self._enter(SessionState.WAITING)
        if failures.is_conflict(error):
            self._report(
                NotConnected(self._conflict()),
                f"trying again every {self._settings.login_retry:g} s",
            )
        elif isinstance(error, LoginFailed):
            self._report(error, f"trying again every {self._settings.login_retry:g} s")
        elif isinstance(error, failures.EXPECTED):
            self._report(NotConnected(f"the session of {self.jid} failed: {failures.lost(error)}"), "trying again")
        else:
            log.error("account %s: unexpected error, beginning anew", self.account, exc_info=error)
            self.failure = NotConnected(f"unexpected error: {type(error).__name__}")
        self._pulse()

    def _lose_session(self) -> None:
        if self._bound is not None:
            self._bound = None
            self._guarded(self._listener.session_ended)()

    def _enter(self, state: SessionState) -> None:
        if state is not self.state:
            self.state = state
            self.since = time.time()
        self._pulse()

    def _pulse(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _report(self, error: XmppError, again: str) -> None:
        """Remember a failure, and log it once until another one or a success comes."""
        self.failure = error
        if str(error) != self._reported:
            self._reported = str(error)
            log.error("account %s: %s; %s", self.account, error, again)

    def _succeeded(self, what: str) -> None:
        self.failure = None
        self._reported = ""
        log.info("account %s: %s as %s, %s", self.account, what, self.jid, self.tls or "not encrypted")

    def _why(self) -> str:
        return str(self.failure) if self.failure else "still connecting"
