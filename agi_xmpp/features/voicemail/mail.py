"""What app_voicemail would send by mail: for whom it is, what it says, and the recording. Text in, plain data out."""

from __future__ import annotations

import dataclasses
import email
import email.message
import email.policy
import email.utils

from agi_xmpp.errors import UsageError
from agi_xmpp.features.voicemail.delivery import shown
from agi_xmpp.features.voicemail.recording import CONTENT_TYPES, Recording

#: Addresses of one mail that count. app_voicemail sends one mail for each address.
MAX_RECIPIENTS = 20

#: Endings of names by the type of a part, for parts without a name (app_voicemail writes ``audio/x-`` and its format).
_SUFFIXES = {"x-wav": "wav", "wav": "wav", "x-gsm": "gsm", "gsm": "gsm", "ogg": "ogg", "x-ogg": "ogg", "mpeg": "mp3"}


@dataclasses.dataclass(frozen=True, slots=True)
class Mail:
    """A mail.

    Attributes:
        recipients: addresses of its ``To``.
        text: subject and body.
        recording: the attachment, if there is one.
    """

    recipients: tuple[str, ...]
    text: str
    recording: Recording | None


def parse(raw: bytes) -> Mail:
    """Read a mail (RFC 5322, RFC 2045).

    Raises:
        UsageError: it is for nobody, says nothing, or is no mail.
    """
    try:
        message = email.message_from_bytes(raw, policy=email.policy.default)
        recipients = _recipients(message)
        text = _text(message)
        recording = _recording(message)
    except Exception as error:  # the library raises what it likes about headers and encodings that are none
        raise UsageError(f"this is no mail that can be read: {type(error).__name__}") from None
    if not recipients:
        raise UsageError("the mail has no address in its To")
    if not text and recording is None:
        raise UsageError("the mail holds neither a text nor a recording")
    return Mail(recipients, text or "Voicemail", recording)


def _recipients(message: email.message.EmailMessage) -> tuple[str, ...]:
    found = email.utils.getaddresses([str(value) for value in message.get_all("To", ())])
    addresses = [address for _, address in found if "@" in address]
    return tuple(dict.fromkeys(addresses))[:MAX_RECIPIENTS]


def _text(message: email.message.EmailMessage) -> str:
    """Return subject and body, without the signature that app_voicemail sets with tabs."""
    body = message.get_body(preferencelist=("plain",))
    content = body.get_content() if body is not None else ""
    both = (_mended(str(part)) for part in (message.get("Subject", ""), content))
    lines = (" ".join(line.split()) for part in both for line in part.splitlines())
    return shown("\n".join(line for line in lines if line and line != "--Asterisk"))


def _mended(text: str) -> str:
    """Return a text as it was written: app_voicemail calls UTF-8 ISO-8859-1, unless voicemail.conf says ``charset``."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _recording(message: email.message.EmailMessage) -> Recording | None:
    """Return the first attachment that is a recording."""
    for part in message.walk():
        suffix = (part.get_filename() or "").rpartition(".")[2]
        if suffix not in CONTENT_TYPES and part.get_content_maintype() == "audio":
            suffix = _SUFFIXES.get(part.get_content_subtype(), "")
        if suffix in CONTENT_TYPES and not part.is_multipart():
            data = part.get_payload(decode=True)
            if isinstance(data, bytes) and data:
                return Recording(data, suffix)
    return None
