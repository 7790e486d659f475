"""What people can ask of the telephone system, each thing defined once: as chat words, as a form, and what it does.

`PhoneCommands` serves them over a session. A new one is a class here and a line in `command_set`.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from agi_xmpp.ami.calls import Call, Phase
from agi_xmpp.errors import Refused
from agi_xmpp.features.phone.availability import Availability
from agi_xmpp.features.phone.notes import Notes, caller, duration
from agi_xmpp.features.phone.numbers import clean, plain
from agi_xmpp.features.phone.people import People, Person
from agi_xmpp.features.phone.watches import Watches
from agi_xmpp.xmpp.model import Field, Form, Jid

#: Somebody's answers: field to text.
Values = Mapping[str, str]

#: Calls of a person are numbered from 1 to here, and then from 1 again: short to type, and a number that comes too late
#: does not name the next call.
MAX_NUMBER = 99

#: People in a list to choose from; where there are more, a name is typed.
MAX_LIST = 50

_PHASES: Mapping[Phase, str] = {
    Phase.OPENING: "begins",
    Phase.RINGING: "rings",
    Phase.DIALLING: "is being called",
    Phase.TALKING: "talking",
}
_STATES: Mapping[str, str] = {
    "NOT_INUSE": "free",
    "INUSE": "in use",
    "BUSY": "in use",
    "RINGING": "rings",
    "RINGINUSE": "rings, and is in use",
    "ONHOLD": "on hold",
    "UNAVAILABLE": "out of reach: not registered",
    "INVALID": "out of reach: Asterisk does not know it",
}
_ON_OFF = (("on", "on"), ("off", "off"))


class Acting(Protocol):
    """What is done with calls; `Actions` implements it. All raise `Refused` with a text for the person."""

    async def dial(self, person: Person, target: str, *, device: str = "", by: Jid | None = None) -> None:
        """Let the person's phone ring, and then call ``target``."""

    async def forward(self, person: Person, call_id: str, target: str, *, by: Jid | None = None) -> None:
        """Send a call on."""

    async def hangup(self, person: Person, call_id: str, *, by: Jid | None = None) -> None:
        """End a call, or reject it while it rings."""


class Convening(Protocol):
    """Opens conferences; `agi_xmpp.features.conference.invitations.convener.Convener` implements it."""

    def convene(self, asker: Jid, wanted: str, say: Callable[[str], None]) -> str:
        """See `Convener.convene`."""


class CallNames:
    """The numbers by which people name their calls: ``#2``. A call keeps its own to the end."""

    def __init__(self) -> None:
        self._numbers: dict[str, dict[str, int]] = {}
        self._last: dict[str, int] = {}

    def name(self, owner: str, calls: Sequence[Call]) -> list[tuple[int, Call]]:
        """Return all calls of somebody with their numbers, the oldest first."""
        live = {call.id for call in calls}
        numbers = {call_id: number for call_id, number in self._numbers.get(owner, {}).items() if call_id in live}
        ordered = sorted(calls, key=lambda call: call.began)
        for call in ordered:
            if call.id not in numbers:
                numbers[call.id] = self._next(owner, set(numbers.values()))
        self._numbers[owner] = numbers
        return [(numbers[call.id], call) for call in ordered]

    def _next(self, owner: str, used: set[int]) -> int:
        number = self._last.get(owner, 0)
        while True:
            number = number % MAX_NUMBER + 1
            if number not in used or len(used) >= MAX_NUMBER:
                self._last[owner] = number
                return number


@dataclass(frozen=True, slots=True)
class Switchboard:
    """What the commands act on.

    Attributes:
        people: the user map.
        acting: dials, forwards and hangs up.
        calls: returns the calls of somebody, by their bare JID as text.
        device_state: returns Asterisk's word for a phone's state, "" if unknown.
        notes: the ring notes.
        availability: who does not want to be disturbed.
        watches: who waits for whom.
        clock: seconds, monotonic; that of the calls.
        names: the numbers of the calls.
        convener: returns what opens conferences, or None where there are none.
        tell: writes to somebody in chat, later than the answer to a command.
    """

    people: People
    acting: Acting
    calls: Callable[[str], Sequence[Call]]
    device_state: Callable[[str], str]
    notes: Notes
    availability: Availability
    watches: Watches
    clock: Callable[[], float]
    names: CallNames = field(default_factory=CallNames)
    convener: Callable[[], Convening | None] = lambda: None
    tell: Callable[[Person, str], None] = lambda _person, _text: None

    def calls_of(self, person: Person) -> list[tuple[int, Call]]:
        """Return somebody's calls with their numbers, the oldest first."""
        owner = str(person.jid)
        return self.names.name(owner, self.calls(owner))

    def call_of(self, named: str, calls: Sequence[tuple[int, Call]], example: str) -> Call:
        """Return the call that somebody means.

        Args:
            named: a number, a call's id, or "".
            calls: what it can be.
            example: how to name one, with ``#{number}``.

        Raises:
            Refused: there is none, or several.
        """
        if not calls:
            raise Refused("You have no call for that.", "item-not-found")
        if named:
            for number, call in calls:
                if named in (str(number), call.id):
                    return call
            shown = f"#{named} " if named.isdecimal() else ""
            raise Refused(f"You have no call {shown}for that.", "item-not-found")
        if len(calls) > 1:
            said = example.replace("{number}", str(calls[0][0]))
            lines = [f"You have {len(calls)} calls. Which one? Say for example “{said}”."]
            raise Refused("\n".join([*lines, *(self.line(number, call) for number, call in calls)]), "bad-request")
        return calls[0][1]

    def line(self, number: int, call: Call) -> str:
        """Return a call in a line: ``#1 Ann, 101: talking for 3:12 on PJSIP/102, on hold``."""
        since = call.began if call.answered is None else call.answered
        held = ", on hold" if call.held else ""
        lasts = f"{_PHASES.get(call.phase, 'ends')} for {duration(self.clock() - since)}"
        return f"#{number} {caller(call.party)}: {lasts} on {call.device}{held}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for.

    Attributes:
        person: who.
        values: the form's fields; any may be missing or empty, and hold anything.
        by: the full JID of their client, for the log.
    """

    person: Person
    values: Values
    by: Jid


class PhoneCommand(abc.ABC):
    """Something that people can ask for.

    Attributes:
        node: its address as a command (XEP-0050).
        title: what a list of commands shows.
        words: texts that begin with one of these are meant for us, also where they are wrong.
        pattern: what can be said in chat, in one line without double blanks; its groups are the form's fields.
        examples: what can be said, and what that does.
        listed: it is among the commands of XEP-0050, too.
        of_a_call: its field ``call`` names one of the person's calls.
    """

    node: ClassVar[str]
    title: ClassVar[str]
    words: ClassVar[tuple[str, ...]]
    pattern: ClassVar[re.Pattern[str]]
    examples: ClassVar[tuple[tuple[str, str], ...]]
    listed: ClassVar[bool] = True
    of_a_call: ClassVar[bool] = False

    def __init__(self, board: Switchboard) -> None:
        self.board = board

    @property
    def is_offered(self) -> bool:
        """True if it can be asked for in this installation."""
        return True

    def read(self, text: str) -> dict[str, str] | None:
        """Return what somebody has said, as if they had filled in the form; None if it is not this command."""
        match = self.pattern.fullmatch(text)
        return {key: value.strip() for key, value in match.groupdict(default="").items()} if match else None

    def explain(self, text: str) -> str:  # noqa: ARG002 - some look at it
        """Return what is wrong with a text that begins with one of `words` and is not this command."""
        return "I don't understand that."

    def form(self, person: Person) -> Form | None:  # noqa: ARG002 - some need to know who asks
        """Return what has to be filled in first; None if there is nothing to ask.

        Raises:
            Refused: the command makes no sense for the person now.
        """
        return None

    @abc.abstractmethod
    async def run(self, asked: Asked) -> str:
        """Do it.

        Returns:
            One or more sentences for the person.

        Raises:
            Refused: it was not done; the text is for the person.
        """


def _say(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


class Dial(PhoneCommand):
    """Click to dial."""

    node, title = "dial", "Call somebody"
    words = ("call", "dial")
    pattern = _say(r"(?:call|dial) (?P<target>\S.*?)(?: from (?P<device>\S+))?")
    examples = (
        ("call 601", "your phone rings; pick it up, and 601 is called"),
        ("call ann", "the same by name or address"),
        ("call 601 from PJSIP/201", "with another phone of yours"),
    )

    def read(self, text: str) -> dict[str, str] | None:
        """See `PhoneCommand.read`. "Call me back later" is no command: what is dialled is a number or somebody."""
        values = super().read(text)
        return values if values and _is_target(self.board.people, values["target"]) else None

    def explain(self, text: str) -> str:
        """See `PhoneCommand.explain`."""
        values = super().read(text)
        return _nobody(values["target"]) if values else super().explain(text)

    def form(self, person: Person) -> Form | None:
        """See `PhoneCommand.form`."""
        fields = [Field("target", "Number, name or address", required=True)]
        if len(person.devices) > 1:
            options = tuple((device, device) for device in person.devices)
            fields.append(Field("device", "With which phone", options, person.devices[0]))
        return Form(self.title, "Your own phone rings first. Pick it up, and the other side is called.", tuple(fields))

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        typed = _needed(asked.values, "target", "Whom do you want to call?")
        device = _device(asked.person, asked.values.get("device", "").strip())
        target, whom = _target(self.board.people, typed)
        await self.board.acting.dial(asked.person, target, device=device, by=asked.by)
        return f"Your phone {device or asked.person.devices[0]} rings. Pick it up, and {whom} is called."


class ListCalls(PhoneCommand):
    """The calls that go on."""

    node, title = "calls", "My calls"
    words = ("calls",)
    pattern = _say(r"(?:my )?calls")
    examples = (("calls", "your calls, and what they are called here"),)

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        lines = [self.board.line(number, call) for number, call in self.board.calls_of(asked.person)]
        return "\n".join(lines) or "You have no calls now."


class Forward(PhoneCommand):
    """Sends a call on, while it rings or while people talk."""

    node, title = "forward", "Forward a call"
    words = ("transfer", "forward")
    pattern = _say(r"(?:transfer|forward)(?: call)?(?: #(?P<call>[0-9]{1,4}))?(?: to)? (?P<target>[^\s#].*)")
    examples = (
        ("transfer 103", "your call goes to 103, also while it rings"),
        ("transfer #2 103", "the same with one of several calls"),
    )
    of_a_call = True

    def read(self, text: str) -> dict[str, str] | None:
        """See `PhoneCommand.read`."""
        values = super().read(text)
        return values if values and _is_target(self.board.people, values["target"]) else None

    def explain(self, text: str) -> str:
        """See `PhoneCommand.explain`."""
        values = super().read(text)
        return _nobody(values["target"]) if values else super().explain(text)

    def form(self, person: Person) -> Form | None:
        """See `PhoneCommand.form`."""
        calls = self._calls(person)
        if not calls:
            raise Refused("You have no call that could be forwarded.", "item-not-found")
        fields = (_which(self.board, calls), Field("target", "To which number, name or address", required=True))
        return Form(self.title, "The other side is connected to somebody else, and your phone is free.", fields)

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        typed = _needed(asked.values, "target", "To whom?")
        calls = self._calls(asked.person)
        call = self.board.call_of(asked.values.get("call", ""), calls, f"transfer #{{number}} {plain(typed)}")
        target, whom = _target(self.board.people, typed)
        await self.board.acting.forward(asked.person, call.id, target, by=asked.by)
        return f"Forwarded to {whom}: {caller(call.party)}."

    def _calls(self, person: Person) -> list[tuple[int, Call]]:
        return [
            (number, call)
            for number, call in self.board.calls_of(person)
            if call.phase is Phase.TALKING or (call.phase is Phase.RINGING and call.incoming)
        ]


class HangUp(PhoneCommand):
    """Ends a call."""

    node, title = "hangup", "Hang up, or reject a call"
    words = ("hangup", "reject")
    pattern = _say(r"(?:hangup|hang up|reject)(?: call)?(?: #?(?P<call>[0-9]{1,4}))?")
    examples = (("hangup", "your call ends; while it rings, it is rejected"), ("hangup #2", "one of several calls"))
    of_a_call = True

    def form(self, person: Person) -> Form | None:
        """See `PhoneCommand.form`."""
        calls = self.board.calls_of(person)
        if not calls:
            raise Refused("You have no call.", "item-not-found")
        if len(calls) == 1:
            return None
        return Form(self.title, "Which call is to end?", (_which(self.board, calls),))

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        calls = self.board.calls_of(asked.person)
        call = self.board.call_of(asked.values.get("call", ""), calls, "hangup #{number}")
        await self.board.acting.hangup(asked.person, call.id, by=asked.by)
        rejected = call.phase is Phase.RINGING and call.incoming
        return f"{'Rejected' if rejected else 'Ended'}: {caller(call.party)}."


class Dnd(PhoneCommand):
    """Do not disturb."""

    # Not "busy" and "free" as well: too many ordinary messages are one of these words.
    node, title = "dnd", "Do not disturb"
    words = ("dnd",)
    pattern = _say(r"(?:dnd|do not disturb)(?: (?P<state>on|off))?")
    examples = (("dnd on", "do not disturb: colleagues and the telephone system see it"), ("dnd off", "the end of it"))

    def form(self, person: Person) -> Form | None:
        """See `PhoneCommand.form`."""
        on = self.board.availability.has_dnd(person)
        state = Field("state", "Do not disturb", _ON_OFF, "off" if on else "on", required=True)
        return Form(self.title, f"It is {'on' if on else 'off'} now.", (state,))

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        wanted = _on_off(asked.values)
        if wanted is not None:
            self.board.availability.set_dnd(asked.person, wanted)
        on = self.board.availability.has_dnd(asked.person)
        return f"Do not disturb is {'on' if on else 'off'}{' now' if wanted is not None else ''}."


class ListDevices(PhoneCommand):
    """The person's phones."""

    node, title = "devices", "My phones"
    words = ("devices",)
    pattern = _say(r"(?:my )?(?:devices|phones)")
    examples = (("devices", "your phones, and whether they can be reached"),)

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        calls = self.board.calls_of(asked.person)
        lines = []
        for device in asked.person.devices:
            # Asterisk's own word is not right for a phone with several calls (asterisk/asterisk #1181).
            mine = [f"#{number}" for number, call in calls if call.device == device]
            word = self.board.device_state(device)
            state = f"call {', '.join(mine)}" if mine else _STATES.get(word, word.lower() or "not known")
            lines.append(f"{device}: {state}")
        return "\n".join(lines)


class RingNotes(PhoneCommand):
    """Whether the person is told in chat who calls."""

    node, title = "notes", "Chat messages about calls"
    words = ("notes",)
    pattern = _say(r"notes(?: (?P<state>on|off))?")
    examples = (("notes on", "a chat message for each call that comes in"), ("notes off", "no such messages"))

    def form(self, person: Person) -> Form | None:
        """See `PhoneCommand.form`."""
        on = self.board.notes.wanted(person)
        state = Field("state", "A message for each call that comes in", _ON_OFF, "off" if on else "on", required=True)
        return Form(self.title, f"They are {'on' if on else 'off'} now.", (state,))

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        wanted = _on_off(asked.values)
        if wanted is not None:
            self.board.notes.want(asked.person, wanted)
        on = self.board.notes.wanted(asked.person)
        return f"Messages about calls are {'on' if on else 'off'}{' now' if wanted is not None else ''}."


class Notify(PhoneCommand):
    """Tell me when somebody is free."""

    node, title = "notify", "Tell me when somebody is free"
    words = ("notify",)
    pattern = _say(
        r"(?:tell|notify) me when (?P<person>\S.*?) is (?:free|available|back)(?: again)?|notify (?P<state>off)"
    )
    examples = (
        ("tell me when ann is free", "a message as soon as Ann has hung up"),
        ("notify off", "no such message any more"),
    )

    def form(self, person: Person) -> Form | None:
        """See `PhoneCommand.form`."""
        others = sorted((other for other in self.board.people if other.jid != person.jid), key=lambda other: other.name)
        options = tuple((str(other.jid), other.name) for other in others) if len(others) <= MAX_LIST else ()
        waited_for = ", ".join(other.name for other in self.board.watches.of(person))
        now = f"You wait for {waited_for} now." if waited_for else "You will get one message when their line is free."
        return Form(self.title, now, (Field("person", "Who", options, required=True),))

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        if asked.values.get("state"):
            count = self.board.watches.remove(asked.person)
            return f"You wait for nobody any more ({count} until now)."
        typed = _needed(asked.values, "person", "For whom?")
        found = self.board.people.find(typed)
        if found is None:
            raise Refused(_nobody(typed), "item-not-found")
        return self.board.watches.add(asked.person, found)


class Conference(PhoneCommand):
    """A conference with its room in chat (docs/conference.md)."""

    node, title = "conf", "Open a conference"
    # Not "conference" as well: "conference at five" is an ordinary message.
    words = ("conf",)
    pattern = _say(r"conf(?: (?P<people>\S.*))?")
    examples = (
        ("conf ann bob", "a conference: your phone, Ann's and Bob's ring, and you are invited to its room in chat"),
        ("conf 6000 ann", "the same with a certain conference"),
        ("conf", "a conference for you alone, to invite others from its room"),
    )

    @property
    def is_offered(self) -> bool:
        """See `PhoneCommand.is_offered`."""
        return self.board.convener() is not None

    def read(self, text: str) -> dict[str, str] | None:
        """See `PhoneCommand.read`."""
        return super().read(text) if self.is_offered else None

    def form(self, person: Person) -> Form | None:  # noqa: ARG002 - the same for all
        """See `PhoneCommand.form`."""
        self._convener()
        people = Field("people", "Whom, by names or numbers; the conference's number before them for a certain one")
        return Form(self.title, "Your phone rings, and theirs; you are invited to the room in chat.", (people,))

    async def run(self, asked: Asked) -> str:
        """See `PhoneCommand.run`."""
        wanted = " ".join(asked.values.get("people", "").split())
        return self._convener().convene(asked.by, wanted, lambda text: self.board.tell(asked.person, text))

    def _convener(self) -> Convening:
        convener = self.board.convener()
        if convener is None:
            raise Refused("There are no conferences here.", "item-not-found")
        return convener


class Help(PhoneCommand):
    """What can be said."""

    node, title = "help", "Help"
    words = ()
    pattern = _say(r"help|\?")
    examples = (("help", "this list"),)
    listed = False

    async def run(self, asked: Asked) -> str:  # noqa: ARG002 - the list is the same for all
        """See `PhoneCommand.run`."""
        offered = (command for command in command_set(self.board) if command.is_offered)
        lines = [f"{text} – {means}" for command in offered for text, means in command.examples]
        return "\n".join(["You can say:", *lines])


#: All there are, in the order of the lists.
COMMANDS: tuple[type[PhoneCommand], ...] = (
    Dial,
    ListCalls,
    Forward,
    HangUp,
    Dnd,
    ListDevices,
    RingNotes,
    Notify,
    Conference,
    Help,
)


def command_set(board: Switchboard) -> list[PhoneCommand]:
    """Return all commands."""
    return [make(board) for make in COMMANDS]


def _is_target(people: People, text: str) -> bool:
    """Return True if a text can be meant as somebody to call: an address, somebody's name, or a number with a digit."""
    try:
        if "@" in text or people.find(text) is not None:
            return True
    except Refused:
        return True  # several are called so, and the person is told that
    try:
        return any(char.isdecimal() for char in clean(text))
    except Refused:
        return False


def _target(people: People, text: str) -> tuple[str, str]:
    """Return what to dial for what somebody typed, and who that is: the beginning of a name may be somebody else's."""
    found = people.find(text)
    if found is None or text == found.extension:
        return text, plain(text)
    return found.extension, found.name


def _nobody(name: str) -> str:
    return f"Nobody with a phone is called “{plain(name)}”."


def _device(person: Person, typed: str) -> str:
    """Return the phone that is meant: ``201`` is PJSIP/201, if that is the person's only one of that name."""
    meant = [device for device in person.devices if device.partition("/")[2].casefold() == typed.casefold()]
    return meant[0] if len(meant) == 1 else typed


def _which(board: Switchboard, calls: Sequence[tuple[int, Call]]) -> Field:
    options = tuple((call.id, board.line(number, call)) for number, call in calls)
    return Field("call", "Which call", options, options[0][0], required=True)


def _needed(values: Values, var: str, question: str) -> str:
    text = values.get(var, "").strip()
    if not text:
        raise Refused(question, "bad-request")
    return text


def _on_off(values: Values) -> bool | None:
    state = values.get("state", "").casefold()
    if state not in ("", "on", "off"):
        raise Refused("Say on or off.", "bad-request")
    return state == "on" if state else None
