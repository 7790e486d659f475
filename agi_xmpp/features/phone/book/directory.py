"""An LDAP directory as a source (RFC 4511).

The library is ldap3 (extra ``ldap``): it is pure Python, so that it installs wherever we do, while python-ldap and
bonsai must be compiled against OpenLDAP's headers. It is dormant since 2021, and its traps are cured here:

- its TLS verifies nothing unless told to, and then not by Python's own means: `_verified_tls`;
- its ``receive_timeout`` takes whole seconds only: the connection's own timeout is used, and `_Attempt.abort`;
- it follows referrals with our password: turned off.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agi_xmpp.config import BookSettings, is_loopback
from agi_xmpp.errors import ConfigError
from agi_xmpp.features.phone.book.model import Entry, SourceError, entry
from agi_xmpp.features.phone.book.number import Number

if TYPE_CHECKING:
    import ldap3

#: Look-ups at once, each with a connection and a thread of its own: directories limit connections, and calls come one
#: after the other. A connection lives for one look-up: names are cached, and an idle one would break unnoticed.
MAX_CONNECTIONS = 4
#: Entries asked for; the first that has a name counts. Several people may share a number.
MAX_ENTRIES = 5
#: Bytes of a whole conversation: those entries, with room for long names.
MAX_ANSWER = 1024 * 1024

#: Attributes by what they mean to us, the best first (RFC 4519, RFC 2798, RFC 2079).
_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "name": ("displayName", "cn"),
    "company": ("o", "company"),
    "link": ("labeledURI",),
}
#: Result codes that mean an answer (RFC 4511 appendix A): success, and more entries than we wanted.
_ANSWERS = (0, 4)


class DirectorySource:
    """A directory. Implements `Source`.

    Args:
        settings: with ``ldap`` set.

    Raises:
        ConfigError: something in the settings cannot work, or the extra is not installed.
    """

    def __init__(self, settings: BookSettings) -> None:
        address = urlsplit(settings.ldap)
        try:
            host, port = address.hostname, address.port
        except ValueError:
            raise ConfigError(f"phone.book.ldap: {settings.ldap!r} has no valid port") from None
        if not host:
            raise ConfigError(f"phone.book.ldap: {settings.ldap!r} names no host")
        self._settings = settings
        self._host = host
        self._direct_tls = address.scheme == "ldaps"
        self._port = port or (636 if self._direct_tls else 389)
        # RFC 4513 section 3; towards this machine, nobody is between.
        self._start_tls = not self._direct_tls and not is_loopback(host)
        if not settings.ldap_base:
            raise ConfigError("phone.book.ldap needs ldap_base: where in the directory to search")
        if bool(settings.ldap_user) != (settings.ldap_password_file is not None):
            raise ConfigError("phone.book: ldap_user and ldap_password_file need each other")
        self._password()  # found missing now rather than at the first call
        self._tls = _context(settings.ldap_ca_file) if self._direct_tls or self._start_tls else None
        self._check_filter()
        self._threads = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="phone-book-ldap")

    @property
    def name(self) -> str:
        """For logs and reports."""
        return f"directory {self._host}"

    async def find(self, number: Number) -> Entry | None:
        """Search the directory; SourceError if that fails. Being cancelled ends the connection."""
        attempt = _Attempt()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, attempt, number)
        except asyncio.CancelledError:
            attempt.abort()
            raise

    async def stop(self) -> None:
        """End the threads as soon as they have nothing to do."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def filter(self, number: Number) -> str:
        """Return the filter for a number (RFC 4515)."""
        from ldap3.utils.conv import escape_filter_chars

        values = {"number": number.dialled, "e164": number.best, "national": number.national or number.dialled}
        escaped = {key: escape_filter_chars(value) for key, value in values.items()}
        return self._settings.ldap_filter.format_map(escaped)

    def _check_filter(self) -> None:
        try:
            from ldap3.core.exceptions import LDAPInvalidFilterError
            from ldap3.operation import search
        except ImportError:
            raise ConfigError("phone.book.ldap needs the extra: pip install 'agi-xmpp[ldap]'") from None
        text = self._settings.ldap_filter
        try:
            fields = {field for _text, field, *_rest in Formatter().parse(text) if field is not None}
            if not fields or not fields <= {"number", "e164", "national"}:
                raise ConfigError(
                    "phone.book.ldap_filter needs {number}, {e164} or {national}, and nothing else in braces"
                )
            # What ldap3 does with a filter before it sends it: no schema, no escaping of its own, no check of names.
            parsed = search.parse_filter(self.filter(Number("0")), None, False, False, None, False)  # type: ignore[no-untyped-call]
            search.compile_filter(parsed.elements[0])  # type: ignore[no-untyped-call]
        except (ValueError, LDAPInvalidFilterError):
            raise ConfigError(f"phone.book.ldap_filter: not a filter as of RFC 4515: {text}") from None

    def _password(self) -> str:
        path = self._settings.ldap_password_file
        if path is None:
            return ""
        try:
            password = path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigError(f"phone.book.ldap_password_file {path}: {reason}") from None
        if not password:  # the server would take the bind for an anonymous one (RFC 4513 section 5.1.2)
            raise ConfigError(f"phone.book.ldap_password_file {path}: its first line is empty")
        return password

    def _ask(self, attempt: _Attempt, number: Number) -> Entry | None:
        """Connect, bind, search; called in a thread."""
        from ldap3.core.exceptions import LDAPException

        tls = _verified_tls(self._tls, self._host) if self._tls is not None else None
        try:
            connection = attempt.connection = self._connection(tls)
            try:
                connection.open(read_server_info=False)
                connection.socket = _Guarded(connection.socket, attempt)
                self._log_in(connection)
                return self._search(connection, number)
            finally:
                connection.strategy.close()  # not unbind: that would wait for a server that hangs
                if connection.socket is not None:  # ldap3 forgets the socket that could not be connected
                    connection.socket.close()
        except ConfigError as error:  # the password file was changed for the worse
            raise SourceError(str(error)) from None
        except (LDAPException, OSError) as error:
            reason = tls.failure if tls is not None and tls.failure else error
            raise SourceError(f"{self.name}: {_reason(reason)}") from None

    def _connection(self, tls: ldap3.Tls | None) -> ldap3.Connection:
        import ldap3

        server = ldap3.Server(
            self._host,
            self._port,
            use_ssl=self._direct_tls,
            tls=tls,
            get_info=ldap3.NONE,
            connect_timeout=self._settings.timeout,  # stays the socket's timeout for all that follows
        )
        return ldap3.Connection(
            server,
            user=self._settings.ldap_user or None,
            password=self._password() or None,
            client_strategy=ldap3.SYNC,
            auto_referrals=False,
            read_only=True,
            check_names=False,
        )

    def _log_in(self, connection: ldap3.Connection) -> None:
        if self._start_tls:
            connection.start_tls(read_server_info=False)
        if self._settings.ldap_user and not connection.bind(read_server_info=False):
            raise SourceError(f"{self.name} refuses ldap_user: {connection.result['description']}")

    def _search(self, connection: ldap3.Connection, number: Number) -> Entry | None:
        connection.search(
            self._settings.ldap_base,
            self.filter(number),
            attributes=[attribute for attributes in _ATTRIBUTES.values() for attribute in attributes],
            size_limit=MAX_ENTRIES,
            time_limit=math.ceil(self._settings.timeout),
        )
        if connection.result["result"] not in _ANSWERS:
            raise SourceError(f"{self.name} refuses the search: {connection.result['description']}")
        people = (item for item in connection.response or () if item["type"] == "searchResEntry")
        entries = (_entry(item["raw_attributes"], self.name) for item in people)
        return next((found for found in entries if found is not None), None)


@dataclass(eq=False, slots=True)
class _Attempt:
    """A look-up that runs in a thread, and can be ended from outside.

    Attributes:
        connection: as soon as there is one.
        aborted: nobody waits for it any more.
    """

    connection: ldap3.Connection | None = None
    aborted: bool = False

    def abort(self) -> None:
        """End its connection: whatever the thread waits for comes to an end."""
        self.aborted = True
        used = self.connection.socket if self.connection is not None else None
        if isinstance(used, _Guarded):
            used = used.raw
        if used is not None:
            with contextlib.suppress(OSError):
                # The plain socket's method: the one of a TLS socket is not made for another thread than the reader's.
                socket.socket.shutdown(used, socket.SHUT_RDWR)


class _Guarded:
    """A socket as ldap3 uses it, which gives nothing any more once the look-up is over or the answer is too long.

    ldap3 reads as long as something comes, and what comes after ``shutdown`` can still be read (Linux).
    """

    def __init__(self, raw: socket.socket, attempt: _Attempt) -> None:
        self.raw = raw
        self.attempt = attempt
        self._left = MAX_ANSWER

    def recv(self, size: int) -> bytes:
        """Return what came, at most ``size`` bytes; nothing if the connection is to end."""
        data = b"" if self.attempt.aborted else self.raw.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError(f"its answer is longer than {MAX_ANSWER // 1024} KiB")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def _context(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if not isinstance(error, ssl.SSLError) else "it holds no certificate in PEM"
            raise ConfigError(f"phone.book.ldap_ca_file {ca_file}: {reason}") from None
    return context


def _verified_tls(context: ssl.SSLContext, host: str) -> Any:
    """Return an `ldap3.Tls` that leaves all of TLS to Python: certificate, host name, versions.

    It has an attribute ``failure``: what went wrong, in Python's words; ldap3 makes other errors of it.
    """
    import ldap3

    class VerifiedTls(ldap3.Tls):
        failure: Exception | None = None

        def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:  # noqa: ARG002
            try:
                old = connection.socket
                if isinstance(old, _Guarded):  # STARTTLS
                    encrypted = context.wrap_socket(old.raw, server_hostname=host)
                    connection.socket = _Guarded(encrypted, old.attempt)
                else:
                    connection.socket = context.wrap_socket(old, server_hostname=host)
            except (OSError, ValueError) as error:
                self.failure = error
                raise

    return VerifiedTls()


def _entry(attributes: Mapping[str, list[bytes]], source: str) -> Entry | None:
    values = {name.lower(): value for name, value in attributes.items()}

    def first(field: str) -> str:
        texts = (
            value.decode(errors="replace") for name in _ATTRIBUTES[field] for value in values.get(name.lower(), [])
        )
        return next(filter(None, texts), "")

    link = first("link").split(maxsplit=1)[:1]  # RFC 2079: the address, then perhaps a label
    return entry(name=first("name"), company=first("company"), link="".join(link), source=source)


def _reason(error: Exception) -> str:
    """Return what an administrator understands of an error of ldap3, ssl or the network."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {error.verify_message}"
    if isinstance(error, TimeoutError) or "timed out" in str(error):
        return "no answer in time"
    if "socket connection error" in str(error) and (reason := re.search(r"\[Errno -?\d+\] ([^'\"]+)", str(error))):
        return f"no connection: {reason[1]}"
    return str(error) or type(error).__name__
