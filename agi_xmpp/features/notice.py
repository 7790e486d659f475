"""``agi-xmpp notice``: something that many people should know, as a headline (RFC 6121 section 5.2.2).

A headline is shown by every client that is there and kept by no server: who is offline gets nothing, and nobody finds
the maintenance of last week among today's messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agi_xmpp.config import Settings
from agi_xmpp.errors import BadText, ConfigError, NotConfirmed, NotConnected, UnknownAccount, UsageError, XmppError
from agi_xmpp.xmpp.jid import parse
from agi_xmpp.xmpp.model import Extras, Session, SessionState

log = logging.getLogger("agi_xmpp.notice")

#: Notices a second: servers slow down or throw out whoever sends faster (ejabberd's shaper lets 3 KB a second pass),
#: and then the messages of calls would have to wait as well.
RATE = 20

#: Notices in one request to the running service, so that it answers soon: those of a second or two.
BATCH = 25

#: Characters of the subject: one line of a window.
SUBJECT_LENGTH = 200

#: People told at once: with more it takes longer than ten minutes, and the server's own announcements do it better.
MAX_PEOPLE = 12_000


#: Seconds that the service's stop may be held up by telling people of it.
GOODBYE_TIME = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a notice.

    Attributes:
        sent: how many of the people were told.
        refused: a sentence for each one whose notice came back.
        stopped: why the rest of them were not tried, or "".
    """

    sent: int = 0
    refused: tuple[str, ...] = ()
    stopped: str = ""

    def __add__(self, later: Report) -> Report:
        """Return what became of both parts of a notice."""
        return Report(self.sent + later.sent, self.refused + later.refused, later.stopped)


def account_of(settings: Settings, name: str | None) -> str:
    """Return the account that a notice comes from: the one named, that of the phones, or the only one.

    Raises:
        UnknownAccount: there is none of that name.
        UsageError: there are several, and none is named.
    """
    known = ", ".join(settings.account) or "none"
    if name is None and settings.phone is not None:
        name = settings.phone.account
    if name is None:
        if len(settings.account) != 1:
            raise UsageError(f"which account? --account NAME says it (known: {known})")
        return next(iter(settings.account))
    account = settings.account_key(name)
    if account is None:
        raise UnknownAccount(f"no account {name!r} (known: {known})")
    return account


def addressees(
    settings: Settings, account: str, to: Sequence[str], *, all_users: bool = False, buddies: bool = False
) -> list[str]:
    """Return the bare JIDs of who is told, each once.

    Args:
        settings: all.
        account: whose buddies are meant.
        to: JIDs.
        all_users: everybody in the user map.
        buddies: all buddies of the account.

    Raises:
        BadJid: one of them is no Jabber ID.
        ConfigError: there is no user map.
        UsageError: that is nobody, or too many.
    """
    people = list(to)
    if all_users:
        if settings.phone is None:
            raise ConfigError("there is no [phone], so there are no users: name people by --to, or use --buddies")
        people += settings.phone.user
    if buddies:
        people += settings.account[account].buddies
    found = list(dict.fromkeys(str(parse(person).bare) for person in people))
    if not found:
        raise UsageError("nobody to tell: --to JID, --all-users or --buddies says who")
    if len(found) > MAX_PEOPLE:
        raise UsageError(f"{len(found)} people are too many; at most {MAX_PEOPLE} can be told at once")
    return found


def check_subject(subject: str) -> str:
    """Return the subject, if it is one.

    Raises:
        BadText: it is empty, has several lines or is too long.
    """
    if not subject.strip() or len(subject.splitlines()) > 1:
        raise BadText("the subject must be one line; what comes behind it may have several")
    if len(subject) > SUBJECT_LENGTH:
        raise BadText(f"the subject has {len(subject)} characters; at most {SUBJECT_LENGTH} are allowed")
    return subject


def circle(settings: Settings, account: str) -> list[str]:
    """Return who has to do with an account: its buddies, and everybody in the user map if it serves the phones."""
    people = list(settings.account[account].buddies)
    if settings.phone is not None and settings.phone.account == account:
        people += settings.phone.user
    return list(dict.fromkeys(str(parse(person).bare) for person in people))


async def say_goodbye(session: Session, people: Sequence[str], text: str) -> None:
    """Tell people that the service stops: as many as it can in `GOODBYE_TIME` seconds. The log has how many not.

    Without a connection nobody is waited for: there may be none for hours.
    """
    if session.info().state is not SessionState.ONLINE:
        return
    told = 0

    async def count(_seconds: float) -> None:  # no pause between: each waits for the server as it is
        nonlocal told
        told += 1

    reason = f"{GOODBYE_TIME:g} s are over"
    try:
        async with asyncio.timeout(GOODBYE_TIME):
            report = await tell(session, people, text, text, timeout=GOODBYE_TIME, pause=count)
            reason = report.stopped
    except TimeoutError:
        pass
    except UsageError as error:  # no text for this account, such as one longer than its max_body
        log.error("account %s: stop_notice: nobody was told: %s", session.account, error)
        return
    if told < len(people):
        log.warning("account %s: stop_notice: %d were not told: %s", session.account, len(people) - told, reason)


async def tell(
    session: Session,
    people: Sequence[str],
    subject: str,
    body: str,
    *,
    timeout: float,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Report:
    """Send a notice to people, one after the other.

    Each waits until the server has the one before, so that a message of a call never waits behind more than one.

    Args:
        session: of the account.
        people: bare JIDs.
        subject, body: what is shown.
        timeout: seconds that each may take.
        pause: waits so many seconds.

    Raises:
        BadJid, BadText: it cannot be sent; nobody was told.
    """
    extras = Extras(expects_answer=False, headline=True, subject=subject)
    sent = 0
    refused: list[str] = []
    loop = asyncio.get_running_loop()
    for person in people:
        began = loop.time()
        try:
            await session.send_message(person, body, extras=extras, timeout=timeout)
        except (NotConnected, NotConfirmed) as error:
            return Report(sent, tuple(refused), str(error))
        except XmppError as error:
            refused.append(str(error))
        else:
            sent += 1
        await pause(max(began + 1 / RATE - loop.time(), 0.0))
    return Report(sent, tuple(refused))
