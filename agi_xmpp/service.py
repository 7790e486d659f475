"""The service as a whole: builds the parts from the settings, starts, stops and reloads them.

Order: first the FastAGI port is opened (an Asterisk that cannot connect loses the feature for that call), then the
accounts log in while calls are served already; a verb waits for its session for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from agi_xmpp import __version__
from agi_xmpp.agi.server import AgiServer
from agi_xmpp.ami import privileges
from agi_xmpp.ami.client import AmiClient
from agi_xmpp.ami.listeners import Listeners
from agi_xmpp.ami.model import AmiInfo, AmiState
from agi_xmpp.config import AccountSettings, Settings, load
from agi_xmpp.control import ControlServer
from agi_xmpp.errors import AgiXmppError, AmiError, ConfigError
from agi_xmpp.features import VERBS, notice
from agi_xmpp.features.conference.gateway import Gateway
from agi_xmpp.features.contacts.directory import Directory
from agi_xmpp.features.contacts.finder import Finder
from agi_xmpp.features.contacts.whois import WhoIs
from agi_xmpp.features.dispatch import Dispatcher
from agi_xmpp.features.phone.phones import Phones
from agi_xmpp.features.script import script_routes
from agi_xmpp.features.verb import Accounts
from agi_xmpp.features.voicemail import mailcmd
from agi_xmpp.features.voicemail.delivery import Voicemail
from agi_xmpp.store import Store
from agi_xmpp.watch import Watch
from agi_xmpp.xmpp.component import make_session
from agi_xmpp.xmpp.model import Session, SessionInfo

log = logging.getLogger("agi_xmpp.service")

MakeSession = Callable[[str, AccountSettings], Session]


class Service:
    """All parts of one running agi-xmpp.

    Args:
        settings: already checked.
        path: the file that they came from, read again on reload.
        make_session: how an account becomes a session; tests put something else here.

    Raises:
        AgiXmppError: an account's JID is none, or a script cannot be loaded.
    """

    def __init__(self, settings: Settings, path: Path, make_session: MakeSession = make_session) -> None:
        self.settings = settings
        self._fixed = _fixed(settings)
        self.path = path
        self._make_session = make_session
        self._started = time.time()
        self.accounts = Accounts({name: make_session(name, account) for name, account in _accounts(settings).items()})
        self._voicemail = Voicemail(settings.voicemail)
        self._dispatcher = Dispatcher(self.accounts, VERBS, script_routes(settings.agi.script))
        self._dispatcher.voicemail = self._voicemail
        self._agi = AgiServer(settings.agi, self._dispatcher)
        self._control = self._make_control(settings)
        self._listening = ""
        self._reloading = asyncio.Lock()
        self._over = False
        self._watch = Watch()
        self._store: Store | None = None
        self._ami_listeners = Listeners()
        self._ami_listeners.add(self._dispatcher.ends)
        self._ami = self._make_ami(settings)
        self._phones: Phones | None = None
        self._directory: Directory | None = None
        self._finder: Finder | None = None
        self._conferences: Gateway | None = None

    async def start(self) -> None:
        """Open the ports and begin to log in.

        Raises:
            ConfigError: a port, the control socket or the state directory cannot be had; or the phones' settings are
                wrong.
        """
        # First what can fail: nobody has seen us then.
        Voicemail.check(self.settings.voicemail)
        Finder.check(self.settings)
        phones = self._make_phones(self.settings)
        conferences = self._make_conferences(self.settings)
        if self._control is not None:
            await self._control.start()
        try:
            await self._agi.start()
        except OSError as error:
            if self._control is not None:
                await self._control.stop()
            advice = "; ss -ltnp shows which program has it" if error.errno == errno.EADDRINUSE else ""
            reason = f"{error.strerror or error}{advice}"
            raise ConfigError(f"agi: cannot listen on {_addresses(self.settings)}: {reason}") from None
        self._listening = _addresses(self.settings, self.ports)
        log.info("agi-xmpp %s serves agi://%s", __version__, self._listening)
        await self._start_phones(phones)
        await self._start_conferences(conferences)
        self._start_contacts(await _read_directory(self.settings))
        for session in self.accounts:
            await session.start()
        if self._ami is not None:
            await self._ami.start()
        if not self.settings.account:
            log.warning("%s has no [account.NAME]: every verb will say so", self.path)

    async def stop(self) -> None:
        """Let calls end, send what is queued, log out. A reload that is under way is waited for; none follows."""
        async with self._reloading:
            self._over = True
            await self._end()

    async def _end(self) -> None:
        log.info("stopping; %d calls are served", self._agi.stats.open)
        await self._agi.stop()
        await self._say_goodbye()
        self._dispatcher.ends.stop()
        await self._stop_contacts()
        await self._stop_conferences()
        await self._stop_phones()
        await _stop(self.accounts)
        if self._ami is not None:
            await self._ami.stop()
        if self._control is not None:
            await self._control.stop()
        if self._store is not None:
            self._store.close()
        log.info("stopped")

    async def _say_goodbye(self) -> None:
        """Tell people that the service stops, where ``stop_notice`` says so."""
        goodbyes = (
            notice.say_goodbye(self.accounts[name], notice.circle(self.settings, name), account.stop_notice)
            for name, account in self.settings.account.items()
            if account.stop_notice
        )
        await asyncio.gather(*goodbyes)

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, stop. SIGHUP reloads the configuration."""
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        reloads: set[asyncio.Task[None]] = set()

        def hup() -> None:
            task = asyncio.ensure_future(self.reload())
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end.set)
        loop.add_signal_handler(signal.SIGHUP, hup)
        try:
            await self.start()
            notify("READY=1")
            await end.wait()
            notify("STOPPING=1")
            await self.stop()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
            for task in reloads:
                task.cancel()

    async def reload(self) -> None:
        """Read the configuration again and change only what differs; a wrong one changes nothing.

        Calls go on. An account keeps its session if nothing has changed but what a session takes in place, such as its
        buddies (`Session.change_to`); otherwise it logs in anew, and verbs that wait on its old session get an error.
        """
        async with self._reloading:
            if self._over:
                return
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                await self._apply(load(self.path))
            except AgiXmppError as error:
                log.error("reload: %s; the old configuration stays in force", str(error).replace("\n", "; "))
            except Exception:
                log.exception("reload failed half-way; restart the service")
            finally:
                notify("READY=1")

    async def _apply(self, new: Settings) -> None:
        old = self.settings
        routes = script_routes(new.agi.script)
        Voicemail.check(new.voicemail)
        if new.phone is not None:
            Phones.check(new.phone)
        Finder.check(new)
        if new.conference is not None:
            Gateway.check(new.conference, new.account[new.conference.account])
        gone = [name for name in old.account if name not in new.account]
        before = _accounts(old)
        fresh: dict[str, Session] = {}
        changes: dict[str, Callable[[], None]] = {}
        for name, account in _accounts(new).items():
            if account == before.get(name):
                continue
            change = self.accounts[name].change_to(account) if name in before else None
            if change is None:
                fresh[name] = self._make_session(name, account)
            else:
                changes[name] = change
        # Read before anything ends: meanwhile the old one answers.
        directory = await _read_directory(new) if fresh or _contacts(new) != _contacts(old) else None
        # What can be wrong with the new file has been found by now: from here on it is in force.
        self.settings = new
        if _fixed(new) != self._fixed:
            log.warning("reload: agi.listen, agi.port, agi.backlog, control.socket and state need a restart")
        logging.getLogger("agi_xmpp").setLevel(new.log.level.upper())
        self._agi.settings = new.agi
        self._dispatcher.routes = routes
        self._voicemail.settings = new.voicemail
        for change in changes.values():
            change()
        ending = [self.accounts.remove(name) for name in gone]
        for name, session in fresh.items():
            if name in old.account:
                ending.append(self.accounts.remove(name))
            self.accounts.add(name, session)  # from now on verbs wait for the new login
        conferences = self._conferences
        if conferences is not None and not {conferences.session, conferences.phones}.isdisjoint(ending):
            await self._stop_conferences()  # while people can still be told
        # The server knows one login for each resource: the old one has to end first.
        await _stop(ending)
        for session in fresh.values():
            await session.start()
        await self._apply_asterisk(old, new, fresh)
        if directory is not None:
            await self._stop_contacts()
            self._start_contacts(directory)
        for names, what in ((gone, "removed"), (fresh, "logs in anew"), (changes, "goes on with other settings")):
            for name in names:
                log.info("reload: account %s %s", name, what)
        log.info("reload: done")

    async def _services(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = await self.accounts[str(request["account"])].services(str(request["of"]))
        return {"services": [{"jid": str(service.jid), "name": service.name} for service in found]}

    # Asterisk

    def _make_ami(self, settings: Settings) -> AmiClient | None:
        return None if settings.ami is None else AmiClient(settings.ami, self._ami_listeners)

    async def _apply_asterisk(self, old: Settings, new: Settings, fresh: Mapping[str, Session]) -> None:
        """Make anew what has changed of the connection to Asterisk, and of the services that live on it."""
        another_ami = new.ami != old.ami
        if not another_ami:
            await self._take_up_rights()
        phones = another_ami or _phones_changed(old, new, fresh)
        conferences = another_ami or await self._conferences_changed(old, new, fresh)
        served = self._phones.session if self._phones else None
        if conferences:
            await self._stop_conferences()
        if phones:
            await self._stop_phones()
        if another_ami:
            if self._ami is not None:
                await self._ami.stop()
            self._ami = self._make_ami(new)
        try:
            if phones:
                await self._start_phones(self._make_phones(new))
        finally:
            # Else the session would go on to act by the user map that was in force before.
            if served is not None and (self._phones is None or self._phones.session is not served):
                served.serve_phones(None)
        if conferences:
            await self._start_conferences(self._make_conferences(new))
        if another_ami and self._ami is not None:
            await self._ami.start()
        if phones and (self._phones or old.phone is not None):
            log.info("reload: phones: %s", "go on with the new settings" if self._phones else "none any more")
        if conferences and (self._conferences or old.conference is not None):
            log.info("reload: conferences: %s", "begin anew" if self._conferences else "none any more")

    async def _take_up_rights(self) -> None:
        """Log in to Asterisk anew if rights are missing: what manager.conf grants counts from the next login on."""
        if self._ami is None or self._ami.info().state is not AmiState.ONLINE:
            return
        misses_events = self._conferences is not None and self._conferences.is_deaf
        try:
            classes = privileges.needed(self.settings.phone, self.settings.conference)
            missing = await privileges.missing_privileges(self._ami, classes)
            if missing or misses_events or not self._ami.info().events:
                await self._ami.log_in_anew()
                log.info("reload: logged in to Asterisk anew, in case the manager user has got more rights")
        except AmiError as error:
            log.error("reload: what the manager user may do stays as it is: %s", error)

    # Phones

    def _make_phones(self, settings: Settings) -> Phones | None:
        """Make the phone service that the settings ask for.

        Raises:
            ConfigError: they are wrong in a way that only shows now, or the state directory cannot be used.
        """
        if settings.phone is None or self._ami is None:
            return None
        return Phones(
            settings.phone, self._ami, self.accounts[settings.phone.account], self._opened_store(), self._watch
        )

    def _opened_store(self) -> Store:
        if self._store is None:
            self._store = Store(self.settings.state.directory)
        return self._store

    async def _start_phones(self, phones: Phones | None) -> None:
        self._phones = phones
        self._join_conferences()
        if phones is not None:
            self._ami_listeners.add(phones)
            await phones.start()

    async def _stop_phones(self) -> None:
        phones, self._phones = self._phones, None
        if phones is not None:
            self._ami_listeners.remove(phones)
            await phones.stop()

    # Conferences

    def _make_conferences(self, settings: Settings) -> Gateway | None:
        """Make the conference service that the settings ask for.

        Raises:
            ConfigError: they are wrong in a way that only shows now, or the state directory cannot be used.
        """
        conference = settings.conference
        if conference is None or self._ami is None:
            return None
        phones = self.accounts[conference.phones] if conference.phones else None
        session = self.accounts[conference.account]
        directory = settings.state.directory
        return Gateway(
            conference, settings.phone, self._ami, session, phones, self._opened_store(), directory, self._watch
        )

    async def _start_conferences(self, conferences: Gateway | None) -> None:
        if conferences is not None:
            # Nobody is told of it before: a phone that comes in, or an invitation, would open rooms anew that are kept.
            await conferences.start()
            self._ami_listeners.add(conferences)
        self._conferences = conferences
        self._join_conferences()

    async def _stop_conferences(self) -> None:
        conferences, self._conferences = self._conferences, None
        self._join_conferences()
        if conferences is not None:
            self._ami_listeners.remove(conferences)
            await conferences.stop()

    def _join_conferences(self) -> None:
        """Let the dialplan, and people with phones, invite into conferences."""
        convener = self._conferences.convener if self._conferences is not None else None
        self._dispatcher.convener = convener
        if self._phones is not None:
            self._phones.convener = convener

    async def _conferences_changed(self, old: Settings, new: Settings, fresh: Mapping[str, Session]) -> bool:
        """Tell whether the conferences must begin anew; if not, they are by the new settings from now on."""
        conference = new.conference
        if conference is None or self._conferences is None:
            return conference is not None or old.conference is not None
        if {conference.account, conference.phones} & fresh.keys():
            return True
        return not await self._conferences.apply(conference, new.phone)

    # Contacts

    def _start_contacts(self, directory: Directory) -> None:
        """Let clients and the dialplan look up whom a number belongs to."""
        contacts = self.settings.contacts
        self._directory = directory
        if contacts is not None:
            self._finder = Finder(self.settings, self.accounts[contacts.account], directory)
        book = self._phones.lookup if self._phones is not None else None
        self._dispatcher.who_is = WhoIs(directory, self._finder, book)

    async def _stop_contacts(self) -> None:
        """Let clients look nobody up any more. Calls that are being served may, with what is known."""
        directory, self._directory = self._directory, None
        finder, self._finder = self._finder, None
        if finder is not None:
            await finder.stop()
        if directory is not None:
            await directory.stop()

    @property
    def ports(self) -> tuple[int, ...]:
        """The TCP ports that Asterisk can connect to."""
        return self._agi.ports

    def _make_control(self, settings: Settings) -> ControlServer | None:
        if not settings.control.socket:
            return None
        actions = {
            "status": self._status,
            "send": self._send,
            "notice": self._notice,
            "voicemail": self._voicemail_request,
            "watch": self._watch_request,
            "services": self._services,
        }
        return ControlServer(Path(settings.control.socket), actions)

    async def _status(self, _request: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started": self._started,
            "config": str(self.path),
            "agi": {"listen": self._listening, **dataclasses.asdict(self._agi.stats)},
            # In the order of the file: a reload puts changed accounts behind the others.
            "accounts": [_plain(self.accounts[name].info()) for name in self.settings.account],
            "ami": _plain(self._ami.info()) if self._ami else None,
            "phone": self._phones.status() if self._phones else None,
            "conference": self._conferences.status() if self._conferences else None,
            "state": self._store.problem if self._store else "",
        }

    async def _voicemail_request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return await mailcmd.serve(request, self.accounts, self._voicemail)

    async def _watch_request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Give the lines behind a number; -1 asks for the latest number only."""
        after = int(request["after"])
        lines = [] if after < 0 else await self._watch.after(after, float(request["timeout"]))
        return {"lines": lines, "last": lines[-1]["number"] if lines else self._watch.last}

    async def _notice(self, request: Mapping[str, Any]) -> dict[str, Any]:
        session = self.accounts[str(request["account"])]
        people = [str(person) for person in request["people"]]
        subject, text = str(request["subject"]), str(request["text"])
        report = await notice.tell(session, people, subject, text, timeout=float(request["timeout"]))
        return dataclasses.asdict(report)

    async def _send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        session = self.accounts[str(request["account"])]
        timeout = float(request["timeout"])
        receipt = bool(request["receipt"])
        to, text = str(request["to"]), str(request["text"])
        message_id = await session.send_message(to, text, receipt=receipt, timeout=timeout)
        if receipt:
            await session.delivered(message_id, timeout)
        return {"id": message_id}


async def _stop(sessions: Iterable[Session]) -> None:
    """Stop sessions side by side; one that fails must keep nothing else from its end."""
    sessions = list(sessions)
    for session, result in zip(
        sessions, await asyncio.gather(*(session.stop() for session in sessions), return_exceptions=True), strict=True
    ):
        if isinstance(result, Exception):
            log.error("account %s: its end failed: %r", session.account, result, exc_info=result)


def notify(state: str) -> None:
    """Tell systemd how we are (sd_notify(3)); without systemd, do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


def _accounts(settings: Settings) -> dict[str, AccountSettings]:
    """Return the accounts; the one that serves phones asks for its users' presence where Asterisk shall know it."""
    phone, accounts = settings.phone, dict(settings.account)
    if phone is not None and (phone.presence_state or phone.pause_queues):
        account = settings.account[phone.account]
        buddies = list(dict.fromkeys([*account.buddies, *phone.user]))
        accounts[phone.account] = account.model_copy(update={"buddies": buddies})
    return accounts


def _phones_changed(old: Settings, new: Settings, fresh: Mapping[str, Session]) -> bool:
    return new.phone != old.phone or (new.phone is not None and new.phone.account in fresh)


def _contacts(settings: Settings) -> tuple[object, ...]:
    """What contacts depend on, besides the sessions."""
    return settings.contacts, settings.phone, settings.ami


async def _read_directory(settings: Settings) -> Directory:
    """Return the people of the user map and of files."""
    contacts, phone = settings.contacts, settings.phone
    country = (contacts.country if contacts else "") or (phone.book.country if phone else "")
    directory = Directory(phone.user if phone else {}, contacts.directory if contacts else [], country)
    await directory.start()
    return directory


def _plain(info: SessionInfo | AmiInfo) -> dict[str, Any]:
    return {**dataclasses.asdict(info), "state": info.state.value}


def _fixed(settings: Settings) -> tuple[object, ...]:
    """What stands as long as the process: the open sockets."""
    return settings.agi.listen, settings.agi.port, settings.agi.backlog, settings.control.socket, settings.state


def _addresses(settings: Settings, ports: tuple[int, ...] = ()) -> str:
    port = ports[0] if ports else settings.agi.port
    return ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in settings.agi.listen)
