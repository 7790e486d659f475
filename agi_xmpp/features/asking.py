"""Asking people over one account: sends the cards, hears the answers, and closes every card in every outcome."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from agi_xmpp.errors import AgiXmppError, BadText, Bounced, NotConfirmed, NotConnected, Refused, XmppError
from agi_xmpp.features.desk import QUESTIONS, Card, Chosen, Declined, Desk, Told
from agi_xmpp.features.menu import Choice, Menu
from agi_xmpp.xmpp.model import (
    Command,
    CommandResult,
    Extras,
    Guest,
    IncomingMessage,
    Jid,
    Session,
    SessionState,
)

log = logging.getLogger("agi_xmpp.ask")

#: Seconds for which a correction may wait for a session. After a longer break nobody cares how a call ended.
CORRECTION_AGE = 300.0

OVER = "Closed: the call is over."
TIMED_OUT = "Closed: there was no answer in time."
HUNG_UP = "Closed: the caller hung up."


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an ask ended without an error.

    Attributes:
        choice: what was chosen; None if everybody declined.
        sender: full JID of who answered last.
    """

    choice: Choice | None
    sender: Jid


@dataclass(eq=False, slots=True)
class _Ask:
    """One call's question, and the cards that are still open for it."""

    result: asyncio.Future[Outcome | Exception]
    saw: Callable[[Jid], None]
    cards: list[Card] = field(default_factory=list)
    sending: list[asyncio.Task[None]] = field(default_factory=list)
    declined_by: Jid | None = None
    failure: Exception | None = None

    def settle(self, result: Outcome | Exception) -> None:
        """Decide how it ended, unless that is decided."""
        if not self.result.done():
            self.result.set_result(result)

    def settle_if_nobody_is_left(self) -> None:
        """End it if every card is declined or came back."""
        if self.cards:
            return
        if self.declined_by:
            self.settle(Outcome(None, self.declined_by))
        elif self.failure:
            self.settle(self.failure)


class Asking(Guest):
    """The asks of one account.

    Args:
        session: of the account.
        clock: seconds, monotonic; the same that stamps the session's messages.
    """

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._desk = Desk(clock)
        self._asks: dict[Card, _Ask] = {}

    async def ask(
        self,
        people: Sequence[Jid],
        menu: Menu,
        *,
        thread: str,
        seconds: float,
        send_timeout: float,
        why_cancelled: Callable[[], str],
        saw: Callable[[Jid], None] = lambda _person: None,
        seen_extends: float = 0.0,
    ) -> Outcome:
        """Put a menu before people and return the first choice. All cards are closed when this ends, however it does.

        Args:
            people: who is asked, each once.
            menu: the question.
            thread: of the call.
            seconds: how long the answer may take, from now on.
            send_timeout: seconds that the question may take to the server.
            why_cancelled: returns what people are told if this is cancelled.
            saw: called once for each of the people whose client shows the question (XEP-0333), or who answers it.
            seen_extends: seconds more for the answer, once, if it lies before somebody's eyes when the time is over.

        Raises:
            BadText: the menu cannot be sent.
            TimeoutError: nobody has chosen, and not everybody declined; the text says who could not be asked.
            NotConnected, Bounced: nobody could be reached; the last reason.
        """
        ask = _Ask(asyncio.get_running_loop().create_future(), saw)
        for person in people:
            card = self._desk.open(person, menu, thread)
            card.ids.append(secrets.token_hex(12))
            ask.cards.append(card)
            self._asks[card] = ask
        ending = OVER
        try:
            ask.sending = [asyncio.create_task(self._send(ask, card, send_timeout)) for card in list(ask.cards)]
            # Not `asyncio.timeout`: an answer in the same moment would be lost.
            await asyncio.wait([ask.result], timeout=seconds)
            if seen_extends and not ask.result.done() and any(card.seen for card in ask.cards):
                log.info("%s: %g s more for the answer: %s", thread, seen_extends, _seen(ask.cards))
                await asyncio.wait([ask.result], timeout=seen_extends)
            if not ask.result.done():
                ending = TIMED_OUT
                log.info("%s: no answer in time: %s", thread, _seen(ask.cards))
                raise TimeoutError(str(ask.failure or ""))
        except asyncio.CancelledError:
            ending = why_cancelled()
            raise
        finally:
            for task in ask.sending:
                task.cancel()
            for card in list(ask.cards):
                self._close(card, ending)
        result = ask.result.result()
        if isinstance(result, Exception):
            raise result
        return result

    def matches(self, message: IncomingMessage) -> bool:
        """Return True if a text is an answer to an open question, so that it cannot mean anything else."""
        return self._desk.matches(message)

    def is_asked(self, who: Jid) -> bool:
        """Return True if a question lies before somebody."""
        return self._desk.is_open_for(who)

    # Guest

    def message_came(self, message: IncomingMessage, *, kept: bool, awaited: bool) -> bool:
        """See `Guest.message_came`."""
        for card in self._desk.shown(message):
            self._saw(card)
        verdict = self._desk.route(message, kept=kept, awaited=awaited)
        if verdict is None:
            return False
        if isinstance(verdict, Chosen):
            self._choose(verdict, message.sender)
        elif isinstance(verdict, Declined):
            self._decline(verdict.card, message.sender)
        elif isinstance(verdict, Told):
            if verdict.card:
                self._saw(verdict.card)
            self._tell(message.sender if message.occupant else message.sender.bare, verdict)
        return True

    def message_bounced(self, message_id: str, error: Bounced) -> None:
        """See `Guest.message_bounced`."""
        card = self._desk.find(message_id)
        if card is not None:
            self._fail(card, error)

    def session_stops(self) -> None:
        """See `Guest.session_stops`."""
        error = NotConnected(f"account {self._session.account} is being stopped")
        for card, ask in list(self._asks.items()):
            self._close(card, OVER)
            ask.settle(error)

    def commands(self, who: Jid) -> Sequence[Command]:
        """See `Guest.commands`."""
        return self._desk.commands(who)

    async def execute(self, who: Jid, node: str, values: Mapping[str, Sequence[str]] | None) -> CommandResult | None:
        """See `Guest.execute`."""
        if node == QUESTIONS:
            return self._list(who, values)
        # Clients with buttons show an error of a command badly or not at all, so it is said in the chat, too.
        verdict = self._desk.execute(who, node)
        if isinstance(verdict, Chosen):
            self._choose(verdict, who)
            return CommandResult(verdict.card.ending)
        if isinstance(verdict, Told):
            self._tell(who.bare, verdict)
            raise Refused(verdict.text, "item-not-found")
        return None

    # Details

    async def _send(self, ask: _Ask, card: Card, timeout: float) -> None:
        try:
            await self._session.send_message(
                str(card.to),
                self._desk.text(card),
                message_id=card.ids[0],
                thread=card.thread,
                extras=Extras(buttons=card.buttons, expects_answer=False),
                timeout=timeout,
            )
            card.sent = True
        except NotConfirmed as error:
            card.sent = True  # it may have arrived, so it may be answered
            log.warning("%s: %s", card.thread, error)
        except BadText as error:
            ask.settle(error)
        except XmppError as error:
            self._fail(card, error)
        except Exception as error:  # a fault of ours must end the ask, not leave the caller waiting
            ask.settle(error)

    def _list(self, who: Jid, values: Mapping[str, Sequence[str]] | None) -> CommandResult:
        if values is None:
            if not self._desk.commands(who):
                raise Refused("no call waits for your answer", "forbidden")
            return CommandResult(form=self._desk.form(who))
        notes = []
        for key, chosen in values.items():
            verdict = self._desk.fill_in(who, key, chosen[0]) if chosen and chosen[0] else None
            if isinstance(verdict, Chosen):
                self._choose(verdict, who)
                notes.append(f"{verdict.card.name}: {verdict.card.ending}")
            elif isinstance(verdict, Told):
                notes.append(verdict.text)
        if not notes:
            raise Refused("nothing was chosen for a call that waits for your answer", "bad-request")
        return CommandResult("\n".join(notes))

    def _saw(self, card: Card) -> None:
        ask = self._asks.get(card)
        if ask and not card.seen:
            card.seen = True
            ask.saw(card.to)

    def _choose(self, chosen: Chosen, sender: Jid) -> None:
        ask = self._asks[chosen.card]
        self._saw(chosen.card)
        what = f"{chosen.choice.key}: {chosen.choice.label}"
        log.info("%s: %s chose %s", chosen.card.thread, sender.bare, chosen.choice.key)
        self._close(chosen.card, f"You chose {what}", answered=True)
        for card in list(ask.cards):
            self._close(card, f"{sender.bare} chose {what}")
        ask.settle(Outcome(chosen.choice, sender))

    def _decline(self, card: Card, sender: Jid) -> None:
        ask = self._asks[card]
        self._saw(card)
        log.info("%s: %s declined", card.thread, sender.bare)
        ask.declined_by = sender
        self._close(card, "You declined.", answered=True)
        ask.settle_if_nobody_is_left()

    def _fail(self, card: Card, error: XmppError) -> None:
        """Take note that a question did not arrive: there is nothing to correct, and no answer to wait for."""
        ask = self._asks.get(card)
        if ask is None:
            return  # closed in the same moment
        log.warning("%s: %s was not asked: %s", card.thread, card.to, error)
        ask.failure = error
        self._forget(card, "The question came back.")
        ask.settle_if_nobody_is_left()

    def _close(self, card: Card, ending: str, *, answered: bool = False) -> None:
        """Take a card away and tell the person how it ended, by correcting the question (XEP-0308)."""
        self._forget(card, ending, answered=answered)
        # One that is on its way cannot be taken back for certain, so it is closed; without a session it has not left.
        if not (card.sent or answered or self._session.info().state is SessionState.ONLINE):
            return
        try:
            self._session.queue_message(
                str(card.to),
                f"{card.menu.question}\n{ending}",
                thread=card.thread,
                extras=Extras(replaces=card.ids[0], expects_answer=False),
                max_age=CORRECTION_AGE,
            )
        except AgiXmppError as error:
            log.warning("%s: the question to %s stays open on the screen: %s", card.thread, card.to, error)

    def _forget(self, card: Card, ending: str, *, answered: bool = False) -> None:
        self._desk.close(card, ending, answered=answered)
        self._asks.pop(card).cards.remove(card)

    def _tell(self, to: Jid, told: Told) -> None:
        thread = told.card.thread if told.card else ""
        try:
            message_id = self._session.queue_message(
                str(to), told.text, thread=thread, extras=Extras(expects_answer=False), max_age=CORRECTION_AGE
            )
        except AgiXmppError as error:
            log.warning("%s: %s could not be told: %s", thread or "ask", to, error)
            return
        if told.card:
            told.card.ids.append(message_id)


def _seen(cards: Sequence[Card]) -> str:
    """Return who has seen the question, for the log."""
    return ", ".join(f"{card.to} {'has seen it' if card.seen else 'has not shown that it was seen'}" for card in cards)
