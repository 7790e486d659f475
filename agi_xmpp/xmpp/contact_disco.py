"""Contact discovery on a session: answers requests in headlines, and asks other services (`ContactPort`).

Here everything is only carried and guarded; who is found is up to the `ContactHost`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import aioxmpp
from aioxmpp.errors import ErroneousStanza, XMPPError

from agi_xmpp.errors import Bounced, NotConnected, Refused
from agi_xmpp.xmpp import contact_stanzas, stanzas
from agi_xmpp.xmpp.contact_model import Answers, AskedContact, ContactHost, Enquiry
from agi_xmpp.xmpp.errands import refusal
from agi_xmpp.xmpp.jid import outward
from agi_xmpp.xmpp.link import Link
from agi_xmpp.xmpp.model import Jid
from agi_xmpp.xmpp.xso.contact_disco import NAMESPACE, Contacts

log = logging.getLogger("agi_xmpp.xmpp")

#: Requests of one person that are being answered at once. A client sends its address book in a few of them.
ANSWERS_EACH = 5

#: Requests that are being answered at all. Each may wait for other services.
ANSWERS = 200


class _Question:
    """What we have asked another service.

    Attributes:
        found: what it has answered so far.
        complete: set when it has answered everything.
    """

    def __init__(self, peer: Jid, uris: frozenset[str]) -> None:
        self.peer = peer
        self.found: dict[str, tuple[Jid, ...]] = {}
        self.complete = asyncio.Event()
        self._uris = uris

    def take(self, payload: Any) -> None:
        """Take a part of the answer. An address that was not asked for is none of it."""
        self.found |= {uri: people for uri, people in contact_stanzas.found(payload).items() if uri in self._uris}
        if len(self.found) == len(self._uris):
            self.complete.set()


class ContactDisco:
    """Contact discovery of one account. Implements `ContactPort`.

    Args:
        account: its name, for the log.
        link: the account's.
        component: it is a component, which says itself where its stanzas come from.
    """

    def __init__(self, account: str, link: Link, *, component: bool) -> None:
        self._account = account
        self._link = link
        self._component = component
        self._host: ContactHost | None = None
        self._disco: Any = None
        self._answering: dict[asyncio.Task[None], Jid] = {}
        self._questions: dict[str, _Question] = {}

    def serve(self, host: ContactHost | None) -> ContactDisco:
        """Answer with what ``host`` knows from now on, or with None nobody any more; return the port."""
        self._host = host
        self._offer()
        return self

    # Of the session

    def install(self, client: Any) -> None:
        """Answer the requests that come in on a client of the library."""
        self._disco = client.summon(aioxmpp.DiscoServer)
        self._offer()
        for kind in (aioxmpp.IQType.GET, aioxmpp.IQType.SET):
            client.stream.register_iq_request_handler(kind, Contacts, self._asked, with_send_reply=True)

    def stop(self) -> None:
        """Give up what is being answered."""
        for task in self._answering:
            task.cancel()

    def message_came(self, message: Any) -> bool:
        """Take a message stanza. Returns True if it is a part of the answer to a question of ours."""
        payload = message.contact_disco
        if payload is None or message.type_ is aioxmpp.MessageType.ERROR:
            return False
        question = self._questions.get(payload.batch or "")
        # The batch's name is a secret between the two of us; the address makes sure.
        if question is None or stanzas.sender(message, self._link.jid) != question.peer:
            return False
        question.take(payload)
        return True

    # Requests

    async def _asked(self, iq: Any, send_reply: Callable[[Any], None]) -> None:
        """Answer a request empty, and what is found later in headlines."""
        who = stanzas.sender(iq, self._link.jid)
        try:
            host, asked = self._admit(who, iq)
        except Refused as error:
            raise refusal(error) from None
        # Before the first headline: the client connects the two by it.
        send_reply(None)
        task = asyncio.get_running_loop().create_task(self._answer(host, who, asked, iq))
        self._answering[task] = who.bare
        task.add_done_callback(self._answered)

    def _admit(self, who: Jid, iq: Any) -> tuple[ContactHost, Enquiry]:
        """Return who knows people, and what is asked.

        Raises:
            Refused: it is not to be answered. Who may not ask learns that, and nothing else.
        """
        if self._host is None:
            raise Refused("contacts are not looked up here", "service-unavailable")
        if not self._host.may_ask(who):
            log.info("account %s: %s asked for contacts, and may not", self._account, who)
            raise Refused("you may not look up contacts here", "forbidden")
        if iq.type_ is not aioxmpp.IQType.GET:
            raise Refused("contacts are asked for by a request of type get", "bad-request")
        asked = contact_stanzas.enquiry(iq.payload)
        answering = list(self._answering.values())
        # Another service asks for many people, and what it hands on waits for nobody.
        limit = ANSWERS if asked.relayed else ANSWERS_EACH
        if len(answering) >= ANSWERS or answering.count(who.bare) >= limit:
            raise Refused("too many requests at once; wait for their answers", "resource-constraint")
        self._host.spend(who, asked.addresses)
        return self._host, asked

    async def _answer(self, host: ContactHost, who: Jid, asked: Enquiry, iq: Any) -> None:
        """Send what is found: each contact as soon as all its addresses are answered."""
        known: dict[str, tuple[Jid, ...]] = {}
        left = list(asked.contacts)
        async with contextlib.aclosing(host.find(who, asked.uris, relayed=asked.relayed)) as parts:
            async for part in parts:
                known |= part
                ready: list[AskedContact] = []
                waiting: list[AskedContact] = []
                for contact in left:
                    (ready if all(uri in known for uri in contact.uris) else waiting).append(contact)
                left = waiting
                for message in contact_stanzas.answers(asked, ready, known):
                    message.to = iq.from_
                    if self._component:
                        message.from_ = iq.to
                    # Without a session it is dropped, and by the server if the client has gone offline meanwhile.
                    self._link.post(message)

    def _answered(self, task: asyncio.Task[None]) -> None:
        who = self._answering.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("account %s: looking up contacts for %s failed", self._account, who, exc_info=error)

    # ContactPort

    async def ask(self, peer: Jid, uris: Sequence[str], timeout: float) -> Answers:
        """See `ContactPort.ask`."""
        batch = secrets.token_hex(16)
        question = self._questions[batch] = _Question(peer, frozenset(uris))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    for request in contact_stanzas.requests(outward(peer), batch, uris):
                        await self._link.request(request)
                    await question.complete.wait()
        except ConnectionError as error:
            raise NotConnected(f"{peer}: {error}") from None
        except XMPPError as error:
            condition = error.condition.value[1]
            raise Bounced(f"{peer}: {error.text or condition}", condition) from None
        except ErroneousStanza:
            raise Bounced(f"{peer}: its answer makes no sense", "undefined-condition") from None
        finally:
            del self._questions[batch]
        return question.found

    # Details

    def _offer(self) -> None:
        """Show in service discovery whether contacts are looked up."""
        if self._disco is None:
            return
        with contextlib.suppress(ValueError, KeyError):  # it was offered already, or was not
            if self._host is None:
                self._disco.unregister_feature(NAMESPACE)
            else:
                self._disco.register_feature(NAMESPACE)
