"""A real Asterisk with a configuration, ports and a spool of its own, and calls on it that need no phone."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import secrets
import socket
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.testbed.ami import Ami, Message, Predicate, Subscription
from tests.testbed.errors import TestbedError
from tests.testbed.ports import free_port
from tests.testbed.program import START_TIMEOUT, TreeProgram
from tests.testbed.rootfs import Rootfs, RunDirectory

#: Loaded everywhere, in this order; what a version of Asterisk does not have is left out. Few modules start fast.
MODULES = (
    *("res_speech", "res_agi", "res_timing_timerfd", "res_musiconhold", "res_clioriginate", "res_ael_share"),
    *("pbx_config", "pbx_ael"),
    *("bridge_simple", "bridge_softmix", "bridge_holding", "bridge_builtin_features"),
    *(
        "codec_ulaw",
        "codec_alaw",
        "codec_gsm",
        "codec_resample",
        "format_gsm",
        "format_wav",
        "format_pcm",
        "format_sln",
    ),
    *(
        "app_db",
        "app_dial",
        "app_echo",
        "app_exec",
        "app_if",
        "app_originate",
        "app_playback",
        "app_read",
        "app_senddtmf",
    ),
    *("app_sendtext", "app_softhangup", "app_stack", "app_system", "app_userevent", "app_verbose", "app_voicemail"),
    *("app_waituntil", "app_while", "app_bridgewait", "app_confbridge", "app_chanisavail", "app_followme", "app_page"),
    *(
        "func_base64",
        "func_callerid",
        "func_channel",
        "func_cut",
        "func_db",
        "func_devstate",
        "func_dialplan",
        "func_env",
    ),
    *("func_extstate", "func_global", "func_hangupcause", "func_logic", "func_math", "func_md5", "func_module"),
    *("func_presencestate", "func_rand", "func_sha1", "func_shell", "func_strings", "func_timeout", "func_uri"),
    *("func_version", "func_vmcount", "func_lock", "func_iconv", "func_sprintf", "func_groupcount"),
)
#: What `Asterisk(pjsip=…)` loads besides.
PJSIP_MODULES = (
    *(
        "res_sorcery_config",
        "res_sorcery_memory",
        "res_sorcery_astdb",
        "res_pjproject",
        "res_pjsip",
        "res_pjsip_session",
    ),
    *("res_pjsip_acl", "res_pjsip_authenticator_digest", "res_pjsip_caller_id", "res_pjsip_dtmf_info"),
    *("res_pjsip_endpoint_identifier_ip", "res_pjsip_endpoint_identifier_user", "res_pjsip_header_funcs"),
    *("res_pjsip_logger", "res_pjsip_nat", "res_pjsip_outbound_authenticator_digest", "res_pjsip_pubsub"),
    *("res_pjsip_exten_state", "res_pjsip_mwi", "res_pjsip_registrar", "res_pjsip_rfc3326", "res_pjsip_sdp_rtp"),
    *("res_rtp_asterisk", "chan_pjsip", "func_pjsip_aor", "func_pjsip_contact", "func_pjsip_endpoint"),
)
#: Read by modules that complain, or don't load, without a file.
_EMPTY_FILES = (
    "acl.conf",
    "ccss.conf",
    "cdr.conf",
    "cel.conf",
    "features.conf",
    "followme.conf",
    "stasis.conf",
    "udptl.conf",
)
#: Stands in every dialplan of ours: what the testbed itself needs.
_OWN_DIALPLAN = """
[testbed-own]
exten => mark,1,Log(NOTICE,${MARK})
"""
_CONTEXT = "testbed"
#: Asterisk takes a country only with all of these tones.
_INDICATIONS = """[general]
country = us
[us]
description = United States
ringcadence = 2000,4000
dial = 350+440
busy = 480+620/500,0/500
ring = 440+480/2000,0/4000
congestion = 480+620/250,0/250
callwaiting = 440/300,0/10000
dialrecall = !350+440/100,!0/100,!350+440/100,!0/100,!350+440/100,!0/100,350+440
record = 1400/500,0/15000
info = !950/330,!1400/330,!1800/330,0
stutter = !350+440/100,!0/100,!350+440/100,!0/100,!350+440/100,!0/100,350+440
"""


class Asterisk(TreeProgram):
    """One Asterisk.

    Args:
        rootfs: where the program is; ``bullseye`` has version 16.
        modules: loaded besides `MODULES`, by name without ``.so``.
        pjsip: text of pjsip.conf; with it the SIP modules are loaded. ``{sip_port}`` in it is a free port.
        xmpp: text of xmpp.conf; with it ``res_xmpp`` is loaded, the original that agi-xmpp replaces.
        files: further configuration files by name.

    Attributes:
        ami_port, ami_user, ami_secret: of the manager interface.
        sip_port: for pjsip.
    """

    def __init__(
        self,
        rootfs: Rootfs,
        *,
        modules: Sequence[str] = (),
        pjsip: str = "",
        xmpp: str = "",
        files: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__("asterisk", rootfs, "asterisk")
        self.ami_port = free_port()
        self.sip_port = free_port()
        self.ami_user = "testbed"
        self.ami_secret = secrets.token_hex(16)
        self._modules = (*MODULES, *(PJSIP_MODULES if pjsip else ()), *(["res_xmpp"] if xmpp else ()), *modules)
        self._files = dict(files or {})
        if pjsip:
            self._files["pjsip.conf"] = pjsip.replace("{sip_port}", str(self.sip_port))
        if xmpp:
            self._files["xmpp.conf"] = xmpp
        self._ami: Ami | None = None
        self._marks = itertools.count(1)

    # Dialplan and CLI

    async def dialplan(self, text: str) -> list[str]:
        """Replace extensions.conf and load it.

        Returns:
            Asterisk's complaints about it, as log lines; none if it is right.
        """
        return await self._load("extensions.conf", text + _OWN_DIALPLAN, "dialplan reload")

    async def ael(self, text: str) -> list[str]:
        """Replace extensions.ael and load it; return Asterisk's complaints."""
        return await self._load("extensions.ael", text, "ael reload")

    async def cli(self, command: str) -> str:
        """Run a command of the CLI and return its output.

        Raises:
            TestbedError: there is no such command, or it failed.
        """
        return (await (await self.ami()).action("Command", Command=command)).get("Output", "")

    def write(self, name: str, text: str) -> None:
        """Write a configuration file; reload its module by `cli`."""
        self._place().write(f"etc/{name}", text)

    async def problems(self, since: int) -> list[str]:
        """Return the warnings and errors in the log from byte ``since`` on, complete up to this call."""
        mark = f"testbed mark {next(self._marks)}"
        await self._originate("Local/mark@testbed-own/n", {"MARK": mark}, _Ids())
        # The logger is a thread with a queue: what stands before our own line is complete.
        await self.log_says(lambda line: mark in line and "NOTICE" in line, since=since)
        lines = self.log_tail(since, lines=10_000).splitlines()
        return [line for line in lines if "] WARNING[" in line or "] ERROR[" in line]

    async def version(self) -> str:
        """Return what the program says that it is, such as ``22.10.1``."""
        return (await self.cli("core show version")).split()[1].partition("~")[0].partition("+")[0]

    async def assert_serving(self) -> None:
        """Fail the test if Asterisk died, or does not answer within 15 s."""
        self.assert_alive()
        try:
            await (await self.ami()).action("Ping", timeout=15)
        except (TestbedError, TimeoutError, OSError) as error:
            raise AssertionError(f"Asterisk does not answer: {error}\n{self.log_tail()}") from None
        self.assert_alive()

    async def restart_now(self) -> None:
        """Let it restart by itself, without ending the calls first; it serves again when this returns."""
        since = self.log_size()
        with contextlib.suppress(TestbedError):  # it goes before it answers
            await self.cli("core restart now")
        await self.disconnect()
        await self.log_says("Asterisk Ready.", since=since, timeout=START_TIMEOUT)

    # Calls

    async def call(
        self,
        exten: str,
        context: str = _CONTEXT,
        *,
        variables: Mapping[str, str] | None = None,
        caller_id: str = "",
        caller_does: tuple[str, str] = ("Wait", "3600"),
    ) -> Call:
        """Let a caller ring an extension: a Local channel runs the dialplan there, the other end of it is the caller.

        Args:
            exten, context: where the dialplan starts. Nothing waits for an answer here.
            variables: of the channel that runs the dialplan.
            caller_id: such as ``"Ann" <201>``.
            caller_does: application and its data for the caller's end, from the answer on.
        """
        ids = _Ids()
        inherited = {f"__{name}": value for name, value in (variables or {}).items()}
        events = (await self.ami()).subscribe(lambda event: event.get("Linkedid") == ids.caller)
        try:
            await self._originate(f"Local/{exten}@{context}/n", inherited, ids, caller_id, caller_does)
        except BaseException:
            events.close()
            raise
        return Call(self, ids, events)

    async def ami(self) -> Ami:
        """Return the manager connection, opened when needed; each event loop has one of its own."""
        if self._ami is not None and (self._ami.closed or self._ami.loop is not asyncio.get_running_loop()):
            self._ami = None
        if self._ami is None:
            try:
                self._ami = await Ami.connect(self.ami_port, self.ami_user, self.ami_secret)
            except OSError as error:
                raise TestbedError(f"Asterisk's manager port cannot be reached: {error}\n{self.log_tail()}") from None
        return self._ami

    async def disconnect(self) -> None:
        """Hang up every call and close the manager connection of this event loop: the end of a test."""
        if self._ami is None:
            return
        ami, self._ami = self._ami, None
        try:
            if not ami.closed:
                await ami.action("Hangup", Channel="/^.*$/")
        except TestbedError:
            pass  # "No such channel": there was no call
        finally:
            await ami.close()

    @contextlib.asynccontextmanager
    async def lent(self) -> AsyncIterator[Self]:
        """Lend it to one test: after it, Asterisk must still serve, and all calls are hung up."""
        try:
            yield self
            await self.assert_serving()
        finally:
            await self.disconnect()

    async def stop(self) -> None:
        await self.disconnect()
        await super().stop()

    # Program

    @property
    def spool(self) -> Path:
        """Its spool as we see it; paths that Asterisk tells begin at `Rootfs.path`."""
        return self._place().outside / "spool"

    @property
    def label(self) -> str:
        return f"Asterisk {self.rootfs.versions()['asterisk']}"

    @property
    def log_file(self) -> Path:
        return self._place().outside / "log/full"

    def _command(self) -> list[str]:
        config = str(self._place().inside / "etc/asterisk.conf")
        # -f: stay in the foreground; -n: no colours; -vvv: show each step of the dialplan in the log
        return self.rootfs.command("asterisk", "-f", "-n", "-vvv", "-C", config, user=self.user)

    def _configure(self, directory: RunDirectory) -> None:
        for name in ("varlib", "spool", "run", "log", "agi-bin"):
            directory.directory(name)
        for name, text in self._configuration().items():
            directory.write(f"etc/{name}", text)

    def _probe(self) -> None:
        # The manager port opens, and says FullyBooted, before the last commands of the CLI are registered.
        if "Asterisk Ready." not in self.log:
            raise OSError("its log does not say that it is ready")
        with socket.create_connection(("127.0.0.1", self.ami_port), timeout=1):
            pass

    def _configuration(self) -> dict[str, str]:
        here = self._place().inside
        lib = self.rootfs.path / "usr/lib"
        modules = [*lib.glob("*/asterisk/modules"), *lib.glob("asterisk/modules")]  # newer and older Debian
        if not modules:
            raise TestbedError(f"there is no Asterisk in {self.rootfs.path}")
        available = {path.stem for path in modules[0].glob("*.so")}
        missing = set(self._modules) - available - set(MODULES) - set(PJSIP_MODULES)
        if missing:
            raise TestbedError(f"this Asterisk has no module {', '.join(sorted(missing))}")
        load = "".join(f"load = {name}.so\n" for name in self._modules if name in available)
        return {
            **dict.fromkeys(_EMPTY_FILES, ""),
            "asterisk.conf": f"""[directories]
astetcdir => {here}/etc
astmoddir => /{modules[0].relative_to(self.rootfs.path)}
astvarlibdir => {here}/varlib
astdbdir => {here}/varlib
astkeydir => {here}/varlib
astdatadir => /usr/share/asterisk
astagidir => {here}/agi-bin
astspooldir => {here}/spool
astrundir => {here}/run
astlogdir => {here}/log
[options]
documentation_language = en_US
hideconnect = yes
""",
            "modules.conf": f"[modules]\nautoload = no\n{load}",
            "logger.conf": "[general]\ndateformat = %F %T.%3q\n[logfiles]\nfull => notice,warning,error,verbose,dtmf\n",
            "manager.conf": f"""[general]
enabled = yes
bindaddr = 127.0.0.1
port = {self.ami_port}
[{self.ami_user}]
secret = {self.ami_secret}
read = all
write = all
writetimeout = 5000
""",
            "extensions.conf": _OWN_DIALPLAN,
            "extensions.ael": "context testbed-own-ael { }\n",
            "indications.conf": _INDICATIONS,
            "musiconhold.conf": "[default]\nmode = files\ndirectory = /usr/share/asterisk/sounds/en\n",
            "confbridge.conf": "[default_user]\ntype = user\n[default_bridge]\ntype = bridge\n",
            "voicemail.conf": "[general]\nformat = wav\nmaxsecs = 60\n[default]\n1234 => 4242,Bob,,,\n",
            "rtp.conf": "[general]\nrtpstart = 10000\nrtpend = 19999\n",
            **self._files,
        }

    async def _load(self, name: str, text: str, command: str) -> list[str]:
        self.write(name, text)
        since = self.log_size()
        try:
            await self.cli(command)
        except TestbedError as error:  # "ael reload" fails as a command for a syntax error, and says why in the log
            return [str(error), *await self._complaints(since)]
        return await self._complaints(since)

    async def _complaints(self, since: int) -> list[str]:
        """Return the problems since then, without those of calls: one of an earlier test may end in this moment."""
        return [line for line in await self.problems(since) if "][C-" not in line]

    async def _originate(
        self,
        channel: str,
        variables: Mapping[str, str],
        ids: _Ids,
        caller_id: str = "",
        caller_does: tuple[str, str] = ("Wait", "3600"),
    ) -> None:
        application, data = caller_does
        await (await self.ami()).action(
            "Originate",
            variables,
            Channel=channel,
            Application=application,
            Data=data,
            Timeout="3600000",
            CallerID=caller_id or '"Testbed" <100>',
            Async="true",
            ChannelId=ids.caller,
            OtherChannelId=ids.dialplan,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Ids:
    """The channel ids that we give a call's two ends, so that its events are known from the first on."""

    caller: str = dataclasses.field(default_factory=lambda: f"caller-{uuid.uuid4().hex}")
    dialplan: str = dataclasses.field(default_factory=lambda: f"dialplan-{uuid.uuid4().hex}")


class Call:
    """A call that goes on. Its events are kept from the beginning, and each is given once."""

    def __init__(self, asterisk: Asterisk, ids: _Ids, events: Subscription) -> None:
        self._asterisk = asterisk
        self._ids = ids
        self._events = events

    async def event(self, name: str, timeout: float = 15.0) -> Message:
        """Wait for the dialplan's ``UserEvent(name,Key: value,…)`` and return its headers.

        Raises:
            AssertionError: it did not come; the message has what came instead and the end of Asterisk's log.
        """
        return await self._get(
            f"UserEvent({name})",
            lambda event: event.get("Event") == "UserEvent" and event["UserEvent"] == name,
            timeout,
        )

    async def manager_event(self, name: str, timeout: float = 15.0, **headers: str) -> Message:
        """Wait for an event of Asterisk's own about this call, such as ``AGIExecStart``, with these headers."""

        def wanted(event: Message) -> bool:
            return event.get("Event") == name and all(event.get(key) == value for key, value in headers.items())

        return await self._get(name, wanted, timeout)

    async def ended(self, timeout: float = 15.0) -> str:
        """Wait until the channel that runs the dialplan is gone; return Q.850's number for why (``16``: normal)."""
        event = await self._get(
            "hangup", lambda event: event.get("Event") == "Hangup" and event["Uniqueid"] == self._ids.dialplan, timeout
        )
        return event["Cause"]

    async def hangup(self) -> None:
        """The caller hangs up; Asterisk has taken note when this returns. Wait for `ended` to be sure."""
        with contextlib.suppress(TestbedError):  # it may be over already
            await (await self._asterisk.ami()).action("Hangup", Channel=self._ids.caller)

    async def variable(self, name: str) -> str:
        """Return a variable or function (``CHANNEL(state)``) of the channel that runs the dialplan, which must live."""
        ami = await self._asterisk.ami()
        return (await ami.action("Getvar", Channel=self._ids.dialplan, Variable=name))["Value"]

    @property
    def uniqueid(self) -> str:
        """The unique id of the channel that runs the dialplan."""
        return self._ids.dialplan

    def events(self) -> list[Message]:
        """Return the events that came and were not taken."""
        return self._events.seen()

    async def _get(self, what: str, wanted: Predicate, timeout: float) -> Message:
        try:
            return await self._events.get(wanted, timeout)
        except TimeoutError:
            seen = [event.get("UserEvent") or event.get("Event") for event in self._events.seen()]
            tail = self._asterisk.log_tail()
            raise AssertionError(f"no {what} within {timeout:g} s; there was {seen}\n{tail}") from None
        except TestbedError as error:
            raise AssertionError(f"no {what}: {error}\n{self._asterisk.log_tail()}") from None
