"""From settings to a logged-in stream: where, TCP, TLS, password or token. Tries until it succeeds.

aioxmpp asks a *connector* for a stream. Ours returns one that is logged in already, or goes on trying: it never fails.
That keeps the library's own error handling out of play, which would fall back to its stock connector (whose certificate
check is broken), stop for good on a DNS error, or dial without a pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import aiosasl
import aioxmpp
from aioxmpp import errors, nonza, protocol, sasl, security_layer

from agi_xmpp import tls
from agi_xmpp.config import AccountSettings, is_loopback
from agi_xmpp.errors import ConfigError, LoginFailed, NotConnected, TlsFailed, XmppError
from agi_xmpp.pace import Pace
from agi_xmpp.xmpp import failures, srv
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.oauthbearer import OAuthBearer, TokenRefused
from agi_xmpp.xmpp.transport import Bridge, Stream

log = logging.getLogger("agi_xmpp.xmpp.connector")


def security() -> Any:
    """Return the library's security layer, empty: TLS and login are our connector's affair.

    Should the library ever reach for its own TLS, it fails instead of connecting without a check.
    """
    return security_layer.SecurityLayer(_no_stock_tls, _no_stock_tls, True, ())


def _no_stock_tls(*_args: object) -> NoReturn:
    raise errors.TLSFailure("aioxmpp's own connectors are not used here")


class Connector:
    """Gives aioxmpp's `Client` logged-in streams. One for each account; it outlives the clients.

    Written for a client's login; a component's overrides what is different there.

    Args:
        jid: whom to log in.
        settings: of the account.
        pace: says how long to wait between attempts.
        on_attempt: called when an attempt begins.
        on_failure: called with what ended an attempt, and the seconds until the next one.
        find: finds the domain's servers.
    """

    #: What the protocol is called when TLS is negotiated before anything else (XEP-0368 section 3).
    alpn: Sequence[str] = ("xmpp-client",)

    # What aioxmpp asks of a connector
    tls_supported = True
    dane_supported = False

    def __init__(
        self,
        jid: Jid,
        settings: AccountSettings,
        pace: Pace,
        *,
        on_attempt: Callable[[], None],
        on_failure: Callable[[XmppError, float], None],
        find: Callable[..., Awaitable[list[srv.Target]]] = srv.find,
    ) -> None:
        self._jid = jid
        self._settings = settings
        self._pace = pace
        self._on_attempt = on_attempt
        self._on_failure = on_failure
        self._find = find
        self._domain = jid.domain.encode("idna").decode()  # as certificates and the DNS know it
        self._bridge: Bridge | None = None

    @property
    def tls(self) -> str:
        """Version and cipher of the current connection, "" without encryption."""
        transport = self._bridge.transport if self._bridge else None
        ssl_object = transport.get_extra_info("ssl_object") if transport else None
        if ssl_object is None:
            return ""
        cipher = ssl_object.cipher()
        return f"{ssl_object.version()} {cipher[0]}" if cipher else str(ssl_object.version())

    def abort(self, reason: str) -> None:
        """Drop the connection now, whatever it is doing."""
        if self._bridge is not None:
            self._bridge.lose(ConnectionAbortedError(reason))

    async def connect(
        self,
        loop: asyncio.AbstractEventLoop,  # noqa: ARG002 - aioxmpp's signature
        metadata: object,  # noqa: ARG002
        domain: str,  # noqa: ARG002
        host: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        negotiation_timeout: float,  # noqa: ARG002
        base_logger: logging.Logger,
    ) -> tuple[Any, Any, Any]:
        """Return a transport, a logged-in stream and its features, as aioxmpp's `Client` wants them."""
        # After a stream error the library leaves the old connection to the server, which may never close it.
        self.abort("a new connection takes its place")
        delay = self._pace.next_delay()
        while True:
            await asyncio.sleep(delay)
            self._on_attempt()
            try:
                result = await self._attempt(base_logger)
            except XmppError as error:
                delay = self._delay_after(error)
                self._on_failure(error, delay)
            else:
                self._pace.online()
                return result

    def _delay_after(self, error: XmppError) -> float:
        if isinstance(error, LoginFailed):
            # A server may lock an account that guesses too often.
            return self._settings.login_retry
        return self._pace.next_delay()

    async def _attempt(self, logger: logging.Logger) -> tuple[Any, Any, Any]:
        """Try each place once.

        Raises:
            LoginFailed: the first place that we could talk to refuses us: another will not know better.
            TlsFailed, NotConnected: none would do; the text names each reason.
        """
        failed: dict[str, XmppError] = {}
        for target in await self._targets():
            try:
                return await self._log_in(target, logger)
            except LoginFailed:
                raise
            except (TlsFailed, NotConnected) as error:
                failed.setdefault(str(error), error)
        kind = TlsFailed if any(isinstance(error, TlsFailed) for error in failed.values()) else NotConnected
        raise kind("; ".join(failed))

    async def _targets(self) -> list[srv.Target]:
        settings = self._settings
        direct = settings.tls == "direct"
        if settings.server is not None:
            default = srv.DIRECT_TLS_PORT if direct else srv.STARTTLS_PORT
            return [srv.Target(settings.server, settings.port or default, direct)]
        try:
            return await self._find(self._domain, direct_only=direct)
        except srv.NoService as error:
            raise NotConnected(str(error)) from None

    async def _log_in(self, target: srv.Target, logger: logging.Logger) -> tuple[Any, Any, Any]:
        try:
            # Read before anything is sent, and outside the time for the network: a command may take seconds.
            secret = await asyncio.to_thread(self._settings.secret)
            try:
                return await self._log_in_by(secret, target, logger)
            except TokenRefused:
                newer = await asyncio.to_thread(self._settings.secret)
                if newer == secret:
                    raise
                return await self._log_in_by(newer, target, logger)
        except Exception as error:
            if not isinstance(error, failures.EXPECTED):
                log.warning("unexpected while connecting to %s", target, exc_info=True)
            raise self._explain(error, str(target)) from None

    async def _log_in_by(self, secret: str, target: srv.Target, logger: logging.Logger) -> tuple[Any, Any, Any]:
        timeout = self._settings.connect_timeout
        context = self._ssl_context(target)
        async with asyncio.timeout(timeout), self._stream(target, context, logger) as (bridge, stream, greeting):
            starttls = None if target.direct_tls else context
            features = await self._negotiate(bridge, stream, greeting, starttls, secret)
            # From here to the end of resource binding the library waits without a limit of its own.
            stream.deadtime_hard_limit = timedelta(seconds=timeout)
            self._bridge = bridge
            return bridge.transport, stream, features

    def _explain(self, error: Exception, place: str) -> XmppError:
        """Return an error of ours for what ended an attempt to log in at ``place``."""
        return failures.explain(
            error,
            jid=str(self._jid.bare),
            domain=self._jid.domain,
            place=place,
            timeout=self._settings.connect_timeout,
            secret="token" if self._settings.by_token else "password",
        )

    @contextlib.asynccontextmanager
    async def _stream(
        self, target: srv.Target, context: ssl.SSLContext | None, logger: logging.Logger
    ) -> AsyncIterator[tuple[Bridge, Stream, Awaitable[Any]]]:
        """Open a connection and begin a stream on it; yield them and its greeting. A failure leaves nothing open."""
        stream = self._new_stream(logger)
        greeting = self._greeting(stream)  # before we connect: the server may be quicker than our next line
        bridge = self._new_bridge(stream)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: bridge,
                target.host,
                target.port,
                ssl=context if target.direct_tls else None,
                server_hostname=self._domain if target.direct_tls else None,
            )
            yield bridge, stream, greeting
        except BaseException as error:
            bridge.lose(error if isinstance(error, Exception) else ConnectionAbortedError("given up"))
            raise

    def _new_stream(self, logger: logging.Logger) -> Stream:
        return Stream(to=aioxmpp.JID.fromstr(self._jid.domain, strict=False), base_logger=logger)

    def _new_bridge(self, stream: Stream) -> Bridge:
        return Bridge(stream, self._domain)

    def _greeting(self, stream: Any) -> Awaitable[Any]:
        """Return what the server says first: its features."""
        features: Awaitable[Any] = stream.features_future()
        return features

    async def _negotiate(
        self, bridge: Bridge, stream: Any, greeting: Awaitable[Any], starttls: ssl.SSLContext | None, secret: str
    ) -> Any:
        """Encrypt, if that is still to be done, and log in; return the features of the stream that is left then."""
        features = await greeting
        if starttls is not None:
            features = await self._start_tls(starttls, stream, features)
        authenticate = self._authenticate_by_token if self._settings.by_token else self._authenticate
        return await authenticate(bridge.transport, stream, features, secret)

    async def _start_tls(self, context: ssl.SSLContext, stream: Stream, features: Any) -> Any:
        """Encrypt the stream and return the features of the new one.

        Asked for even if it is not offered: whoever strips the offer from the features gains nothing.
        """
        offered = features.has_feature(nonza.StartTLSFeature)
        try:
            answer = await protocol.send_and_wait_for(
                stream, [nonza.StartTLS()], [nonza.StartTLSProceed, nonza.StartTLSFailure]
            )
        except ConnectionError:  # a stream error is one, too
            if offered:
                raise
            raise failures.NoStartTls from None
        if not isinstance(answer, nonza.StartTLSProceed):
            raise failures.NoStartTls
        await stream.starttls(context)
        return await protocol.reset_stream_and_get_features(stream)

    async def _authenticate(self, transport: Any, stream: Any, features: Any, password: str) -> Any:
        """Log in by SCRAM, or by PLAIN on an encrypted connection; return the new stream's features."""

        async def give(_jid: object, _attempt: int) -> str:
            return password

        # One attempt: the library's default of three would count as three wrong passwords.
        provider = security_layer.PasswordSASLProvider(give, max_auth_attempts=1)
        return await security_layer.negotiate_sasl(
            transport,
            stream,
            [provider],
            negotiation_timeout=None,
            jid=aioxmpp.JID.fromstr(str(self._jid.bare), strict=False),
            features=features,
        )

    async def _authenticate_by_token(self, transport: Any, stream: Any, features: Any, token: str) -> Any:
        """Log in by OAUTHBEARER; return the new stream's features.

        Raises:
            failures.NoTokenLogin: the server does not offer it.
            TlsFailed: the connection is not encrypted. Whoever reads the token could log in by it.
        """
        if not transport.get_extra_info("sslcontext"):
            raise TlsFailed("a token is sent on an encrypted connection only")
        offered = _mechanisms(features)
        mechanism = OAuthBearer.any_supported(offered)
        if mechanism is None:
            raise failures.NoTokenLogin(offered)
        machine = aiosasl.SASLStateMachine(sasl.SASLXMPPInterface(stream))  # which keeps what it sends out of the log
        await OAuthBearer(str(self._jid.bare), token).authenticate(machine, mechanism)
        return await protocol.reset_stream_and_get_features(stream)

    def _ssl_context(self, target: srv.Target) -> ssl.SSLContext | None:
        """Return how to encrypt; None for ``tls = "none"``.

        Raises:
            TlsFailed: ``ca_file`` cannot be used.
        """
        settings = self._settings
        if settings.tls == "none":
            # The configuration has refused it already.
            if not (settings.accept_unencrypted or is_loopback(settings.server)):
                raise TlsFailed('tls = "none" is allowed towards this machine only')
            return None
        try:
            context = tls.client_context(settings.ca_file, accept_any_certificate=settings.accept_any_certificate)
        except ConfigError as error:
            raise TlsFailed(str(error)) from None
        if target.direct_tls and self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        return context


def _mechanisms(features: Any) -> list[str]:
    """Return the names of the SASL mechanisms that a server offers, without what is no name (RFC 4422 section 3.1)."""
    try:
        offered = features[security_layer.SASLMechanisms]
    except KeyError:
        return []
    return sorted(name for name in offered.get_mechanism_list() if re.fullmatch(r"[A-Z0-9_-]{1,20}", name))
