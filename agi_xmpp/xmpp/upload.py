"""Files for contacts by way of the server's upload service (XEP-0363)."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aioxmpp
import aioxmpp.disco.xso
import aioxmpp.httpupload.xso
from aioxmpp.errors import ErroneousStanza, XMPPError

from agi_xmpp.config import AccountSettings
from agi_xmpp.errors import ConfigError, UploadFailed
from agi_xmpp.tls import client_context
from agi_xmpp.xmpp import stanzas
from agi_xmpp.xmpp.jid import inward, outward, parse
from agi_xmpp.xmpp.link import Link
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.put import put

log = logging.getLogger("agi_xmpp.xmpp")

NAMESPACE = "urn:xmpp:http:upload:0"

#: What a server's list of services may hold before we stop asking each what it is.
MAX_SERVICES = 50
#: Seconds for one of them to say what it is: a service of the list may be away.
ASK_TIME = 5.0
#: Headers that a service may want with the file, and no others (XEP-0363 section 5).
ALLOWED_HEADERS = frozenset({"authorization", "cookie", "expires"})


class _AnyCase(frozenset[str]):
    """The library compares the names of headers letter by letter; the XEP does not."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.casefold())


aioxmpp.httpupload.xso.Put.HEADER_WHITELIST = _AnyCase(ALLOWED_HEADERS)


@dataclass(frozen=True, slots=True)
class UploadService:
    """An upload service.

    Attributes:
        jid: its address.
        max_size: bytes of a file at the most; None if it does not say.
    """

    jid: Jid
    max_size: int | None = None


class Uploads:
    """Uploads of one account.

    Args:
        account: its name, for the log.
        link: its connection.
        settings: of the account.
    """

    def __init__(self, account: str, link: Link, settings: AccountSettings) -> None:
        self._account = account
        self._link = link
        self._settings = settings
        self._service: UploadService | None = None

    def session_began(self) -> None:
        """Forget what the server offered on an earlier session."""
        self._service = None

    async def upload(self, name: str, data: bytes, content_type: str, timeout: float) -> str:
        """See `Session.upload`."""
        deadline = asyncio.get_running_loop().time() + timeout
        await self._link.until_online(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                service = await self._find()
                if service.max_size is not None and len(data) > service.max_size:
                    raise UploadFailed(
                        f"{service.jid} takes files of at most {service.max_size} bytes; this one has {len(data)}"
                    )
                slot = await self._slot(service, name, len(data), content_type)
                headers = list(slot.put.headers.items())
                await put(slot.put.url, data, content_type, headers, await asyncio.to_thread(self._context))
        except TimeoutError:
            raise UploadFailed(f"the upload was not complete within {timeout:g} s") from None
        url = str(slot.get.url)
        # Nothing behind it: it is a text of its own, and clients play it only as that.
        if not re.fullmatch(r"https://\S+", url) or not url.isprintable():
            raise UploadFailed(f"{service.jid} names an address for others that is not https://")
        log.info("account %s: uploaded %d bytes by %s", self._account, len(data), service.jid)
        return url

    def _context(self) -> Any:
        settings = self._settings
        try:
            return client_context(settings.ca_file, accept_any_certificate=settings.accept_any_certificate)
        except ConfigError as error:
            raise UploadFailed(str(error)) from None

    async def _find(self) -> UploadService:
        """Return the server's upload service; UploadFailed if it has none."""
        if self._service is None:
            candidates, where = await self._candidates()
            answers = await asyncio.gather(*(self._look(jid) for jid in candidates))
            self._service = next((found for found in answers if found), None)
            if self._service is None:
                raise UploadFailed(f"{where} has no upload service (XEP-0363)")
        return self._service

    async def _candidates(self) -> tuple[Sequence[Jid], Jid]:
        """Return who may be an upload service, and where they were found."""
        if self._settings.upload is not None:
            jid = parse(self._settings.upload)
            return [jid], jid
        server = users_domain(self._link.jid, self._settings)
        listed = await self._ask(stanzas.services_request(server))
        # Last the server itself: some have it built in and list nothing.
        return [*[service.jid for service in stanzas.services(listed)][:MAX_SERVICES], server], server

    async def _look(self, jid: Jid) -> UploadService | None:
        """Ask somebody whether they are an upload service."""
        try:
            async with asyncio.timeout(ASK_TIME):
                info = await self._ask(stanzas.features_request(jid))
        except (TimeoutError, UploadFailed):
            return None
        return service_of(jid, info)

    async def _slot(self, service: UploadService, name: str, size: int, content_type: str) -> Any:
        """Ask for a place to put the file."""
        request = aioxmpp.httpupload.xso.Request(name, size, content_type)
        iq = aioxmpp.IQ(aioxmpp.IQType.GET, payload=request, to=outward(service.jid))
        try:
            slot = await self._ask(iq)
        except UploadFailed:
            self._service = None  # it may have gone away, or have been replaced
            raise
        if not isinstance(slot, aioxmpp.httpupload.xso.Slot):
            raise UploadFailed(f"{service.jid} gives no place to upload to")
        return slot

    async def _ask(self, iq: Any) -> Any:
        """Return the payload of the answer to a request; UploadFailed if it is refused."""
        whom = inward(iq.to)
        try:
            return (await self._link.request(iq)).payload
        except (XMPPError, ErroneousStanza) as error:
            raise UploadFailed(f"{whom} refuses: {reason(error)}") from None
        except ConnectionError:
            raise UploadFailed(f"the connection broke while {whom} was asked") from None


def users_domain(own: Jid, settings: AccountSettings) -> Jid:
    """Return the server's domain, which lists its services; of a component it is usually the one above its own."""
    if not settings.is_component:
        return Jid("", own.domain)
    return Jid("", settings.domain or own.domain.partition(".")[2] or own.domain)


def service_of(jid: Jid, info: Any) -> UploadService | None:
    """Return the upload service that an answer to `stanzas.features_request` describes; None if it is none."""
    if not isinstance(info, aioxmpp.disco.xso.InfoQuery) or NAMESPACE not in info.features:
        return None
    return UploadService(jid, next(filter(None, map(_max_size, info.exts)), None))


def _max_size(form: Any) -> int | None:
    """Return the limit that a form (XEP-0363 section 3, XEP-0128) names."""
    values = {field.var: field.values for field in form.fields if field.var}
    if list(values.get("FORM_TYPE", ())) != [NAMESPACE]:
        return None
    text = next(iter(values.get("max-file-size", ())), "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def reason(error: XMPPError | ErroneousStanza) -> str:
    """Return why a request was refused, in words."""
    if isinstance(error, ErroneousStanza):
        return "it answers with something that is no valid stanza"
    words = " ".join((error.text or "").split())
    return str(error.condition.value[1]) + (f" ({words})" if words else "")
