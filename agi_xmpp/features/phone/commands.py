"""The telephone system's commands over a session: as words in chat, and as commands with forms (XEP-0050).

What there is stands in `command_set`. A chat message is taken only if it is surely meant for us, in this order:

1. Chat and normal messages of somebody in the user map (the whole bare JID), sent just now, and not to another resource
   of our account. Occupants of rooms are nobody in the user map.
2. Not what a dialplan waits for (`jabber_receive`), and not an answer to an open question (`jabber_ask`).
3. What is one of the commands, from beginning to end; a slash before it is allowed everywhere.
4. What begins with the word of a command, or nearly so, is answered with how to say it; but only a few times, and only
   while no question is open.

Everything else is left to the inbox.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from agi_xmpp.errors import AgiXmppError, Refused
from agi_xmpp.features.asking import Asking
from agi_xmpp.features.phone.command_set import Asked, PhoneCommand, Switchboard, command_set
from agi_xmpp.features.phone.people import Person
from agi_xmpp.xmpp.model import Command, CommandResult, Extras, Guest, IncomingMessage, Jid, Presence, Session

log = logging.getLogger("agi_xmpp.phone")

#: Seconds that a message may have been on its way: "call 601" out of yesterday's offline messages dials nothing.
MAX_DELAY = 30.0

#: Characters of a command: a name or an address, and a few words.
MAX_TEXT = 300

#: Commands of one person by chat within `PERIOD` seconds; people type less.
MAX_COMMANDS, PERIOD = 20, 60.0

#: How often somebody in a row is told how to say it. After that only right commands count: two machines that answer
#: each other must come to an end. A right command, or `HINTS_TTL` seconds, and hints are given again.
MAX_HINTS, HINTS_TTL = 5, 3600.0

#: Seconds for which an answer may wait for a session.
ANSWER_AGE = 60.0

#: How alike a mistyped word has to be ("cal", "transfre"), from 0 to 1.
_ALIKE = 0.75

#: Behind this the command to call somebody has the extension in its node: a button needs no form.
_DIAL = "dial/"


class PhoneCommands(Guest):
    """The commands of one account.

    Args:
        session: of the account.
        board: what the commands act on.
        asking: the account's open questions.
        clock: seconds, monotonic.
    """

    def __init__(self, session: Session, board: Switchboard, asking: Asking, clock: Callable[[], float]) -> None:
        self._session = session
        self._board = board
        self._asking = asking
        self._clock = clock
        self._commands = {command.node: command for command in command_set(board)}
        self._recent: dict[Jid, deque[float]] = {}
        #: Whose commands are ignored, and who has been told so.
        self._flooding: set[Jid] = set()
        self._hints: dict[Jid, deque[float]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._last: dict[Jid, asyncio.Task[None]] = {}

    # Guest

    def message_came(self, message: IncomingMessage, *, kept: bool, awaited: bool) -> bool:
        """See `Guest.message_came`."""
        person = self._writer(message)
        if person is None or kept or awaited or self._asking.matches(message):
            return False
        text = _as_said(message.body)
        for command in self._commands.values():
            values = command.read(text)
            if values is not None:
                self._hints.pop(person.jid, None)
                self._begin(person, command, values, message)
                return True
        hint = "" if self._asking.is_asked(message.sender) else self._hint(text)
        if not hint or not self._may_hint(person):
            return False
        self._answer(message, hint)
        return True

    def presence_changed(self, who: Jid, presence: Presence) -> None:
        """See `Guest.presence_changed`."""
        self._board.availability.presence_changed(who, presence)

    def session_stops(self) -> None:
        """See `Guest.session_stops`."""
        for task in self._running:
            task.cancel()

    def commands(self, who: Jid) -> Sequence[Command]:
        """See `Guest.commands`. Who is not in the user map finds none."""
        if self._board.people.by_jid(who) is None:
            return ()
        return [Command(command.node, command.title) for command in self._offered() if command.listed]

    async def execute(self, who: Jid, node: str, values: Mapping[str, Sequence[str]] | None) -> CommandResult | None:
        """See `Guest.execute`."""
        extension = node.removeprefix(_DIAL) if node.startswith(_DIAL) else ""
        command = self._commands.get("dial" if extension else node)
        if command is None or not command.listed:
            return None
        person = self._board.people.by_jid(who)
        if person is None:
            raise Refused("This is for people whose phone is known here.", "forbidden")
        if extension:
            return CommandResult(await command.run(Asked(person, {"target": extension}, who)))
        if values is None and (form := command.form(person)) is not None:
            return CommandResult(form=form)
        answers = {var: chosen[0] for var, chosen in (values or {}).items() if chosen}
        return CommandResult(await command.run(Asked(person, answers, who)))

    # Details

    def _offered(self) -> Iterator[PhoneCommand]:
        return (command for command in self._commands.values() if command.is_offered)

    def _writer(self, message: IncomingMessage) -> Person | None:
        """Return who wrote a message that may be a command."""
        usable = (
            message.type in ("chat", "normal")
            and 0 < len(message.body) <= MAX_TEXT
            and "\n" not in message.body.strip()
            and not message.occupant
            and not message.carbon
            and message.received_at - message.sent_at <= MAX_DELAY
        )
        return self._board.people.by_jid(message.sender) if usable else None

    def _begin(self, person: Person, command: PhoneCommand, values: dict[str, str], message: IncomingMessage) -> None:
        recent = self._recent.setdefault(person.jid, deque(maxlen=MAX_COMMANDS + 1))
        recent.append(self._clock())
        if len(recent) > MAX_COMMANDS and recent[-1] - recent[0] < PERIOD:
            log.warning("%s sends too many commands; “%s” is ignored", message.sender, command.node)
            if person.jid not in self._flooding:
                self._flooding.add(person.jid)
                self._answer(message, "That was too much at once, and is not done. Wait a minute.")
            return
        self._flooding.discard(person.jid)
        if command.of_a_call and not values.get("call"):
            calls = self._board.calls_of(person)
            # Who answers in the thread of a ring note means that call.
            values["call"] = next((call.id for _, call in calls if call.id == message.thread), "")
        task = asyncio.create_task(self._carry_out(self._last.get(person.jid), person, command, values, message))
        self._last[person.jid] = task
        self._running.add(task)
        task.add_done_callback(lambda done: self._forget(person.jid, done))

    def _forget(self, who: Jid, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._last.get(who) is task:
            del self._last[who]

    async def _carry_out(
        self,
        before: asyncio.Task[None] | None,
        person: Person,
        command: PhoneCommand,
        values: Mapping[str, str],
        message: IncomingMessage,
    ) -> None:
        """Do what a chat message asks for, after what its sender asked for before."""
        if before is not None:
            await asyncio.wait([before])
        try:
            answer = await command.run(Asked(person, values, message.sender))
        except Refused as refusal:
            answer = _sentence(str(refusal))
        except Exception:  # whatever it is, somebody waits for an answer
            log.exception("the command %s of %s failed", command.node, message.sender)
            answer = "That did not work: a fault of the telephone service. Its log says more."
        self._answer(message, answer)

    def _answer(self, message: IncomingMessage, text: str) -> None:
        try:
            self._session.queue_message(
                str(message.sender.bare),  # all clients of the person show the conversation
                text,
                thread=message.thread,
                extras=Extras(expects_answer=False),
                max_age=ANSWER_AGE,
            )
        except AgiXmppError as error:
            log.warning("%s gets no answer: %s", message.sender, error)

    def _hint(self, text: str) -> str:
        """Return how to say what somebody may have meant; "" if it is no command at all."""
        first, _, rest = text.partition(" ")
        words = {word: command for command in self._offered() for word in command.words}
        if command := words.get(first.casefold()):
            return f"{command.explain(text)} Say for example “{command.examples[0][0]}”, or “help”."
        for word in difflib.get_close_matches(first.casefold(), words, n=1, cutoff=_ALIKE):
            corrected = f"{word} {rest}".strip()
            # "all good" is like "call good", and still no command.
            if words[word].read(corrected) is not None:
                return f"Did you mean “{corrected}”? Or say “help”."
        return ""

    def _may_hint(self, person: Person) -> bool:
        hints = self._hints.setdefault(person.jid, deque(maxlen=MAX_HINTS))
        if len(hints) == MAX_HINTS and self._clock() - hints[0] < HINTS_TTL:
            return False
        hints.append(self._clock())
        return True


def _as_said(body: str) -> str:
    """Return a message as commands are read: in one line, without a slash before it or punctuation behind."""
    text = " ".join(body.strip().removeprefix("/").split())
    return text.rstrip(" .!?") or text


def _sentence(text: str) -> str:
    """Return a text of an error as a sentence."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!', '”')) or chr(10) in text else '.'}"
