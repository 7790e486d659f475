"""What a verb is, and what one call of it has at hand: its arguments, its options, its account, its variables."""

from __future__ import annotations

import difflib
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from agi_xmpp.agi.channel import Channel
from agi_xmpp.errors import BadText, UnknownAccount, UsageError
from agi_xmpp.features.call_ends import CallEnds
from agi_xmpp.features.conference.invitations.convener import Convener
from agi_xmpp.features.contacts.whois import WhoIs
from agi_xmpp.features.voicemail.delivery import Voicemail
from agi_xmpp.quoting import MAX_SECONDS
from agi_xmpp.xmpp.model import Session


@dataclass(frozen=True, slots=True)
class Verb:
    """One word of the dialplan's vocabulary.

    Attributes:
        name: lower case with underscores; the dialplan may write it in any case and without underscores.
        usage: what a log line shows to somebody who got it wrong.
        clears: variables and the values they get before anything else happens, so that neither a crash nor an earlier
            call can look like a result of this one.
        status: the variable that tells how it ended; one of ``clears``.
        failures: which words of `dialplan_status` it may say there; for others it keeps what ``clears`` says.
        options: names allowed behind the ``?``.
        arguments: least number of arguments.
        max_arguments: most arguments; None if the last one is free text, to which further commas belong.
        run: the work. What it raises becomes a status and JABBER_ERROR.
        ends_with_call: True if nothing is gained by going on once the caller hung up: the work is cancelled then.
    """

    name: str
    usage: str
    clears: Mapping[str, str]
    status: str
    failures: frozenset[str]
    options: frozenset[str]
    arguments: int
    max_arguments: int | None
    run: Callable[[Call], Awaitable[None]]
    ends_with_call: bool

    @property
    def key(self) -> str:
        """The name as it is compared."""
        return fold(self.name)


def fold(name: str) -> str:
    """Return a verb's name without case and underscores, as it is compared."""
    return name.replace("_", "").casefold()


class Accounts:
    """The sessions by account name, compared without regard to case as res_xmpp does."""

    def __init__(self, sessions: Mapping[str, Session] | None = None) -> None:
        self._sessions: dict[str, Session] = {}
        for name, session in (sessions or {}).items():
            self.add(name, session)

    def add(self, name: str, session: Session) -> None:
        """Make ``session`` available under ``name``."""
        self._sessions[name.casefold()] = session

    def remove(self, name: str) -> Session:
        """Take the session of that name out and return it."""
        return self._sessions.pop(name.casefold())

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __getitem__(self, name: str) -> Session:
        """Return an account's session.

        Raises:
            UnknownAccount: there is none of that name; the text lists those there are.
        """
        try:
            return self._sessions[name.strip().casefold()]
        except KeyError:
            names = [session.account for session in self]
            known = f"known: {', '.join(sorted(names))}" if names else "the configuration has none"
            raise UnknownAccount(f"no account {name.strip()!r} ({known})") from None


@dataclass(slots=True)
class Call:
    """One use of a verb in one call.

    Attributes:
        channel: the conversation with Asterisk.
        verb: the verb.
        accounts: all sessions.
        arguments: what the dialplan gave, split at its commas.
        options: what stands behind the ``?``.
        who_is: knows whom a number belongs to.
        ends: undoes things at the end of the call.
        voicemail: delivers recordings.
        convener: invites into conferences; None without any.
    """

    channel: Channel
    verb: Verb
    accounts: Accounts
    arguments: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    who_is: WhoIs | None = None
    ends: CallEnds = field(default_factory=CallEnds)
    voicemail: Voicemail | None = None
    convener: Convener | None = None

    @property
    def thread(self) -> str:
        """What marks the messages of this call, to tell answers to two calls apart (RFC 6121 section 5.2.5)."""
        return f"call-{self.channel.environment.uniqueid}"

    def check(self) -> None:
        """Refuse unknown options and a wrong number of arguments.

        Raises:
            UsageError: says what is wrong and how it is written.
        """
        for name in self.options:
            if name not in self.verb.options:
                near = difflib.get_close_matches(name, self.verb.options, n=1, cutoff=0.5)
                advice = f"did you mean {near[0]}?" if near else f"options: {', '.join(sorted(self.verb.options))}"
                raise UsageError(f"there is no option {name!r}; {advice}")
        needed = self.verb.arguments - (1 if "var" in self.options else 0)
        most = self.verb.max_arguments
        if len(self.arguments) < needed or (most is not None and len(self.arguments) > most):
            raise UsageError(f"got {len(self.arguments)} arguments; it is written {self.verb.usage}")

    @property
    def session(self) -> Session:
        """The session that the first argument names."""
        return self.accounts[self.arguments[0]]

    def choice(self, option: str, values: tuple[str, ...]) -> str:
        """Return an option that has a few possible values; the first of them is the default."""
        value = self.options.get(option, values[0])
        if value not in values:
            raise UsageError(f"{option}={value}: must be one of {', '.join(values)}")
        return value

    def seconds(self, option: str, default: float) -> float:
        """Return an option that is a time in seconds, 0 included."""
        text = self.options.get(option)
        return default if text is None else parse_seconds(text, option, zero=True)

    async def text(self, position: int) -> str:
        """Return the free text from argument number ``position`` (from 0) on, or the variable that ``?var=`` names.

        Raises:
            UsageError: there is none, or it is not encoded as ``?enc=`` says.
        """
        if "var" in self.options and len(self.arguments) > position:
            raise UsageError("give the text either as the last argument or by var=NAME, not both")
        value = await self.variable()
        text = self.decoded(",".join(self.arguments[position:]) if value is None else value)
        if not text:
            raise BadText("the text is empty")
        return text

    async def variable(self) -> str | None:
        """Return the channel variable that ``?var=`` names, as it stands there; None without that option.

        Raises:
            UsageError: there is no such variable.
        """
        name = self.options.get("var")
        if name is None:
            return None
        value = await self.channel.get_text(name)
        if value is None:
            raise UsageError(f"var={name}: the channel has no variable of that name")
        return value

    def decoded(self, text: str) -> str:
        """Return what ``text`` stands for: it is encoded if ``?enc=uri`` says so.

        Raises:
            BadText: it is not encoded as the option says.
        """
        return _uri_decoded(text) if self.choice("enc", ("plain", "uri")) == "uri" else text

    async def set(self, name: str, value: str) -> None:
        """Set a channel variable to any text."""
        await self.channel.set_text(name, value)


def parse_seconds(text: str, what: str, *, zero: bool = False) -> float:
    """Return a time in seconds, such as ``20`` or ``2.5``.

    Raises:
        UsageError: it is no number, negative, zero where that makes no sense, or longer than a day.
    """
    number = text.strip()
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", number):
        raise UsageError(f"{what}={number}: must be a number of seconds")
    value = float(number)
    if value > MAX_SECONDS:
        raise UsageError(f"{what}={number}: at most {MAX_SECONDS} seconds")
    if value == 0 and not zero:
        raise UsageError(f"{what}={number}: must be more than 0 seconds")
    return value


def _uri_decoded(text: str) -> str:
    # Asterisk's URIENCODE() writes a blank as %20 and leaves "+" alone, so "+" stays a plus here (RFC 3986).
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise BadText("enc=uri, but the text holds a % that begins no code: was it passed through ${URIENCODE()}?")
    try:
        return urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadText("enc=uri, but the decoded text is not UTF-8") from None
