"""A real SIP telephone: baresip, registered at an Asterisk of the testbed, with a person's hands and ears on it.

baresip is told what to do, and tells what happens, over its ``ctrl_tcp`` module: netstrings with JSON inside. It hears
nothing and has no speaker: it sends a sine tone and counts the packets that come.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from tests.testbed.asterisk import Asterisk
from tests.testbed.errors import TestbedError
from tests.testbed.ports import free_port
from tests.testbed.program import PROBE_INTERVAL, TreeProgram
from tests.testbed.rootfs import RunDirectory

_T = TypeVar("_T")

#: Seconds that a phone waits for what it is asked to wait for, if the test does not say.
TIMEOUT = 10.0
#: Seconds that a phone may take to sign off; Asterisk may be gone.
_SIGN_OFF = 1.0

#: What stands in the file ``config`` of baresip 1.1. For SIP over TLS it takes the port after that of ``sip_listen``,
#: whoever else may use that; with 0 the kernel finds a free one for each.
_CONFIG = """
sip_listen 127.0.0.1:0
net_interface 127.0.0.1
rtp_ports 10000-19999
call_max_calls 4
call_local_timeout 3600
call_hold_other_calls no
audio_source ausine,440
ausrc_srate 48000
audio_player aubridge,ear
audio_alert aubridge,bell
audio_path /nonexistent
ringback_disabled yes
module_path /usr/lib/baresip/modules
module g711.so
module ausine.so
module aubridge.so
module uuid.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control_port}
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Caller:
    """What a ringing phone shows.

    Attributes:
        number: as it stands in the From header; ``anonymous`` if it is withheld.
        name: "" if there is none.
    """

    number: str
    name: str


@dataclasses.dataclass(slots=True, eq=False)
class Line:
    """One call on a phone.

    Attributes:
        id: the SIP Call-ID.
        incoming: somebody calls the phone.
        other: the other side, as the phone knows it.
        rings: the other side's phone, or this one, is said to ring.
        talking: it was answered.
        held: by this phone.
        heard: audio came.
        over: it ended.
        reason: why it ended, in SIP's words, such as ``486 Busy here``.
        told: `Phone.ended` has returned it.
        accepted: how many of our INVITEs were accepted: the first one, and each hold or resume.
    """

    id: str
    incoming: bool
    other: Caller
    rings: bool = False
    talking: bool = False
    held: bool = False
    heard: bool = False
    over: bool = False
    reason: str = ""
    told: bool = False
    accepted: int = 0

    @property
    def active(self) -> bool:
        """Somebody speaks on it."""
        return self.talking and not self.held and not self.over


class Phone(TreeProgram):
    """One telephone with several lines. Use it by ``async with``; it is registered from then on.

    A method that acts on a call takes the one that a person would mean, if no line is given: the newest that is not on
    hold. Nothing happens by itself: a second call does not put the first one on hold.

    Args:
        exchange: an Asterisk with an endpoint of this name that takes registrations without a password.
        number: name of the endpoint and its AOR.

    Attributes:
        lines: all its calls, oldest first, also those that are over.
        digits: the DTMF digits that it has heard.
    """

    def __init__(self, exchange: Asterisk, number: str) -> None:
        super().__init__(f"phone {number}", exchange.rootfs, "games")
        self.number = number
        self.lines: list[Line] = []
        self.digits = ""
        self._exchange = exchange
        self._control_port = free_port()
        self._control: _Control | None = None
        self._registered = ""
        self._changed = asyncio.Event()
        self._acting = asyncio.Lock()

    # What a person does

    async def call(self, number: str) -> Line:
        """Dial; return at once. `hears_ringing`, `talks` and `ended` tell how it goes on."""
        answer = await self._tell("dial", number)
        match = re.search(r"call id: (\S+)", answer)
        if match is None:
            raise TestbedError(f"{self.name} cannot dial {number}: {answer}")
        return self._line(match[1]) or self._add(Line(match[1], incoming=False, other=Caller(number, "")))

    async def rings(self, timeout: float = TIMEOUT) -> Caller:
        """Wait until it rings, and return who calls; the oldest call, if there are several."""
        return (await self._ringing(timeout)).other

    async def hears_ringing(self, line: Line | None = None, timeout: float = TIMEOUT) -> None:
        """Wait until the phone that it calls rings."""
        line = line or self._newest("dials", lambda each: not each.incoming and not each.over)
        await self._until("hear the other side ring", lambda: line.rings or line.talking or None, timeout)

    async def answer(self, timeout: float = TIMEOUT) -> Line:
        """Pick up the call that rings, and return when it is set up."""
        line = await self._ringing(timeout)
        await self._act(line, "accept")
        await self._until("be connected", lambda: line.talking or line.over or None, timeout)
        assert line.talking, f"{self.name} was too late: {line.reason}"
        return line

    async def reject(self, timeout: float = TIMEOUT) -> None:
        """Refuse the call that rings: 486 Busy here."""
        line = await self._ringing(timeout)
        await self._act(line, "hangup")
        await self._gone(line, timeout)

    async def connected(self, line: Line | None = None, timeout: float = TIMEOUT) -> Line:
        """Wait until a call is answered (`talks` waits for audio besides), and return it."""
        return await self._until("be connected", lambda: self._active(line), timeout)

    async def talks(self, line: Line | None = None, timeout: float = TIMEOUT) -> Line:
        """Wait until a call is answered and audio comes, packet after packet; return the call."""
        line = await self.connected(line, timeout)
        await self._until("hear anything", lambda: line.heard or None, timeout)
        try:
            async with asyncio.timeout(timeout):
                before = await self._packets(line)
                while await self._packets(line) <= before:
                    await asyncio.sleep(PROBE_INTERVAL)
        except TimeoutError:
            raise AssertionError(self._failure("hear anything any more", timeout)) from None
        return line

    async def hangup(self, line: Line | None = None, timeout: float = TIMEOUT) -> None:
        """Put the receiver down; also before the other side has answered."""
        line = line or self._current()
        await self._act(line, "hangup")
        await self._gone(line, timeout)

    async def hold(self, line: Line | None = None, timeout: float = TIMEOUT) -> Line:
        """Put a call on hold, and return it when Asterisk has accepted that."""
        line = line or self._newest("talks", lambda each: each.active)
        await self._negotiate(line, "hold", timeout)
        line.held = True
        return line

    async def resume(self, line: Line | None = None, timeout: float = TIMEOUT) -> Line:
        """Take a call back from hold, and return it when Asterisk has accepted that."""
        line = line or self._newest("holds", lambda each: each.held and not each.over)
        await self._negotiate(line, "resume", timeout)
        line.held = False
        return line

    async def transfer(self, number: str, line: Line | None = None, timeout: float = TIMEOUT) -> None:
        """Send the other side of a call to another number (REFER), and wait until our own part of it is over."""
        line = line or self._newest("talks", lambda each: each.talking and not each.over)
        await self._act(line, "transfer", f"sip:{number}@127.0.0.1:{self._exchange.sip_port}")
        await self._gone(line, timeout)

    async def attended_transfer(self, timeout: float = TIMEOUT) -> None:
        """Connect the other sides of its two calls, the held and the active one, and wait until both are over here.

        It sends REFER with Replaces (RFC 3891) in the held call. baresip 1.1 does that, but cannot find the tags of the
        other dialog for itself: we ask Asterisk for them.
        """
        held = self._newest("holds", lambda each: each.held and not each.over)
        active = self._newest("talks", lambda each: each.active)
        call_id, to_tag, from_tag = await self._dialog(active)
        replaces = quote(f"{call_id};to-tag={to_tag};from-tag={from_tag}", safe="")
        target = f"<sip:{active.other.number}@127.0.0.1:{self._exchange.sip_port}?Replaces={replaces}>"
        await self._act(held, "transfer", target)
        await self._gone(active, timeout)
        await self._gone(held, timeout)

    async def dtmf(self, digits: str, line: Line | None = None) -> None:
        """Press keys, one after the other (RFC 4733); they take a fifth of a second each and go on after the return."""
        line = line or self._current()
        for digit in digits:
            await self._act(line, "sndcode", digit)

    async def ended(self, line: Line | None = None, timeout: float = TIMEOUT) -> str:
        """Wait until a call is over (if none is given: the next one), and return why, such as ``486 Busy here``."""
        over = await self._until("see a call end", lambda: self._over(line), timeout)
        over.told = True
        return over.reason

    async def idle(self, timeout: float = TIMEOUT) -> None:
        """Wait until there is no call."""
        await self._until("become idle", lambda: all(line.over for line in self.lines) or None, timeout)

    async def hears_digits(self, digits: str, timeout: float = TIMEOUT) -> None:
        """Wait until it has heard these DTMF digits."""
        await self._until(f"hear {digits}", lambda: digits in self.digits or None, timeout)

    # Program

    async def start(self) -> None:
        """Switch it on again after `stop` or `kill`; it is registered when this returns."""
        self.lines.clear()
        self._registered = ""
        await super().start()
        self._control = await _Control.connect(self._control_port, self._take)
        # Made over the control connection and not from a file of accounts: so we see how the registration ends.
        await self._tell("uanew", f"<sip:{self.number}@127.0.0.1:{self._exchange.sip_port}>;regint=3600;auth_pass=x")
        await self._until("register", lambda: self._registered or None, TIMEOUT)
        if self._registered != "REGISTER_OK":
            raise TestbedError(f"{self.name} was refused by Asterisk:\n{self.log_tail()}")

    async def stop(self) -> None:
        """Hang up, sign off at Asterisk and end."""
        await super().stop()
        await self._disconnect()

    async def kill(self) -> None:
        """Pull its plug: Asterisk is told nothing."""
        await super().kill()
        await self._disconnect()

    @property
    def label(self) -> str:
        return f"baresip {self.rootfs.versions()['baresip-core']}"

    def _configure(self, directory: RunDirectory) -> None:
        directory.write("config", _CONFIG.format(control_port=self._control_port))

    def _command(self) -> list[str]:
        # -s: write each SIP message to the log; stdbuf: at once, line by line
        words = ("stdbuf", "-oL", "baresip", "-4", "-s", "-f", str(self._place().inside))
        return self.rootfs.command(*words, user=self.user)

    def _probe(self) -> None:
        # baresip serves the connection that came last: this one is not in the way of ours.
        with socket.create_connection(("127.0.0.1", self._control_port), timeout=1):
            pass

    def _ask_to_stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_SIGN_OFF)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # the second one does not wait for Asterisk

    # Inner workings

    async def _disconnect(self) -> None:
        if self._control is not None:
            await self._control.close()
            self._control = None

    async def _tell(self, name: str, parameters: str = "") -> str:
        """Let baresip run a command of its menu, and return what that prints."""
        if self._control is None:
            raise TestbedError(f"{self.name} is not running")
        try:
            return await self._control.command(name, parameters)
        except (TimeoutError, OSError) as error:
            raise AssertionError(f"{self.name} does not do {name}: {error}\n{self.log_tail()}") from None

    async def _act(self, line: Line, name: str, parameters: str = "") -> str:
        """Run a command on one call: baresip's commands are about the call that was chosen last."""
        async with self._acting:
            assert not line.over, f"{self.name}: the call is over: {line.reason}"
            await self._tell("callfind", line.id)
            return await self._tell(name, parameters)

    async def _negotiate(self, line: Line, name: str, timeout: float) -> None:
        before = line.accepted
        await self._act(line, name)
        await self._until(name, lambda: line.accepted > before or line.over or None, timeout)

    async def _packets(self, line: Line) -> int:
        """Return how many RTP packets of a call have come."""
        return sum(int(number) for number in re.findall(r"\brcvd=(\d+)", await self._act(line, "audio_debug")))

    async def _dialog(self, line: Line) -> tuple[str, str, str]:
        """Return Call-ID, Asterisk's tag and our tag of a call, as Asterisk knows them."""
        ami = await self._exchange.ami()
        for row in (await self._exchange.cli("core show channels concise")).splitlines():
            channel = row.partition("!")[0]
            if channel.startswith(f"PJSIP/{self.number}-"):
                names = ("call-id", "local_tag", "remote_tag")
                variables = [f"CHANNEL(pjsip,{name})" for name in names]
                call_id, local, remote = [
                    (await ami.action("Getvar", Channel=channel, Variable=variable))["Value"] for variable in variables
                ]
                if call_id == line.id:
                    return call_id, local, remote
        raise TestbedError(f"Asterisk does not know the call {line.id} of {self.name}")

    def _take(self, event: dict[str, Any]) -> None:
        """Take an event of baresip's, or {} for the end of the connection."""
        kind = event.get("type", "")
        if kind.startswith("REGISTER_"):
            self._registered = kind
        elif "id" in event:
            line = self._line(event["id"]) or self._add(_new_line(event))
            if kind in ("CALL_RINGING", "CALL_PROGRESS"):
                line.rings = True
            elif kind == "CALL_ANSWERED":
                line.accepted += 1
            elif kind == "CALL_ESTABLISHED":
                line.talking = True
            elif kind == "CALL_RTPESTAB":
                line.heard = True
            elif kind == "CALL_DTMF_START":
                self.digits += event["param"]
            elif kind == "CALL_CLOSED":
                line.over, line.reason = True, event.get("param", "")
        self._changed.set()

    def _line(self, call_id: str) -> Line | None:
        return next((line for line in self.lines if line.id == call_id), None)

    def _add(self, line: Line) -> Line:
        self.lines.append(line)
        return line

    def _newest(self, what: str, wanted: Callable[[Line], bool]) -> Line:
        for line in reversed(self.lines):
            if wanted(line):
                return line
        raise AssertionError(f"{self.name} has no call that it {what}: {self.lines}\n{self.log_tail()}")

    def _current(self) -> Line:
        """Return the newest call that is not on hold and that the person knows of: what a hangup is about."""
        mine = [line for line in self.lines if not line.over and (line.talking or not line.incoming)]
        if not mine:
            raise AssertionError(f"{self.name} has no call: {self.lines}\n{self.log_tail()}")
        return next((line for line in reversed(mine) if not line.held), mine[-1])

    def _active(self, line: Line | None) -> Line | None:
        if line is None:
            return next((each for each in reversed(self.lines) if each.active), None)
        assert not line.over, f"{self.name}: the call is over: {line.reason}\n{self.log_tail()}"
        return line if line.talking else None

    def _over(self, line: Line | None) -> Line | None:
        candidates = [line] if line else [each for each in self.lines if not each.told]
        return next((each for each in candidates if each.over), None)

    async def _ringing(self, timeout: float) -> Line:
        def find() -> Line | None:
            return next((line for line in self.lines if line.incoming and not line.talking and not line.over), None)

        return await self._until("ring", find, timeout)

    async def _gone(self, line: Line, timeout: float) -> None:
        await self._until("see the call end", lambda: line.over or None, timeout)
        line.told = True

    async def _until(self, what: str, find: Callable[[], _T | None], timeout: float) -> _T:
        """Wait until ``find`` returns something, looking again after each event, and return that."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if (found := find()) is not None:
                        return found
                    if self._control is None or self._control.closed:
                        raise AssertionError(f"{self.name} ended\n{self.log_tail()}")
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(self._failure(what, timeout)) from None

    def _failure(self, what: str, timeout: float) -> str:
        lines = "\n".join(str(line) for line in self.lines) or "no calls"
        return f"{self.name} does not {what} within {timeout:g} s\n{lines}\n{self.log_tail()}"


class _Control:
    """The control connection to one baresip."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, take: Callable[[dict[str, Any]], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._take = take
        self._tokens = itertools.count(1)
        self._replies: dict[str, asyncio.Future[str]] = {}
        self.closed = False
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, port: int, take: Callable[[dict[str, Any]], None]) -> _Control:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return cls(reader, writer, take)

    async def close(self) -> None:
        self._task.cancel()
        self._writer.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def command(self, name: str, parameters: str) -> str:
        """Return what the command prints. Whether it worked is told by the events: ``ok`` of `resume` is wrong."""
        token = str(next(self._tokens))
        reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._replies[token] = reply
        text = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        try:
            self._writer.write(b"%d:%s," % (len(text), text))
            async with asyncio.timeout(TIMEOUT):
                await reply
        finally:
            del self._replies[token]
        return reply.result()

    async def _read(self) -> None:
        try:
            while True:
                size = int((await self._reader.readuntil(b":"))[:-1])
                text = (await self._reader.readexactly(size + 1))[:-1]
                message = json.loads(text.decode(errors="replace"))
                if message.get("response"):
                    reply = self._replies.get(message.get("token", ""))
                    if reply is not None and not reply.done():
                        reply.set_result(message.get("data", ""))
                else:
                    self._take(message)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.closed = True
            for reply in self._replies.values():
                if not reply.done():
                    reply.set_exception(ConnectionResetError("it ended"))
            self._take({})


def _new_line(event: dict[str, Any]) -> Line:
    match = re.match(r"sips?:(?:([^@]*)@)?", event.get("peeruri", ""))
    number = unquote(match[1] or "") if match else ""
    caller = Caller(number, event.get("peerdisplayname", ""))
    return Line(event["id"], incoming=event.get("direction") == "incoming", other=caller)
