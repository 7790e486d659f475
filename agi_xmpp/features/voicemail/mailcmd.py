"""`agi-xmpp mailcmd`: takes the mail that app_voicemail would send, and lets the running service deliver it in chat.

Asterisk runs the command in the background, does not look at its exit code and deletes the mail (app_voicemail.c,
``sendmail``). So what cannot be delivered is handed on here, and said where an administrator looks.
"""

from __future__ import annotations

import base64
import mailbox
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from agi_xmpp.config import VoicemailSettings
from agi_xmpp.errors import AgiXmppError, ConfigError, UsageError
from agi_xmpp.features.verb import Accounts
from agi_xmpp.features.voicemail import mail
from agi_xmpp.features.voicemail.delivery import Voicemail
from agi_xmpp.features.voicemail.recording import CONTENT_TYPES, Recording

#: Exit code for "try again later" (sysexits.h, EX_TEMPFAIL): no mail is lost with a program that knows it.
TEMPORARY_FAILURE = 75

#: Seconds that the fallback may take. A sendmail takes the mail into its queue at once.
FALLBACK_TIMEOUT = 60.0

#: Seconds for the service besides what `VoicemailSettings` allows for uploading and for programs.
SPARE_TIME = 30.0

Ask = Callable[[Mapping[str, Any], float], Mapping[str, Any]]


def max_mail(settings: VoicemailSettings) -> int:
    """Return how many bytes a mail for chat may have: a recording in Base64 (RFC 2045), and some text."""
    return settings.max_size * 3 // 2 + 1_000_000


def deliver(raw: bytes, settings: VoicemailSettings, ask: Ask, say: Callable[[str], None]) -> int:
    """Deliver a mail and return the exit code.

    Args:
        raw: the mail.
        settings: ``[voicemail]``.
        ask: asks the running service, within that many seconds.
        say: takes a sentence for each thing that went wrong.
    """
    problems = _try(raw, settings, ask)
    if not problems:
        return 0
    for problem in problems:
        say(problem)
    if _hand_on(raw, settings, say):
        return 0
    say("the mail was delivered to nobody else; the recording is where voicemail.conf keeps it")
    return TEMPORARY_FAILURE


def _try(raw: bytes, settings: VoicemailSettings, ask: Ask) -> list[str]:
    """Let the service deliver a mail; return what went wrong."""
    if len(raw) > max_mail(settings):
        return [f"the mail has more than {max_mail(settings)} bytes: voicemail.max_size allows no such recording"]
    timeout = settings.upload_timeout + settings.transcribe_timeout + settings.convert_timeout + SPARE_TIME
    try:
        found = mail.parse(raw)
        if found.recording is not None and len(found.recording.data) > settings.max_size:
            size = len(found.recording.data)
            return [f"the recording has {size} bytes; voicemail.max_size allows {settings.max_size}"]
        answers = ask(_request(found), timeout)["answers"]
        return [f"{answer['to']}: {answer['problem']}" for answer in answers if answer["problem"]]
    except AgiXmppError as error:
        return [str(error)]
    except Exception as error:  # such as a service of another version: whatever it is, the mail must go on
        return [f"the service's answer is not understood: {type(error).__name__}"]


def _request(found: mail.Mail) -> dict[str, Any]:
    recording = found.recording
    audio = None
    if recording is not None:
        audio = {"data": base64.b64encode(recording.data).decode(), "suffix": recording.suffix}
    return {"do": "voicemail", "to": list(found.recipients), "text": found.text, "audio": audio}


def _hand_on(raw: bytes, settings: VoicemailSettings, say: Callable[[str], None]) -> bool:
    """Give a mail to the fallback, or keep it. Returns True if somebody has it."""
    if settings.fallback:
        try:
            # The administrator's own command, as a list of words: no shell, nothing from the mail in it.
            result = subprocess.run(settings.fallback, input=raw, timeout=FALLBACK_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            say(f"voicemail.fallback {settings.fallback[0]!r}: {error}")
        else:
            if result.returncode == 0:
                say(f"the mail went to {settings.fallback[0]}")
                return True
            say(f"voicemail.fallback {settings.fallback[0]!r} ended with exit code {result.returncode}")
    if settings.undelivered is not None:
        try:
            mailbox.Maildir(settings.undelivered, create=True).add(raw)
        except OSError as error:
            say(f"voicemail.undelivered {settings.undelivered}: {error.strerror}")
        else:
            say(f"the mail is kept in {settings.undelivered}")
            return True
    return False


async def serve(request: Mapping[str, Any], accounts: Accounts, voicemail: Voicemail) -> dict[str, Any]:
    """Deliver what `deliver` asks the service for; an answer for each address, with what went wrong.

    Raises:
        ConfigError: no account is configured for it.
    """
    settings = voicemail.settings
    if not settings.account:
        raise ConfigError("voicemail.account is not set: which account shall send what comes by mailcmd?")
    session = accounts[settings.account]
    domain = str(session.info().jid).partition("/")[0].rpartition("@")[2]
    recording = None
    if audio := request["audio"]:
        suffix = str(audio["suffix"])
        if suffix not in CONTENT_TYPES:
            raise UsageError(f"{suffix!r} is no kind of recording")
        recording = Recording(base64.b64decode(audio["data"], validate=True), suffix)
    answers = []
    for address in request["to"]:
        problem = ""
        try:
            async with voicemail.slot:
                to = jid_of(str(address), settings.people, domain)
                result = await voicemail.deliver(session, to, recording, str(request["text"]))
            problem = "; ".join(result.problems) if result.status != "SENT" and recording is not None else ""
        except AgiXmppError as error:
            problem = str(error)
        answers.append({"to": address, "problem": problem})
    return {"answers": answers}


def jid_of(address: str, people: Mapping[str, str], domain: str) -> str:
    """Return the Jabber ID that a mail address stands for.

    Args:
        address: such as ``bob@example.org``.
        people: those that are configured, compared without regard to case.
        domain: addresses of it are Jabber IDs themselves.

    Raises:
        UsageError: it stands for none.
    """
    for known, jid in people.items():
        if known.casefold() == address.casefold():
            return jid
    local, _, host = address.rpartition("@")
    if local and host and host.casefold() == domain.casefold():
        return address
    raise UsageError(f"no Jabber ID is known for this address: name it in [voicemail.people], or use one of {domain}")
