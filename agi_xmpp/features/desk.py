"""The open menus of one account, and which of them an answer belongs to. Pure: no I/O, no asyncio, the clock is given.

A *card* is a menu that lies before one person. What decides, in this order:

1. Only messages of type chat and normal, from exactly the address that was asked, and not older than the question.
2. A reply (XEP-0461) or a reaction (XEP-0444) to one of the card's messages, a button's id (XEP-0439), a command's node
   (XEP-0050), the card's ``<thread/>``, or its number (``#3 1``) names the card.
3. A message that names the question of somebody who waits for any text (`jabber_receive`) is left to them.
4. A bare text with one open card is for that card. While somebody waits for any text of the same person, only if it is
   one of the choices, written out.
5. A bare text with several open cards is never guessed: the person is asked which call is meant. Likewise if it would
   have answered another card that was closed a moment ago.
"""

from __future__ import annotations

import itertools
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from agi_xmpp.features.menu import CALL_NAME, Choice, Menu
from agi_xmpp.xmpp.model import Button, Command, Field, Form, IncomingMessage, Jid

#: How often the same card is explained to somebody whose answers don't fit. After that only right answers count: two
#: machines that answer each other must come to an end.
MAX_HINTS = 5

#: Closed cards remembered, and for how many seconds: whoever is late is told how it ended.
CLOSED_LIMIT, CLOSED_TTL = 500, 900.0

#: Seconds for which a bare answer may have been typed for another call whose card is closed by now.
CROSSING = 3.0

#: Calls are numbered from 1 to here, and then from 1 again: short to type, and a number that came too late does not
#: name the next call.
MAX_NUMBER = 999

#: The command that lists all open cards of who executes it.
QUESTIONS = "questions"

#: Characters of a question in a list of questions.
_SHORT = 60


@dataclass(eq=False, slots=True)
class Card:
    """A menu that lies before one person.

    Attributes:
        to: whom it was sent to: a bare JID, then any resource may answer, or a full one.
        menu: the question.
        thread: of the call.
        number: what the person may call it: ``#3``.
        key: random; who knows it has seen the card.
        asked_at: on the desk's clock.
        ids: of our messages about it: the question's first.
        hints: how often it was explained, or its end.
        sent: the server has the question, or may have it.
        pending: an answer that came without saying to which call.
        seen: a client of the person has shown it (XEP-0333), or an answer says so.
        ending: what the person was told when it was closed, "" while it is open.
        closed_at: on the desk's clock.
        answered: it was closed by the person's own answer.
    """

    to: Jid
    menu: Menu
    thread: str
    number: int
    key: str
    asked_at: float
    ids: list[str] = field(default_factory=list)
    hints: int = 0
    sent: bool = False
    pending: str = ""
    seen: bool = False
    ending: str = ""
    closed_at: float = 0.0
    answered: bool = False

    @property
    def name(self) -> str:
        """What the person calls it."""
        return f"#{self.number}"

    @property
    def title(self) -> str:
        """The question in a few words."""
        line = self.menu.question.splitlines()[0]
        return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"

    @property
    def buttons(self) -> tuple[Button, ...]:
        """The choices for clients that show them as more than text."""
        return tuple(Button(choice.key, choice.label, self.node(choice)) for choice in self.menu.choices)

    def node(self, choice: Choice) -> str:
        """Return the command that means ``choice``. It cannot be guessed, and it dies with the card."""
        return f"answer/{self.key}/{choice.key}"

    def choice_of(self, node: str) -> Choice | None:
        """Return the choice that a command means, if it is one of this card's."""
        return next((choice for choice in self.menu.choices if self.node(choice) == node), None)

    def is_for(self, who: Jid) -> bool:
        """Return True if ``who`` is exactly the one who was asked."""
        return self.to in (who, who.bare)

    def takes(self, message: IncomingMessage) -> bool:
        """Return True if the message is of who was asked, and not older than the question."""
        # Each occupant of a room is somebody else: its bare JID stands for none of them.
        asked = self.to == message.sender if message.occupant else self.is_for(message.sender)
        return asked and message.sent_at >= self.asked_at


@dataclass(frozen=True, slots=True)
class Chosen:
    """The person has chosen."""

    card: Card
    choice: Choice


@dataclass(frozen=True, slots=True)
class Declined:
    """The person does not want to choose."""

    card: Card


@dataclass(frozen=True, slots=True)
class Told:
    """The person has to be told something.

    Attributes:
        text: what.
        card: which card it is about; None if about none or several.
    """

    text: str
    card: Card | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """It was for the desk, and there is nothing to do."""


Verdict = Chosen | Declined | Told | Nothing


class Desk:
    """The open cards of one account.

    Args:
        clock: seconds, monotonic; the same that stamps the messages.
        make_key: returns a card's key; nobody may be able to guess it.
    """

    def __init__(
        self, clock: Callable[[], float], make_key: Callable[[], str] = lambda: secrets.token_urlsafe(12)
    ) -> None:
        self._clock = clock
        self._make_key = make_key
        self._open: dict[Jid, list[Card]] = {}
        self._closed: deque[Card] = deque()
        # How many of those each person has: most messages are of somebody who has none.
        self._closed_for: Counter[Jid] = Counter()
        self._last_number = 0

    def __len__(self) -> int:
        return sum(len(cards) for cards in self._open.values())

    # Cards

    def open(self, to: Jid, menu: Menu, thread: str) -> Card:
        """Put a card before somebody. Do so before the question is sent: the answer may be fast."""
        card = Card(to, menu, thread, self._number(to), self._make_key(), self._clock())
        self._open.setdefault(to.bare, []).append(card)
        return card

    def close(self, card: Card, ending: str, *, answered: bool = False) -> None:
        """Take a card away: no answer counts any more.

        Args:
            card: an open one.
            ending: what the person is told, one sentence.
            answered: the person has answered it.
        """
        cards = self._open[card.to.bare]
        cards.remove(card)
        if not cards:
            del self._open[card.to.bare]
        card.ending = ending
        card.answered = answered
        card.closed_at = self._clock()
        self._closed.append(card)
        self._closed_for[card.to.bare] += 1
        self._forget_old()

    def text(self, card: Card) -> str:
        """Return the question as it is sent; with the call's number where the person has other open cards."""
        if len(self._open.get(card.to.bare, ())) < 2:
            return card.menu.text
        example = f"{card.name} {card.menu.choices[0].key}"
        return f"{card.menu.text}\nYou are asked about another call, too: for this one, answer for example {example}"

    def shown(self, message: IncomingMessage) -> list[Card]:
        """Return the open cards that a displayed marker (XEP-0333) is about; only who was asked can send one."""
        if not message.displayed:
            return []
        cards = self._open.get(message.sender.bare, ())
        return [card for card in cards if card.takes(message) and message.displayed in card.ids]

    def find(self, message_id: str) -> Card | None:
        """Return the open card whose question has that message id."""
        cards = itertools.chain.from_iterable(self._open.values())
        return next((card for card in cards if card.ids[:1] == [message_id]), None)

    # Answers

    def route(self, message: IncomingMessage, *, kept: bool, awaited: bool) -> Verdict | None:
        """Say what a message means.

        Args:
            message: any.
            kept, awaited: as `Guest.message_came` has them.

        Returns:
            None if it is not for the desk.
        """
        if message.type not in ("chat", "normal"):
            return None
        cards = [card for card in self._open.get(message.sender.bare, ()) if card.takes(message)]
        if message.reacts_to:
            return self._react(cards, message)
        if message.action:
            return self._press(cards, message)
        if not message.body:
            return None
        addressed = _addressed(cards, message)
        if addressed is not None:
            return self._answer(addressed, message.body)
        if late := self._late(message, by_thread=not (kept or awaited)):
            return late
        if kept:
            return None
        return self._bare(cards, message, awaited)

    def matches(self, message: IncomingMessage) -> bool:
        """Return True if a text answers an open card: it names one by a reply or a number, or is one of its answers.

        Nothing changes by asking. Other features leave such a text to the desk.
        """
        cards = [card for card in self._open.get(message.sender.bare, ()) if card.takes(message)]
        named = CALL_NAME.match(message.body)
        for card in cards:
            if (message.reply_to in card.ids) or (named and int(named[1]) == card.number):
                return True
            answer = card.menu.match(message.body)
            if answer.choice or answer.declined or answer.candidates:
                return True
        return False

    def is_open_for(self, who: Jid) -> bool:
        """Return True if a card lies before somebody."""
        return bool(self._cards_of(who))

    def execute(self, who: Jid, node: str) -> Chosen | Told | None:
        """Say what executing a button's command means; None if there is no such command for ``who``."""
        for card in self._cards_of(who):
            if choice := card.choice_of(node):
                return Chosen(card, choice)
        for card in self._recent(who):
            if card.is_for(who) and card.choice_of(node):
                return Told(_too_late(card), card)
        return None

    def commands(self, who: Jid) -> list[Command]:
        """Return the commands that ``who`` finds in a list."""
        cards = self._cards_of(who)
        return [Command(QUESTIONS, f"Calls that wait for your answer ({len(cards)})")] if cards else []

    def form(self, who: Jid) -> Form:
        """Return a form with all cards that lie before ``who``."""
        fields = tuple(
            Field(card.key, f"{card.name} {card.title}", tuple((c.key, c.label) for c in card.menu.choices))
            for card in self._cards_of(who)
        )
        return Form("Calls that wait for your answer", "Choose for one call or for several.", fields)

    def fill_in(self, who: Jid, key: str, value: str) -> Chosen | Told | None:
        """Say what one field of the filled-in form means; None if it is no card of theirs or no choice of it."""
        for card in self._cards_of(who):
            if card.key == key:
                choice = card.menu.find(value)
                return Chosen(card, choice) if choice else None
        for card in self._recent(who):
            if card.key == key and card.is_for(who):
                return Told(_too_late(card), card)
        return None

    # Details

    def _answer(self, card: Card, text: str) -> Verdict:
        named = CALL_NAME.match(text)
        said = named[2] if named and int(named[1]) == card.number else text
        said = said or card.pending
        if not said:
            return self._hint(card, f"And the answer for {card.name}? Possible: {card.menu.possible}.", [card])
        answer = card.menu.match(said)
        if answer.choice:
            return Chosen(card, answer.choice)
        if answer.declined:
            return Declined(card)
        return self._hint(card, card.menu.correction(said), [card])

    def _bare(self, cards: Sequence[Card], message: IncomingMessage, awaited: bool) -> Verdict | None:
        """Judge a text that says nothing about which question it answers."""
        text = message.body
        if not cards or (awaited and not any(card.menu.exact(text) for card in cards)):
            return None
        if len(cards) == 1 and not self._crossed(message):
            return self._answer(cards[0], text)
        short = " ".join(text.split())
        short = short if len(short) <= _SHORT else f"{short[: _SHORT - 1]}…"
        question = (
            f"You are asked about {len(cards)} calls. Which one is “{short}” for?"
            if len(cards) > 1
            else f"Another call was closed just now. Is “{short}” for this one?"
        )
        lines = [f"{card.name}: {card.title}" for card in cards]
        verdict = self._hint(None, "\n".join([question, *lines, f"Answer for example {cards[0].name}"]), cards)
        for card in cards:
            card.pending = text
        return verdict

    def _crossed(self, message: IncomingMessage) -> bool:
        """Return True if the text may have been typed for a card that was closed on its way."""
        return any(
            card.takes(message)
            and not card.answered
            and card.closed_at > self._clock() - CROSSING
            and card.menu.exact(message.body)
            for card in self._recent(message.sender)
        )

    def _react(self, cards: Sequence[Card], message: IncomingMessage) -> Verdict | None:
        card = next((card for card in cards if message.reacts_to in card.ids), None)
        if card is None:
            return self._late(message)
        if not message.reactions:
            return Nothing()  # the last one was taken back
        found = {choice for emoji in message.reactions if (choice := card.menu.match(emoji).choice)}
        if len(found) == 1:
            return Chosen(card, found.pop())
        return self._hint(card, card.menu.correction(" ".join(message.reactions)), [card])

    def _press(self, cards: Sequence[Card], message: IncomingMessage) -> Verdict | None:
        for card in cards:
            if choice := card.choice_of(message.action):
                return Chosen(card, choice)
        return self._late(message)

    def _late(self, message: IncomingMessage, *, by_thread: bool = False) -> Verdict | None:
        """Return what to tell somebody whose answer names a card that is closed; None if it names none."""
        named = CALL_NAME.match(message.body)
        for card in self._recent(message.sender):
            if not card.takes(message):
                continue
            if (
                (message.reply_to or message.reacts_to) in card.ids
                or (message.action and card.choice_of(message.action))
                or (named and int(named[1]) == card.number)
                # A client may go on with the thread of a call that is over: then only what was an answer counts.
                or (by_thread and message.thread and message.thread == card.thread and card.menu.exact(message.body))
            ):
                return self._hint(card, _too_late(card), [card])
        return None

    @staticmethod
    def _hint(about: Card | None, text: str, cards: Iterable[Card]) -> Verdict:
        """Tell the person something that helps them to answer, unless they were told often enough."""
        unexplained = [card for card in cards if card.hints < MAX_HINTS]
        for card in unexplained:
            card.hints += 1
        return Told(text, about) if unexplained else Nothing()

    def _cards_of(self, who: Jid) -> list[Card]:
        return [card for card in self._open.get(who.bare, ()) if card.is_for(who)]

    def _recent(self, who: Jid) -> list[Card]:
        """Return the closed cards of somebody that are remembered, the last one first."""
        self._forget_old()
        if who.bare not in self._closed_for:
            return []
        return [card for card in reversed(self._closed) if card.to.bare == who.bare]

    def _forget_old(self) -> None:
        oldest = self._clock() - CLOSED_TTL
        while self._closed and (len(self._closed) > CLOSED_LIMIT or self._closed[0].closed_at < oldest):
            bare = self._closed.popleft().to.bare
            self._closed_for[bare] -= 1
            if not self._closed_for[bare]:
                del self._closed_for[bare]

    def _number(self, to: Jid) -> int:
        used = {card.number for card in self._open.get(to.bare, ())}
        while True:
            self._last_number = self._last_number % MAX_NUMBER + 1
            if self._last_number not in used:
                return self._last_number


def _addressed(cards: Sequence[Card], message: IncomingMessage) -> Card | None:
    """Return the card that a message names."""
    for card in cards:
        if message.reply_to and message.reply_to in card.ids:
            return card
    named = CALL_NAME.match(message.body)
    for card in cards:
        if named and int(named[1]) == card.number:
            return card
    return next((card for card in cards if message.thread and card.thread == message.thread), None)


def _too_late(card: Card) -> str:
    return f"This question is closed: {card.title}\n{card.ending}"
