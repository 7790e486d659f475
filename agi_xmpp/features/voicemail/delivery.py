"""A recording on its way into chat: converted, transcribed, uploaded, told. What fails costs that step alone."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from datetime import datetime

from agi_xmpp import program
from agi_xmpp.config import VoicemailSettings
from agi_xmpp.errors import BadText, ConfigError, UploadFailed, XmppError
from agi_xmpp.features.voicemail.recording import Details, Recording
from agi_xmpp.xmpp.model import Extras, Session

log = logging.getLogger("agi_xmpp.voicemail")

#: Recordings on their way at once: each is in memory as a whole, and more than once while it is converted.
MAX_UNDER_WAY = 10

#: Programs at once. They take a processor each, beside an Asterisk that must not stutter.
MAX_PROGRAMS = 2

#: Bytes of a transcript that are read, and characters of it that are sent: many minutes of speech.
MAX_TRANSCRIPT = 256 * 1024
MAX_SHOWN = 10_000

#: Bytes that a converted recording may have more than one that is not: uncompressed, it can be 10 times as large.
CONVERTED = 10

_NOT_SENT = "The recording could not be sent."


@dataclasses.dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a recording.

    Attributes:
        url: where it can be fetched; "" if only the text went.
        problems: what did not work, one sentence each.
    """

    url: str = ""
    problems: Sequence[str] = ()

    @property
    def status(self) -> str:
        """``SENT``, or ``TEXT`` if the recording itself did not go."""
        return "SENT" if self.url else "TEXT"


class Voicemail:
    """Delivers recordings.

    Args:
        settings: ``[voicemail]``; may be replaced while we run.
    """

    def __init__(self, settings: VoicemailSettings) -> None:
        self.settings = settings
        self._under_way = asyncio.Semaphore(MAX_UNDER_WAY)
        self._programs = asyncio.Semaphore(MAX_PROGRAMS)

    @staticmethod
    def check(settings: VoicemailSettings) -> None:
        """Look for the programs that the settings name.

        Raises:
            ConfigError: there is none of that name.
        """
        for key in ("convert", "transcribe"):
            words = getattr(settings, key)
            if words and program.find(words[0]) is None:
                raise ConfigError(f"voicemail.{key}: no program {words[0]!r}")

    @property
    def slot(self) -> asyncio.Semaphore:
        """To be held while a recording is in memory."""
        return self._under_way

    async def deliver(
        self, session: Session, to: str, recording: Recording | None, text: str, *, thread: str = "", problem: str = ""
    ) -> Delivered:
        """Send a recording, and a text beside it.

        Args:
            session: of the account that sends it.
            to: bare or full JID.
            recording: None if there is none that could be sent.
            text: who called, and how long they spoke.
            thread: of both messages.
            problem: why there is no recording, if there should be one.

        Raises:
            XmppError: not even the text could be sent.
            BadJid, BadText: likewise.
        """
        if recording is None:
            lines = [text, _NOT_SENT] if problem else [text]
            await session.send_message(to, "\n".join(lines), thread=thread, extras=Extras(expects_answer=False))
            return Delivered(problems=[problem] if problem else [])
        writing = asyncio.ensure_future(self._transcribe(recording))
        try:
            return await self._send(session, to, recording, text, thread, writing)
        finally:
            writing.cancel()
            await asyncio.wait({writing})  # no program outlives what it was started for

    async def _send(
        self,
        session: Session,
        to: str,
        recording: Recording,
        text: str,
        thread: str,
        writing: asyncio.Future[tuple[str, str]],
    ) -> Delivered:
        smaller, problem = await self._convert(recording)
        problems = [problem]
        url = message_id = ""
        try:
            url = await session.upload(_name(smaller), smaller.data, smaller.content_type, self.settings.upload_timeout)
        except UploadFailed as error:
            problems.append(str(error))
        else:
            # Clients play it in the conversation if the text is the address and nothing else (XEP-0066 beside it).
            message_id = await session.send_message(
                to, url, thread=thread, extras=Extras(expects_answer=False, link=url)
            )
        transcript, problem = await writing
        problems.append(problem)
        extras = Extras(expects_answer=False, replies_to=message_id)

        async def tell(said: str) -> None:
            lines = [text, f"“{said}”" if said else "", "" if url else _NOT_SENT]
            await session.send_message(to, "\n".join(filter(None, lines)), thread=thread, extras=extras)

        try:
            try:
                await tell(transcript)
            except BadText as error:  # such as one that the account's max_body does not allow
                if not transcript:
                    raise
                problems.append(f"the transcript could not be sent: {error}")
                await tell("")
        except (XmppError, BadText) as error:
            if not url:
                raise
            problems.append(f"the text beside the recording could not be sent: {error}")
        found = [problem for problem in problems if problem]
        for problem in found:
            log.warning("voicemail to %s: %s", to, problem)
        return Delivered(url, found)

    async def _convert(self, recording: Recording) -> tuple[Recording, str]:
        """Return the recording as it shall be sent, or as it was and what stands against it."""
        settings = self.settings
        if not settings.convert:
            return recording, ""
        try:
            data = await self._run(
                settings.convert, recording.data, settings.max_size * CONVERTED, settings.convert_timeout
            )
        except program.ProgramError as error:
            return recording, f"voicemail.convert {error}; the recording went as it was"
        if not data:
            return recording, "voicemail.convert printed nothing; the recording went as it was"
        return Recording(data, settings.suffix), ""

    async def _transcribe(self, recording: Recording) -> tuple[str, str]:
        """Return what was said, and what stands against knowing it."""
        settings = self.settings
        if not settings.transcribe:
            return "", ""
        try:
            output = await self._run(settings.transcribe, recording.data, MAX_TRANSCRIPT, settings.transcribe_timeout)
            return shown(output.decode()), ""
        except program.ProgramError as error:
            return "", f"voicemail.transcribe {error}"
        except UnicodeDecodeError:
            return "", "voicemail.transcribe printed something that is not UTF-8 text"

    async def _run(self, words: Sequence[str], data: bytes, limit: int, timeout: float) -> bytes:
        """Run a program on a recording; the time that it waits for its turn counts."""
        try:
            async with asyncio.timeout(timeout), self._programs:
                return await program.run(words, stdin=data, limit=limit)
        except TimeoutError:
            raise program.ProgramError(f"took longer than {timeout:g} s") from None


def describe(details: Details) -> str:
    """Return one line about a recording: ``Voicemail from Ann (201), 0:23``."""
    who = details.name or details.number
    if details.withheld:
        who = "a withheld number"
    elif details.name and details.number:
        who = f"{details.name} ({details.number})"
    line = f"Voicemail from {who or 'an unknown caller'}"
    if details.seconds is None:
        return line
    minutes, seconds = divmod(round(details.seconds), 60)
    return f"{line}, {minutes}:{seconds:02}"


def shown(text: str) -> str:
    """Return a text without the characters that a chat cannot carry, of `MAX_SHOWN` characters at the most."""
    clean = "".join(sign for sign in text if sign == "\n" or sign.isprintable()).strip()
    return clean if len(clean) <= MAX_SHOWN else f"{clean[: MAX_SHOWN - 1]}…"


def _name(recording: Recording) -> str:
    """Return a file's name for whom it is sent to. Nothing of it comes from the call."""
    return f"voicemail-{datetime.now().astimezone():%Y%m%d-%H%M%S}.{recording.suffix}"
